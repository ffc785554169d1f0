"""The connection pool to Gemini, shared by both roles."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from greenroom.bindings.roles import OWNER_ONLY, Engine, Model, Operation, Options, Place
from greenroom.bindings.warming import greet, or_closed, rehearse
from greenroom.bindings.web_address import web_address

if TYPE_CHECKING:
    import httpx2
    from google.genai import Client, types

    from .failures import Failures

OFFICIAL_HOST = "generativelanguage.googleapis.com"
_PLACEHOLDER_KEY = "no-key-configured"
_LIST_TIMEOUT_S = 2.0
_KEEP_ALIVE_S = 120.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SIGNATURES_KEPT = 256


class ConnectionOptions(Options):
    base_url: str = Field(
        f"https://{OFFICIAL_HOST}",
        description="the server, without /v1; a proxy may speak the same API",
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
        return web_address(value, f"https://{OFFICIAL_HOST}").rstrip("/").removesuffix("/v1beta").removesuffix("/v1")


class _Wire:
    """Hooks of the HTTP client: one key for one host, timeouts, and the response that belongs to a call."""

    def __init__(self, key: str | None, timeout: "httpx2.Timeout") -> None:
        self._key = key or _PLACEHOLDER_KEY
        self._timeout = timeout.as_dict()
        self.responses: ContextVar[list[httpx2.Response] | None] = ContextVar("responses", default=None)
        """of the call that the current context makes"""

    async def asking(self, request: "httpx2.Request") -> None:
        """The SDK sets no timeout, or one for everything."""
        request.extensions = {**request.extensions, "timeout": self._timeout}
        request.headers["x-goog-api-key"] = self._key

    async def answered(self, response: "httpx2.Response") -> None:
        held = self.responses.get()
        if held is not None:
            held.append(response)


class GeminiEngine(Engine):
    def __init__(self, client: "Client", http: "httpx2.AsyncClient", wire: _Wire, failures: "Failures") -> None:
        self.failures = failures
        self.without_thinking: set[str] = set()
        """models that refuse to be told how to think"""
        self.signatures: OrderedDict[str, bytes] = OrderedDict()
        """by id of a tool call: the signature that Gemini wants back with it"""
        self._client = client
        self._http = http
        self._wire = wire
        self._greeting: asyncio.Task[object] | None = None

    async def greet(self, base_url: str) -> None:
        """Connect already."""
        if self.failures.key is not None or OFFICIAL_HOST not in self.failures.host:
            self._greeting = await greet(base_url, self.list_models)

    async def close(self) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.gather(self._greeting, return_exceptions=True)
        await self._client.aio.aclose()
        self._client.close()
        await self._http.aclose()

    def keep_signatures(self, found: Mapping[str, bytes]) -> None:
        self.signatures.update(found)
        while len(self.signatures) > _SIGNATURES_KEPT:
            self.signatures.popitem(last=False)

    def forget_signatures(self, call_ids: Iterable[str]) -> bool:
        """Whether there were any."""
        forgotten = [self.signatures.pop(call_id, None) for call_id in call_ids]
        return any(forgotten)

    async def chunks(
        self, model: str, contents: "list[types.Content]", config: "types.GenerateContentConfig"
    ) -> "AsyncGenerator[types.GenerateContentResponse, None]":
        """The chunks of one streamed answer. Leaving early closes the connection at once, where the SDK's own
        generators would leave that to the garbage collector.

        :raises BindingFailed: with a sentence for whatever went wrong; for a status it has ``details["status"]``
        """
        import httpx2
        from google.genai.errors import APIError, UnknownApiResponseError

        if self.failures.key is None and OFFICIAL_HOST in self.failures.host:
            raise self.failures.no_key()
        responses: list[httpx2.Response] = []
        answering = False
        try:
            mark = self._wire.responses.set(responses)
            try:
                stream = await self._client.aio.models.generate_content_stream(
                    model=model, contents=contents, config=config
                )
                chunk = await anext(stream, None)  # the request is made only now
            finally:
                self._wire.responses.reset(mark)
            while chunk is not None:
                answering = True
                yield chunk
                chunk = await anext(stream, None)
        except APIError as error:
            raise self.failures.of_api(error, model) from error
        except UnknownApiResponseError as error:
            raise self.failures.nonsense("something that is no JSON") from error
        except httpx2.HTTPError as error:
            raise self.failures.of_transport(error, answering=answering or bool(responses)) from error
        finally:
            for response in responses:
                await response.aclose()

    async def list_models(self) -> list[Model]:
        """Those that generate text; ``[]`` if the server does not answer within two seconds."""
        import httpx2
        from google.genai.errors import APIError

        found: list[Model] = []
        try:
            async with asyncio.timeout(_LIST_TIMEOUT_S):
                async for model in await self._client.aio.models.list(config={"page_size": 1000}):
                    if "generateContent" in (model.supported_actions or ()):
                        found.append(Model(str(model.name).removeprefix("models/"), str(model.display_name or "")))
        except (APIError, httpx2.HTTPError, TimeoutError, ValueError, AttributeError, TypeError):
            return []  # the SDK takes whatever JSON comes for what it expects
        return found


class GeminiOperation(Operation[GeminiEngine]):
    Options: ClassVar[type[Options]] = ConnectionOptions
    engine: GeminiEngine

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (options.base_url, options.connect_timeout_s, options.read_timeout_s)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> GeminiEngine:
        """Connects already, so that the first answer need not wait for it."""
        engine = await cls._opened(options, place)
        return await or_closed(engine, engine.greet(options.base_url))

    @classmethod
    async def _opened(cls, options: Any, place: Place) -> GeminiEngine:
        return await asyncio.to_thread(_open, options, _key(options, place))  # the SDK's import takes seconds

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        """What the account may use, if the server answers soon; nothing for Google itself without a key."""
        if OFFICIAL_HOST in options.base_url and _key(options, place) is None:
            return ()
        engine = await cls._opened(options.model_copy(update={"connect_timeout_s": _LIST_TIMEOUT_S}), place)
        try:
            return await engine.list_models()
        finally:
            await engine.close()


def _key(options: ConnectionOptions, place: Place) -> str | None:
    return place.secret("GEMINI_API_KEY", options.base_url) or place.secret("GOOGLE_API_KEY", options.base_url)


def _open(options: ConnectionOptions, key: str | None) -> GeminiEngine:
    """In a thread of its own."""
    heard = {"candidates": [{"content": {"parts": [{"text": "Hello."}], "role": "model"}, "finishReason": "STOP"}]}
    rehearse(_rehearsal, b"data: " + json.dumps(heard).encode() + b"\n\n", "text/event-stream")
    return _engine(options, key)


async def _rehearsal(base_url: str) -> None:
    """The SDK makes most of its classes at their first use, for a tenth of a second."""
    from google.genai import types

    engine = _engine(ConnectionOptions.model_validate({"base_url": base_url}), _PLACEHOLDER_KEY)
    said = [types.Content(role="user", parts=[types.Part(text="Hello.")])]
    tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="none", parameters_json_schema={})])
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        tools=[tool],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        thinking_config=types.ThinkingConfig(include_thoughts=True),
    )
    try:
        async with aclosing(engine.chunks("rehearsal", said, config)) as chunks:
            async for _ in chunks:
                pass
    finally:
        await engine.close()


def _engine(options: ConnectionOptions, key: str | None) -> GeminiEngine:
    import httpx2
    from google import genai
    from google.genai import types

    from .failures import Failures

    parts = urlsplit(options.base_url)
    wire = _Wire(key, httpx2.Timeout(options.read_timeout_s, connect=options.connect_timeout_s))
    http = httpx2.AsyncClient(
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=_KEEP_ALIVE_S),
        follow_redirects=False,
        trust_env=(parts.hostname or "") not in _LOOPBACK,  # a proxy cannot reach this machine's own servers
        event_hooks={"request": [wire.asking], "response": [wire.answered]},
    )
    client = genai.Client(
        vertexai=False,  # given, and the key too: the SDK looks for neither in the environment
        api_key=key or _PLACEHOLDER_KEY,
        http_options=types.HttpOptions(
            base_url=options.base_url,
            # With a client of ours the SDK does not wait up to ten seconds before it tries again by itself.
            httpx_async_client=http,
            retry_options=types.HttpRetryOptions(attempts=1),
        ),
    )
    return GeminiEngine(client, http, wire, Failures(parts.netloc, key, options.read_timeout_s))
