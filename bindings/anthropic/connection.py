"""The connection pool to Anthropic, or to a server that speaks its API, shared by both roles."""

import asyncio
import json
import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from greenroom.bindings.roles import OWNER_ONLY, Engine, Model, Operation, Options, Place
from greenroom.bindings.server_events import EventDecoder
from greenroom.bindings.warming import greet, or_closed, rehearse
from greenroom.bindings.web_address import web_address

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic

    from .failures import Failures

OFFICIAL_HOST = "api.anthropic.com"
WITH_SAMPLING = "2023-06-01"
"""the last version of the API that takes temperature, top_p and top_k, from the models that have them"""
_PLACEHOLDER_KEY = "no-key-configured"
_LIST_TIMEOUT_S = 2.0
_KEEP_ALIVE_S = 120.0
_END_TIMEOUT_S = 0.1
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_THOUGHTS_KEPT = 256
_MAX_PAGE = 1 << 20


class ConnectionOptions(Options):
    base_url: str = Field(
        "https://api.anthropic.com",
        description="the server, without /v1; others speak the same API",
        json_schema_extra=OWNER_ONLY,
    )
    connect_timeout_s: float = Field(5.0, gt=0, le=60, description="seconds to wait for a connection")
    read_timeout_s: float = Field(
        60.0, gt=0, le=3600, description="longest silence of the server in seconds, before its first word too"
    )
    max_retries: int = Field(
        1, ge=0, le=5, description="further attempts where the server was overloaded or hung up before it said a word"
    )

    @field_validator("base_url")
    @classmethod
    def _is_web_address(cls, value: str) -> str:
        return web_address(value, "https://api.anthropic.com").rstrip("/").removesuffix("/v1")


class AnthropicEngine(Engine):
    def __init__(self, client: "AsyncAnthropic", failures: "Failures", host: str) -> None:
        self.failures = failures
        self.refused: dict[str, set[str]] = {}
        """by model: optional parameters that the API refused, not sent again"""
        self.thoughts: OrderedDict[str, Sequence[dict[str, Any]]] = OrderedDict()
        """by id of a tool call: the thinking before it, which the API wants back with its result"""
        self._client = client
        self._is_official = host == OFFICIAL_HOST
        self._greeting: asyncio.Task[object] | None = None

    async def greet(self) -> None:
        """Connect already."""
        if self.failures.key is not None or not self._is_official:
            self._greeting = await greet(str(self._client.base_url), self.list_models)

    async def close(self) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.gather(self._greeting, return_exceptions=True)
        await self._client.close()

    def keep_thoughts(self, call_id: str, blocks: Sequence[dict[str, Any]]) -> None:
        self.thoughts[call_id] = blocks
        while len(self.thoughts) > _THOUGHTS_KEPT:
            self.thoughts.popitem(last=False)

    def forget_thoughts(self, call_ids: Iterable[str]) -> None:
        for call_id in call_ids:
            self.thoughts.pop(call_id, None)

    async def events(self, body: Mapping[str, Any], version: str | None) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one streamed answer. Leaving early closes the connection.

        :raises BindingFailed: with a sentence for whatever went wrong; for a status it has ``details["status"]``
        """
        async with self._open(body, version) as response, aclosing(response.aiter_bytes()) as pieces:
            decoder = EventDecoder()
            async for piece in pieces:
                for data in decoder.feed(piece):
                    event = self._parse(data)
                    yield event
                    if event.get("type") == "message_stop":
                        await _read_out(pieces)
                        return

    @asynccontextmanager
    async def _open(self, body: Mapping[str, Any], version: str | None) -> "AsyncGenerator[httpx2.Response, None]":
        import httpx2
        from anthropic import APIConnectionError, APIStatusError, AsyncStream

        if self._is_official and self.failures.key is None:
            raise self.failures.no_key()
        try:
            stream = await self._client.post(
                "/v1/messages",
                cast_to=object,
                body=dict(body),
                options={"headers": {"anthropic-version": version}} if version else {},
                stream=True,
                stream_cls=AsyncStream[object],
            )
        except APIStatusError as error:
            raise self.failures.of_status(error, str(body.get("model", ""))) from error
        except APIConnectionError as error:
            raise self.failures.of_connection(error) from error
        response = stream.response
        try:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "text/event-stream":
                page = (await response.aread())[:_MAX_PAGE].decode(errors="replace")
                raise self.failures.nonsense(self.failures.clean(page) or "nothing")
            yield response
        except httpx2.HTTPError as error:
            raise self.failures.of_stream(error) from error
        finally:
            await response.aclose()

    def _parse(self, data: bytes) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise self.failures.nonsense("something that is no event")
        return event

    async def list_models(self) -> list[Model]:
        """As the server lists them; ``[]`` if it does not answer within two seconds."""
        from anthropic import AnthropicError

        try:
            listed = await self._client.get(
                "/v1/models", cast_to=object, options={"timeout": _LIST_TIMEOUT_S, "params": {"limit": 1000}}
            )
        except (AnthropicError, ValueError):
            return []
        entries = listed.get("data") if isinstance(listed, dict) else None
        return [
            Model(str(entry["id"]), str(entry.get("display_name") or ""))
            for entry in (entries if isinstance(entries, list) else ())
            if isinstance(entry, dict) and entry.get("id")
        ]


class AnthropicOperation(Operation[AnthropicEngine]):
    Options: ClassVar[type[Options]] = ConnectionOptions
    engine: AnthropicEngine

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (options.base_url, options.connect_timeout_s, options.read_timeout_s)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> AnthropicEngine:
        """Connects already, so that the first answer need not wait for it."""
        engine = await cls._opened(options, place)
        return await or_closed(engine, engine.greet())

    @classmethod
    async def _opened(cls, options: Any, place: Place) -> AnthropicEngine:
        key = place.secret("ANTHROPIC_API_KEY", options.base_url)
        return await asyncio.to_thread(_open, options, key)  # the SDK's import takes a second

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        """What the account may use, if the server answers soon; nothing for Anthropic itself without a key."""
        host = urlsplit(options.base_url).hostname or ""
        if host == OFFICIAL_HOST and place.secret("ANTHROPIC_API_KEY", options.base_url) is None:
            return ()
        engine = await cls._opened(options.model_copy(update={"connect_timeout_s": _LIST_TIMEOUT_S}), place)
        try:
            return await engine.list_models()
        finally:
            await engine.close()


async def _read_out(pieces: AsyncIterator[bytes]) -> None:
    """To the end of the response, so that its connection can be used again; not if the server keeps it open."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_TIMEOUT_S):
            async for _ in pieces:
                pass


def _open(options: ConnectionOptions, key: str | None) -> AnthropicEngine:
    """In a thread of its own."""
    rehearse(_rehearsal, b'data: {"type": "message_stop"}\n\n', "text/event-stream")
    return _engine(options, key)


async def _rehearsal(base_url: str) -> None:
    engine = _engine(ConnectionOptions.model_validate({"base_url": base_url}), None)
    try:
        async with aclosing(engine.events({"model": "rehearsal"}, None)) as events:
            async for _ in events:
                pass
    finally:
        await engine.close()


def _engine(options: ConnectionOptions, key: str | None) -> AnthropicEngine:
    import httpx2
    from anthropic import AsyncAnthropic

    from .failures import Failures

    parts = urlsplit(options.base_url)
    host = parts.hostname or ""
    timeout = httpx2.Timeout(options.read_timeout_s, connect=options.connect_timeout_s)
    http = httpx2.AsyncClient(
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=_KEEP_ALIVE_S),
        timeout=timeout,
        follow_redirects=False,
        trust_env=host not in _LOOPBACK,  # a proxy of the environment cannot reach this machine's own servers
        event_hooks={"request": [_KeyGuard(key)]},
    )
    client = AsyncAnthropic(
        api_key=key or _PLACEHOLDER_KEY,  # given, the SDK looks for none in the environment or in its profiles
        base_url=options.base_url,
        max_retries=0,
        timeout=timeout,
        http_client=http,
        open_telemetry=False,
    )
    return AnthropicEngine(client, Failures(parts.netloc, key, options.read_timeout_s), host)


class _KeyGuard:
    """The SDK adds headers of its own accord from ``ANTHROPIC_CUSTOM_HEADERS``; a host without a key gets none."""

    def __init__(self, key: str | None) -> None:
        ambient = os.environ.get("ANTHROPIC_CUSTOM_HEADERS", "").splitlines()
        self._strangers = [line.partition(":")[0].strip() for line in ambient] if key is None else []
        self._authorization = f"Bearer {key or _PLACEHOLDER_KEY}"

    async def __call__(self, request: "httpx2.Request") -> None:
        for name in self._strangers:
            request.headers.pop(name, None)
        request.headers["Authorization"] = self._authorization
