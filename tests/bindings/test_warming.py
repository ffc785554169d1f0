import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpcore2
import httpx
import pytest

from fakes.anthropic_server import FakeAnthropic
from fakes.binding_rig import Places, open_engines, open_operation
from fakes.fish_server import FakeFish
from fakes.gemini_server import FakeGemini
from fakes.openai_server import FakeOpenAI
from greenroom.bindings.roles import Engine
from greenroom.bindings.warming import greet, rehearse
from greenroom.errors import BindingFailed
from greenroom.serving.certificate import own_certificate
from greenroom.values import Message, Prompt, Role

KEYS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "fish": "FISH_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "openai": "OPENAI_API_KEY",
}
_FIRST_CALL = """
import asyncio, json, sys
from fakes.binding_rig import Places, open_operation
from greenroom.values import Audio, Message, Prompt, Role

async def sound():
    yield Audio(bytes(32_000), 16_000)

async def first_call(binding, role, key, base_url):
    places = Places(secrets={(key, base_url): "k"})
    async with open_operation(binding, Role(role), {"base_url": base_url}, places) as operation:
        before = set(sys.modules)
        if role == "embedding":
            await operation.embed(["Hello."])
        elif role == "stt":
            async for _ in operation.transcribe(sound(), ""):
                pass
        else:
            async for _ in operation.generate(Prompt("Be kind.", (Message("user", "Hello!"),))):
                pass
        print(json.dumps(sorted(set(sys.modules) - before)))

asyncio.run(first_call(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("binding", "role", "fake"),
    [
        ("openai", Role.T2T, FakeOpenAI),
        ("openai", Role.STT, FakeOpenAI),
        ("openai", Role.EMBEDDING, FakeOpenAI),
        ("anthropic", Role.T2T, FakeAnthropic),
        ("gemini", Role.T2T, FakeGemini),
        ("fish", Role.STT, FakeFish),
    ],
)
async def test_a_first_call_has_nothing_left_to_load(
    binding: str, role: Role, fake: type[FakeOpenAI | FakeAnthropic | FakeGemini | FakeFish]
) -> None:
    async with fake() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _FIRST_CALL,
            *(binding, role, KEYS[binding], server.base_url),
            cwd=Path(__file__).parents[1],
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    loaded = {name.partition(".")[0] for name in json.loads(out)}
    assert loaded - sys.stdlib_module_names == set()


def test_a_rehearsal_gets_its_answer_and_its_failure_is_not_told() -> None:
    heard: list[bytes] = []

    async def play(base_url: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(2):
                heard.append((await client.post(base_url, content=b"x" * 1000)).content)
        raise BindingFailed("the rehearsal went wrong")

    rehearse(play, b"data: {}\n\n", "text/event-stream")
    assert heard == [b"data: {}\n\n"] * 2


async def test_only_a_handshake_is_worth_a_greeting() -> None:
    asked: list[str] = []

    async def ask() -> None:
        asked.append("once")
        raise OSError("nobody there")

    assert await greet("http://127.0.0.1:1", ask) is None and asked == []
    task = await greet("https://127.0.0.1:1", ask)
    assert asked == ["once"] and task is not None and task.done()


async def test_a_load_that_is_given_up_greets_nobody() -> None:
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def ask() -> None:
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            given_up.set()

    loading = asyncio.create_task(greet("https://127.0.0.1:1", ask))
    await asked.wait()
    loading.cancel()
    await given_up.wait()
    assert (await asyncio.gather(loading, return_exceptions=True))[0].__class__ is asyncio.CancelledError


@asynccontextmanager
async def silent_listener() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Takes connections and says nothing; the event: somebody came."""
    came = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


@pytest.mark.parametrize(
    ("binding", "role"), [("openai", Role.T2T), ("anthropic", Role.T2T), ("gemini", Role.T2T), ("fish", Role.STT)]
)
async def test_a_connection_is_begun_on_load_and_its_failure_told_by_the_first_call(binding: str, role: Role) -> None:
    async with silent_listener() as (port, came):
        base_url = f"https://127.0.0.1:{port}"
        places = Places(secrets={(KEYS[binding], base_url): "k"})
        async with open_operation(binding, role, {"base_url": base_url, "connect_timeout_s": 0.5}, places):
            await came.wait()


@pytest.mark.parametrize(
    ("binding", "role"), [("openai", Role.T2T), ("anthropic", Role.T2T), ("gemini", Role.T2T), ("fish", Role.STT)]
)
async def test_an_engine_whose_load_is_given_up_is_closed(
    binding: str, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Engine] = []

    def told(close: Callable[[Engine], Awaitable[None]]) -> Callable[[Engine], Awaitable[None]]:
        async def closing(engine: Engine) -> None:
            closed.append(engine)
            await close(engine)

        return closing

    resolving = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        resolving.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    base_url = "https://gateway.invalid"
    async with open_engines(Places(secrets={(KEYS[binding], base_url): "k"})) as engines:
        loading = asyncio.create_task(engines.load(binding, role, {"base_url": base_url}))
        await resolving.wait()
        for kind in Engine.__subclasses__():
            monkeypatch.setattr(kind, "close", told(kind.close))
        loading.cancel()
        await asyncio.wait((loading,))
    assert loading.cancelled() and len(closed) == 1


@pytest.mark.parametrize(
    ("binding", "fake_type"), [("openai", FakeOpenAI), ("anthropic", FakeAnthropic), ("gemini", FakeGemini)]
)
async def test_the_first_answer_comes_on_the_connection_that_loading_made(
    binding: str,
    fake_type: type[FakeOpenAI | FakeAnthropic | FakeGemini],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate = own_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate.cert))
    monkeypatch.setattr(httpcore2, "default_ssl_context", lambda **_: trusting)
    async with fake_type() as fake, tls_before(fake.base_url, certificate.context()) as (base_url, accepted):
        places = Places(secrets={(KEYS[binding], base_url): "k"})
        async with open_operation(binding, Role.T2T, {"base_url": base_url}, places) as chat:
            await asyncio.wait((chat.engine._greeting,))
            assert len(accepted) == 1
            assert [item async for item in chat.generate(Prompt(messages=(Message("user", "Hello!"),)))]
        assert len(accepted) == 1


@asynccontextmanager
async def tls_before(base_url: str, context: ssl.SSLContext) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that speaks TLS and passes everything on; the list grows with each connection."""
    port = urlsplit(base_url).port
    accepted: list[int] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        behind, to_behind = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, to_behind), carry(behind, writer))

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}{urlsplit(base_url).path}", accepted
