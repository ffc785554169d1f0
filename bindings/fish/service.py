"""The connections to Fish Audio, shared by both roles and all sessions."""

import asyncio
import json
from collections.abc import Hashable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from greenroom.bindings.chat_format import error_message
from greenroom.bindings.live_socket import Sockets
from greenroom.bindings.roles import OWNER_ONLY, Engine, Operation, Options, Place
from greenroom.bindings.service_failures import ServiceFailures
from greenroom.bindings.warming import greet, rehearse
from greenroom.bindings.web_address import web_address
from greenroom.errors import BindingFailed

if TYPE_CHECKING:
    import httpx
    from fishaudio import AsyncFishAudio

KEY = "FISH_API_KEY"
_OWN_HOST = "api.fish.audio"
_NO_KEY = "no-key-configured"
"""given to the SDK where there is none, as it would look for one by itself, whatever host it is for"""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class FishOptions(Options):
    base_url: str = Field(
        "https://api.fish.audio",
        max_length=300,
        description="the service; another address for a gateway of one's own",
        json_schema_extra=OWNER_ONLY,
    )
    connect_timeout_s: float = Field(5.0, gt=0, le=60, description="seconds to wait for a connection")
    read_timeout_s: float = Field(
        30.0, gt=0, le=600, description="longest silence of the service in seconds, while it owes something"
    )
    max_retries: int = Field(1, ge=0, le=5, description="further attempts where nothing had come yet")

    @field_validator("base_url")
    @classmethod
    def _is_web_address(cls, value: str) -> str:
        return web_address(value, "https://api.fish.audio").rstrip("/")


class FishEngine(Engine):
    def __init__(self, client: "AsyncFishAudio", sockets: Sockets, failures: ServiceFailures, base_url: str) -> None:
        self.client = client
        self.sockets = sockets
        self.failures = failures
        self._base_url = base_url
        self._greeting: asyncio.Task[object] | None = None

    async def greet(self) -> None:
        """Connect already, for requests."""
        if self.failures.key is not None:
            self._greeting = await greet(self._base_url, partial(self.client.voices.list, page_size=1))

    def check(self) -> None:
        """:raises BindingFailed: naming the key, where the service is known to want one and there is none."""
        if self.failures.key is None and self.failures.host == _OWN_HOST:
            raise self.failures.of_status(401, "")

    @property
    def live_url(self) -> str:
        return f"ws{self._base_url.removeprefix('http')}/v1/tts/live"

    def headers(self, backend: str) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.failures.key}"} if self.failures.key else {}
        return {**headers, "model": backend} if backend != "default" else headers

    async def close(self) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.gather(self._greeting, return_exceptions=True)
        await self.sockets.close()
        await self.client.close()


class FishOperation(Operation[FishEngine]):
    """What the roles have in common."""

    Options: ClassVar[type[Options]] = FishOptions
    engine: FishEngine

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (options.base_url, options.connect_timeout_s, options.read_timeout_s)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> FishEngine:
        """:raises BindingFailed: where the SDK is missing. A missing key is said by the first call."""
        return await asyncio.to_thread(_open, options, place.secret(KEY, options.base_url))


def _open(options: FishOptions, key: str | None) -> FishEngine:
    """In a thread of its own."""
    rehearse(_rehearsal, b'{"text": "", "duration": 0, "segments": []}', "application/json")
    return _engine(options, key)


async def _rehearsal(base_url: str) -> None:
    import httpx

    engine = _engine(FishOptions.model_validate({"base_url": base_url}), None)
    try:
        with suppress(httpx.HTTPError):
            await engine.client.asr.transcribe(audio=b"")
    finally:
        await engine.close()


def _engine(options: FishOptions, key: str | None) -> FishEngine:
    try:
        import httpx
        from fishaudio import AsyncFishAudio
    except ImportError as error:
        raise BindingFailed(f'fish needs its SDK: pip install "greenroom[fish]" ({error})') from error

    parts = urlsplit(options.base_url)
    failures = ServiceFailures(parts.netloc, KEY, key, options.read_timeout_s)
    http = httpx.AsyncClient(
        base_url=options.base_url,
        timeout=httpx.Timeout(options.read_timeout_s, connect=options.connect_timeout_s),
        trust_env=parts.hostname not in _LOOPBACK,
        event_hooks={"response": [_Refusals(failures)]},
    )
    client = AsyncFishAudio(api_key=key or _NO_KEY, base_url=options.base_url, httpx_client=http)
    return FishEngine(client, Sockets(failures, options.connect_timeout_s), failures, options.base_url)


class _Refusals:
    """The SDK's own errors leave out the headers, in which the service says how long to wait."""

    def __init__(self, failures: ServiceFailures) -> None:
        self._failures = failures

    async def __call__(self, response: "httpx.Response") -> None:
        """:raises BindingFailed: for a status that is no success."""
        if response.is_success:
            return
        text = (await response.aread()).decode(errors="replace")
        try:
            said = error_message(json.loads(text)) or text
        except ValueError:
            said = text
        raise self._failures.of_status(response.status_code, said, response.headers)
