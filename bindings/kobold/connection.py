"""The connections to one KoboldCPP, shared by every role that uses the same one."""

import asyncio
import importlib
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from greenroom.bindings.roles import OWNER_ONLY, Engine, Model, Operation, Options, Place
from greenroom.bindings.web_address import web_address
from greenroom.bindings.wire_text import json_bytes
from greenroom.errors import BindingFailed

from .server import DEFAULT_URL, FoundServer, KoboldServer, ManagedServer, program_of

if TYPE_CHECKING:
    import aiohttp

    from .failures import Failures

_ABORT_TIMEOUT_S = 5.0
_LIST_TIMEOUT_S = 2.0
_MAX_WHOLE_BYTES = 8 << 20
_JSON = {"Content-Type": "application/json"}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NO_MODEL = ("inactive", "koboldcpp/inactive", "koboldcpp/protected-model", "")
"""what stands for a model's name where none is loaded, or a password is wanted"""


class ConnectionOptions(Options):
    url: str = Field(
        "",
        description=f"a KoboldCPP that runs already; empty: kobold_filepath is started, without one {DEFAULT_URL}",
        json_schema_extra=OWNER_ONLY,
    )
    kobold_filepath: str | None = Field(
        None, description="the KoboldCPP program, to be started from here", json_schema_extra=OWNER_ONLY
    )
    kcpps_filepath: str | None = Field(
        None, description="its settings file (.kcpps), which names the models to load", json_schema_extra=OWNER_ONLY
    )
    connect_timeout_s: float = Field(5.0, gt=0, le=60, description="seconds to wait for a connection")
    read_timeout_s: float = Field(
        180.0, gt=0, le=3600, description="longest silence in seconds, while it reads the prompt too"
    )
    max_retries: int = Field(2, ge=0, le=5, description="further attempts where it was busy or had just been restarted")

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, value: str) -> str:
        return web_address(value, DEFAULT_URL) if value.strip() else ""


class KoboldEngine(Engine):
    def __init__(self, http: "aiohttp.ClientSession", server: KoboldServer, failures: "Failures") -> None:
        self.server = server
        self.failures = failures
        self._http = http
        self._aborting: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        await asyncio.gather(*self._aborting)
        await self._http.close()
        await self.server.close()

    async def open(self, path: str, body: Mapping[str, Any], retries: int) -> "aiohttp.ClientResponse":
        """An answer whose headers have come and whose body has not.

        :raises BindingFailed: with a sentence for whatever went wrong; for a status it has ``details["status"]``.
        """
        import aiohttp

        for attempt in range(retries + 1):
            url = await self.server.url()
            try:
                response = await self._http.post(
                    url + path, data=json_bytes(body), headers=_JSON, allow_redirects=False
                )
            except (aiohttp.ClientError, TimeoutError) as error:
                if attempt < retries and not isinstance(error, TimeoutError) and await self.server.recover():
                    continue
                raise self.failures.of_connection(error) from error
            if response.status < 300:
                return response
            async with response:
                said = (await self.read_whole(response)).decode(errors="replace")
            failure = self.failures.of_status(response.status, said, path)
            if attempt == retries or not failure.retryable:
                raise failure
            await asyncio.sleep(0.25 * 2.0**attempt)
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def reading(self, response: "aiohttp.ClientResponse") -> AsyncIterator[None]:
        """Leaving early closes the connection at once. :raises BindingFailed: for an answer that breaks."""
        import aiohttp

        try:
            yield
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self.failures.of_stream(error) from error
        finally:
            response.close()

    async def read_whole(self, response: "aiohttp.ClientResponse") -> bytes:
        """:raises BindingFailed: if it is larger than 8 MiB."""
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > _MAX_WHOLE_BYTES:
                raise BindingFailed(f"{self.server.name} sent more than {_MAX_WHOLE_BYTES >> 20} MiB")
        return bytes(body)

    async def ask(self, path: str, body: Mapping[str, Any], retries: int = 0) -> dict[str, Any]:
        """The whole answer. :raises BindingFailed: if it is no JSON object"""
        response = await self.open(path, body, retries)
        async with self.reading(response):
            text = await self.read_whole(response)
        return self.parse(text)

    def parse(self, text: bytes) -> dict[str, Any]:
        try:
            parsed = json.loads(text)
        except ValueError:
            raise self.failures.nonsense(self.failures.clean(text.decode(errors="replace")) or "nothing") from None
        if not isinstance(parsed, dict):
            raise self.failures.nonsense("something that is no answer")
        return parsed

    async def look_up(self, path: str) -> Any:
        """What GET gives; ``None`` if it does not answer soon, or with no JSON."""
        import aiohttp

        url = self.server.url_now
        if url is None:
            return None
        try:
            async with (
                asyncio.timeout(_LIST_TIMEOUT_S),
                self._http.get(url + path, allow_redirects=False) as response,
            ):
                return json.loads(await response.read()) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    async def model_name(self) -> str:
        """Empty if none is loaded, or nobody answers."""
        found = await self.look_up("/api/v1/model")
        name = found.get("result") if isinstance(found, dict) else None
        return name if isinstance(name, str) and name not in _NO_MODEL else ""

    async def empty(self, ability: str, mend: str) -> BindingFailed:
        """What to raise for an answer that holds nothing; ``ability`` as ``/api/extra/version`` names it."""
        version = await self.look_up("/api/extra/version")
        if isinstance(version, dict) and version.get(ability) is False:
            return BindingFailed(f"{self.server.name} has no model loaded for this: {mend}")
        return BindingFailed(f"{self.server.name} answered with nothing", retryable=True)

    @asynccontextmanager
    async def generation(self) -> AsyncGenerator[str, None]:
        """A key for one generation; left by any error or by cancelling, KoboldCPP is told to stop working on it."""
        key = f"greenroom-{secrets.token_hex(8)}"
        try:
            yield key
        except BaseException as error:
            refused = isinstance(error, BindingFailed) and "status" in (error.details or {})
            url = self.server.url_now
            if not refused and url is not None and not self._http.closed:
                task = asyncio.get_running_loop().create_task(self._abort(url, key), name="kobold abort")
                self._aborting.add(task)
                task.add_done_callback(self._aborting.discard)
            raise

    async def _abort(self, url: str, key: str) -> None:
        """In a task of its own: whoever interrupted does not wait for it."""
        import aiohttp

        try:
            async with (
                asyncio.timeout(_ABORT_TIMEOUT_S),
                self._http.post(f"{url}/api/extra/abort", json={"genkey": key}) as response,
            ):
                await response.read()
        except (aiohttp.ClientError, TimeoutError):  # the closed connection tells it too, a little later
            pass


class KoboldOperation(Operation[KoboldEngine]):
    """What the roles have in common."""

    Options: ClassVar[type[Options]] = ConnectionOptions
    engine: KoboldEngine

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (
            options.url,
            options.kobold_filepath,
            options.kcpps_filepath,
            options.connect_timeout_s,
            options.read_timeout_s,
        )

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> KoboldEngine:
        """Starts KoboldCPP where that is wanted, and waits until its models are loaded.

        :raises Unavailable: if there is no such program; :raises BindingFailed: if it does not come up
        """
        if options.kobold_filepath and not options.url:
            program, password = program_of(options.kobold_filepath, options.kcpps_filepath, place)
            server: KoboldServer = ManagedServer(place.programs(), program)
        else:
            server = FoundServer(options.url or DEFAULT_URL)
            password = place.secret("KOBOLD_PASSWORD", options.url or DEFAULT_URL)
        await asyncio.to_thread(importlib.import_module, "aiohttp")
        engine = _engine(options, server, password)
        try:
            await server.url()
        except BaseException:
            await engine.close()
            raise
        return engine

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        """The model of a KoboldCPP that runs; none is started for the list."""
        if options.kobold_filepath and not options.url:
            return ()
        engine = await cls.open_engine(options, place)
        try:
            name = await engine.model_name()
        finally:
            await engine.close()
        return [Model(name, "loaded by KoboldCPP")] if name else []


def _engine(options: ConnectionOptions, server: KoboldServer, password: str | None) -> KoboldEngine:
    import aiohttp

    from .failures import Failures

    host = urlsplit(server.url_now or "").hostname
    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=options.connect_timeout_s, sock_read=options.read_timeout_s
        ),
        headers={"Authorization": f"Bearer {password}"} if password else None,
        trust_env=host is not None and host not in _LOOPBACK,
    )
    return KoboldEngine(http, server, Failures(server, password, options.read_timeout_s))
