"""The connection pool to one OpenAI-compatible server, shared by the roles that have the same ``base_url``."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from greenroom.bindings.retrying import pause_s
from greenroom.bindings.roles import OWNER_ONLY, Engine, Model, Operation, Options, Place
from greenroom.bindings.warming import greet, or_closed, rehearse
from greenroom.bindings.web_address import web_address
from greenroom.bindings.wire_text import json_bytes
from greenroom.errors import BindingFailed
from greenroom.values import Role

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

    from .failures import Failures

OFFICIAL_HOST = "api.openai.com"
PLACEHOLDER_KEY = "no-key-configured"
"""A local server takes any; sent where the owner configured none, so that no other host's key ever is."""
_LIST_TIMEOUT_S = 2.0
_KEEP_ALIVE_S = 120.0
_MAX_LINE = 1 << 10
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Files = Sequence[tuple[str, tuple[str, bytes, str]]]


def is_official(host: str) -> bool:
    return host == OFFICIAL_HOST or host.endswith(f".{OFFICIAL_HOST}")


class ConnectionOptions(Options):
    base_url: str = Field(
        "https://api.openai.com/v1/",
        description="the server; Ollama http://localhost:11434/v1, LM Studio http://localhost:1234/v1",
        json_schema_extra=OWNER_ONLY,
    )
    connect_timeout_s: float = Field(5.0, gt=0, le=60, description="seconds to wait for a connection")
    read_timeout_s: float = Field(
        60.0, gt=0, le=3600, description="longest silence of the server in seconds, before its first word too"
    )
    max_retries: int = Field(
        1, ge=0, le=5, description="further attempts where the server was overloaded or hung up before it answered"
    )

    @field_validator("base_url")
    @classmethod
    def _is_web_address(cls, value: str) -> str:
        return web_address(value, "http://localhost:11434/v1")


class OpenAIEngine(Engine):
    def __init__(
        self,
        client: "AsyncOpenAI",
        http: "httpx2.AsyncClient",
        failures: "Failures",
        host: str,
        parse_json: Callable[[bytes], Any],
    ) -> None:
        self.client = client
        self.http = http
        """the client's own pool"""
        self._headers = http.headers.copy()
        self._headers.update({name: value for name, value in client.default_headers.items() if isinstance(value, str)})
        self._urls: dict[str, httpx2.URL] = {}
        self._extensions = {"timeout": http.timeout.as_dict()}
        self.parse_json = parse_json
        self.failures = failures
        self.is_official = is_official(host)
        self.refused: dict[str, set[str]] = {}
        """by model: optional parameters that the server refused, not sent again"""
        self.counting: set[str] = set()
        """models of which the server is known to tell the usage, or at least to take the wish for it"""
        self.without_thinking: set[str] = set()
        """models that use tools only where they do not think"""
        self.without_completions: set[str] = set()
        """models that only chat"""
        self._greeting: asyncio.Task[object] | None = None

    async def greet(self) -> None:
        """Connect already."""
        if self.failures.key is not None or not self.is_official:
            self._greeting = await greet(str(self.client.base_url), self.list_models)

    async def close(self) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.gather(self._greeting, return_exceptions=True)
        await self.client.close()

    @asynccontextmanager
    async def request(
        self, path: str, body: Mapping[str, Any], *, retries: int, files: Files | None = None
    ) -> "AsyncIterator[httpx2.Response]":
        """:meth:`open` and :meth:`reading` in one."""
        response = await self.open(path, body, retries=retries, files=files)
        async with self.reading(response):
            yield response

    @asynccontextmanager
    async def reading(self, response: "httpx2.Response") -> AsyncIterator[None]:
        """Leaving early closes the connection at once. :raises BindingFailed: for a stream that breaks."""
        import aiohttp
        import httpx2

        try:
            yield
        except (httpx2.HTTPError, aiohttp.ClientError) as error:
            raise self.failures.of_stream(error) from error
        finally:
            await response.aclose()

    async def open(
        self, path: str, body: Mapping[str, Any], *, retries: int, files: Files | None = None
    ) -> "httpx2.Response":
        """An answer whose headers have come and whose body has not.

        :raises BindingFailed: with a sentence for whatever went wrong; for a status it has ``details["status"]``.
        """
        import aiohttp
        from openai import APIConnectionError, APIStatusError, AsyncStream

        from .failures import hung_up

        if self.is_official and self.failures.key is None:
            raise self.failures.no_key()
        attempt = 0
        while True:
            try:
                if files is None:
                    return await self._post(path, body)
                stream = await self.client.post(
                    path,
                    cast_to=object,
                    body=body,
                    files=files,
                    options={"headers": {"Content-Type": "multipart/form-data"}},
                    stream=True,
                    stream_cls=AsyncStream[object],
                )
                return stream.response
            except APIStatusError as error:
                failure = self.failures.of_status(error, path, str(body.get("model", "")))
                wait_s = pause_s(failure, attempt)
                if attempt >= retries or wait_s is None:
                    raise failure from error
                await asyncio.sleep(wait_s)
            except APIConnectionError as error:
                if attempt >= retries or not hung_up(error):
                    raise self.failures.of_connection(error) from error
            except aiohttp.ClientError as error:  # the SDK does not know these
                raise self.failures.nonsense("something that is not HTTP") from error
            attempt += 1

    async def _post(self, path: str, body: Mapping[str, Any]) -> "httpx2.Response":
        """As the SDK does it, without its 1.5 ms, for which every first word and every first sound would wait."""
        import httpx2
        from openai import APIConnectionError, APIStatusError

        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx2.URL(f"{str(self.client.base_url).rstrip('/')}{path}")
        request = httpx2.Request(  # as the client's build_request, which merges the same things every time
            "POST",
            url,
            content=json_bytes(body),
            headers=self._headers,
            cookies=self.http.cookies or None,
            extensions=self._extensions,
        )
        try:
            response = await self.http.send(request, stream=True)
        except httpx2.RequestError as error:
            raise APIConnectionError(request=request) from error
        if response.status_code < 300:
            return response
        try:
            await response.aread()
        except httpx2.RequestError as error:
            raise APIConnectionError(request=request) from error
        try:
            said = self.parse_json(response.content)
        except ValueError:
            said = None
        detail = said.get("error", said) if isinstance(said, dict) else said
        raise APIStatusError(f"status {response.status_code}", response=response, body=detail)

    async def list_models(self) -> list[str]:
        """Identifiers as the server lists them; ``[]`` if it does not answer within two seconds."""
        import aiohttp
        from openai import OpenAIError

        try:
            listed = await self.client.get("/models", cast_to=object, options={"timeout": _LIST_TIMEOUT_S})
        except (OpenAIError, aiohttp.ClientError, ValueError):  # the SDK does not know the second
            return []
        entries = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(entries, list):
            return []
        return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and entry.get("id")]


class OpenAIOperation(Operation[OpenAIEngine]):
    """What the roles have in common."""

    Options: ClassVar[type[Options]] = ConnectionOptions
    engine: OpenAIEngine

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (options.base_url, options.connect_timeout_s, options.read_timeout_s)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> OpenAIEngine:
        """Connects already, so that the first answer need not wait for it."""
        engine = await cls._opened(options, place)
        return await or_closed(engine, engine.greet())

    @classmethod
    async def _opened(cls, options: Any, place: Place) -> OpenAIEngine:
        key = place.secret("OPENAI_API_KEY", options.base_url)
        return await asyncio.to_thread(_open, options, key)  # the SDK's import takes half a second

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        """What the server lists, if it answers soon; nothing for OpenAI itself without a key."""
        host = urlsplit(options.base_url).hostname or ""
        if is_official(host) and place.secret("OPENAI_API_KEY", options.base_url) is None:
            return ()
        engine = await cls._opened(options.model_copy(update={"connect_timeout_s": _LIST_TIMEOUT_S}), place)
        try:
            names = await engine.list_models()
        finally:
            await engine.close()
        if is_official(host):
            names = [name for name in names if _serves(name, cls.role)]
        return [Model(name) for name in sorted(names)]


def _serves(name: str, role: Role) -> bool:
    """OpenAI lists every model of the account together; their names tell what they do."""
    if "tts" in name:
        return role is Role.TTS
    if "transcribe" in name or "whisper" in name:
        return role is Role.STT
    if "embedding" in name:
        return role is Role.EMBEDDING
    other = ("dall-e", "image", "moderation", "realtime", "audio", "sora", "babbage", "davinci")
    return role in (Role.T2T, Role.MCP) and not any(word in name for word in other)


def _open(options: ConnectionOptions, key: str | None) -> OpenAIEngine:
    """In a thread of its own."""
    rehearse(_rehearsal, b"data: [DONE]\n\n", "text/event-stream")
    return _engine(options, key)


async def _rehearsal(base_url: str) -> None:
    engine = _engine(ConnectionOptions.model_validate({"base_url": base_url}), None)
    form: Files = [("file", ("silence.wav", b"", "audio/wav"))]
    try:
        for files in (None, form):
            async with engine.request("/chat/completions", {"stream": True}, retries=0, files=files) as response:
                await read_whole(response, _MAX_LINE)
    finally:
        await engine.close()


def _engine(options: ConnectionOptions, key: str | None) -> OpenAIEngine:
    import httpx2
    from jiter import from_json
    from openai import AsyncOpenAI, DefaultAioHttpClient

    from .failures import Failures

    parts = urlsplit(options.base_url)
    host = parts.hostname or ""
    http = DefaultAioHttpClient(
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=_KEEP_ALIVE_S),
        timeout=httpx2.Timeout(options.read_timeout_s, connect=options.connect_timeout_s),
        follow_redirects=False,
        trust_env=host not in _LOOPBACK,  # a proxy of the environment cannot reach this machine's own servers
        event_hooks={"request": [_KeyGuard(key)]},
    )
    client = AsyncOpenAI(
        api_key=key or PLACEHOLDER_KEY,
        base_url=options.base_url,
        max_retries=0,
        timeout=httpx2.Timeout(options.read_timeout_s, connect=options.connect_timeout_s),
        http_client=http,
    )
    if key is None:  # the SDK took them from the environment
        client.organization = None
        client.project = None
    return OpenAIEngine(client, http, Failures(parts.netloc, key, options.read_timeout_s), host, from_json)


class _KeyGuard:
    """The SDK adds headers of its own accord from ``OPENAI_CUSTOM_HEADERS``; a host without a key gets none of them."""

    def __init__(self, key: str | None) -> None:
        ambient = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
        self._strangers = [line.partition(":")[0].strip() for line in ambient] if key is None else []
        self._authorization = f"Bearer {key or PLACEHOLDER_KEY}"

    async def __call__(self, request: "httpx2.Request") -> None:
        for name in self._strangers:
            request.headers.pop(name, None)
        request.headers["Authorization"] = self._authorization


def pieces_of(response: "httpx2.Response") -> AsyncGenerator[bytes, None]:
    """The body as it comes. Two layers less than ``aiter_bytes``, which only a compressed body needs."""
    if "content-encoding" in response.headers:
        return response.aiter_bytes()
    return cast("AsyncGenerator[bytes, None]", aiter(cast("httpx2.AsyncByteStream", response.stream)))


async def read_whole(response: "httpx2.Response", limit_bytes: int) -> bytes:
    """The body, if it is not larger. :raises BindingFailed: if it is."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > limit_bytes:
            raise BindingFailed(f"the backend's answer is larger than {limit_bytes >> 20} MiB")
    return bytes(body)
