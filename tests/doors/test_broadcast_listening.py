"""Connections: who may listen and to what, those who do not read, and the end of the server."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fakes.jaison_clients import Frames, Rest, kinds
from fakes.jaison_server import CONFIG, JaisonServer, jaison_server
from greenroom.doors.broadcast.frames import Frame, Part
from greenroom.doors.broadcast.listener import PATIENCE_S, Listener
from greenroom.doors.safety import Guard, Token
from greenroom.protocol import events
from greenroom.values import Access
from session.scene import Scene


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[JaisonServer, None]:
    async with jaison_server(tmp_path / "home") as running:
        yield running


async def clear(server: JaisonServer) -> str:
    """A job that has ended."""
    end, _ = await Scene(server.greenroom, server.session).run("context_clear")
    return str(end.job_id)


async def test_nothing_is_sent_on_connect_and_what_clients_send_is_not_read(server: JaisonServer) -> None:
    await clear(server)
    async with Frames.open(server.ws_url, anything="goes") as frames:
        await frames.socket.send("{")
        await frames.socket.send(b"\0" * 100_000)
        await (await frames.socket.ping())
        job_id = await clear(server)
        assert (await frames.next())["job_id"] == job_id


async def test_who_connects_in_the_middle_of_a_job_hears_the_rest_of_it(server: JaisonServer) -> None:
    scene = Scene(server.greenroom, server.session)
    await scene.run("context_add", kind="chat", user="Ana", content="hang on")
    job_id = await scene.job("response")
    await scene.until(lambda told: any(isinstance(event, events.TextChunk) for event in told))
    queued = await scene.job("context_add", kind="request", content="Sing.")
    async with Frames.open(server.ws_url) as frames:
        await scene.ask("cancel_job", job_id=job_id)
        end = await frames.until(lambda one: one["job_id"] == job_id and "finished" in one)
        assert (end["message"], end["success"]) == ("response", False)
        assert {one["message"] for one in await frames.job(queued)} == {"context_request_add"}


async def test_other_sessions_are_heard_by_name(server: JaisonServer) -> None:
    rest = Rest(server.url)
    async with Frames.open(server.ws_url, session="stage") as stage, Frames.open(server.ws_url) as main:
        there = await rest.job("POST", "context/request?session=stage", {"content": "Bow."})
        by_header = await rest.job("DELETE", "context", headers={"X-Greenroom-Session": "stage"})
        here = await rest.job("POST", "context/request", {"content": "Sing."})
        await stage.job(by_header)
        await main.job(here)
        assert {one["job_id"] for one in stage.heard} == {there, by_header}
        assert {one["job_id"] for one in main.heard} == {here}
    rest.close()


async def test_a_session_counts_its_listeners_and_forgets_them(server: JaisonServer) -> None:
    scene = Scene(server.greenroom, server.session)
    readers = server.session.log.listeners
    async with Frames.open(server.ws_url) as first, Frames.open(server.ws_url) as second:
        assert (await server.session.state())["clients"] == 2
        assert server.broadcast.clients == 2
        await first.socket.close()
        job_id = await scene.job("say", text="Still here.")
        # The one that is left is now shown what models say.
        assert kinds(await second.job(job_id))[0] in ("content", "raw_content")
        assert any("raw_content" in one.get("result", {}) for one in second.heard)
        assert (await server.session.state())["clients"] == 1
        forgotten = asyncio.Event()
        server.session.when_forgotten(lambda client_id: forgotten.set())
        await second.socket.close()
        async with asyncio.timeout(10):
            await forgotten.wait()
    assert server.session.callers == {}
    assert server.session.log.listeners == readers


VIEWER, PERFORMER, BOUND = "viewer-token", "performer-token", "bound-token"
TOKENS = (
    Token(VIEWER, Access.VIEWER),
    Token(PERFORMER, Access.PERFORMER),
    Token(BOUND, Access.PERFORMER, frozenset({"stage"})),
)


async def status_of(url: str, **headers: str) -> int:
    try:
        async with connect(url, additional_headers=headers):
            return 101
    except InvalidStatus as refused:
        answer = refused.response
    assert (answer.body or b"").startswith(b"{"), "and says why"
    return answer.status_code


async def test_tokens_origins_and_hosts_are_looked_at(tmp_path: Path) -> None:
    guard = Guard(tokens=TOKENS, allowed_origins=["https://overlay.example"])
    async with jaison_server(tmp_path / "home", guard=guard) as server:
        url = server.ws_url + "/"
        assert await status_of(url) == 401
        assert await status_of(f"{url}?token=wrong") == 401
        assert await status_of(f"{url}?token={VIEWER}") == 101
        assert await status_of(url, Authorization=f"Bearer {VIEWER}") == 101
        assert await status_of(f"{url}?token={BOUND}") == 101, "in the session that it opens"
        assert await status_of(f"{url}?token={BOUND}&session=main") == 403
        assert await status_of(f"{url}?token={VIEWER}&session=a%2Fb") == 400
        assert await status_of(f"{url}?token={VIEWER}", Origin="https://evil.example") == 403
        assert await status_of(f"{url}?token={VIEWER}", Origin="https://overlay.example") == 101


async def test_a_viewer_hears_the_answer_and_no_prompt(tmp_path: Path) -> None:
    async with (
        jaison_server(tmp_path / "home", guard=Guard(tokens=TOKENS)) as server,
        Frames.open(server.ws_url, token=VIEWER) as viewer,
        Frames.open(server.ws_url, token=PERFORMER) as performer,
    ):
        scene = Scene(server.greenroom, server.session)
        job_id = await scene.job("response", text="say Hello.", include_audio=True)
        assert set(kinds(await viewer.job(job_id))) == {"content", "audio_bytes"}
        assert {"instruction_prompt", "history", "raw_content"} < set(kinds(await performer.job(job_id)))


async def test_no_more_connections_than_may_be(tmp_path: Path) -> None:
    config = CONFIG + "server: {max_clients: 1}\n"
    async with jaison_server(tmp_path / "home", config) as server, Frames.open(server.ws_url):
        assert await status_of(server.ws_url + "/") == 503


def stalled(port: int) -> socket.socket:
    """A client that shakes hands and then reads nothing, with little room in its own buffer."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect(("127.0.0.1", port))
    found.sendall(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert found.recv(12) == b"HTTP/1.1 101"
    return found


async def test_a_client_that_does_not_read_delays_nobody_and_is_dropped(tmp_path: Path) -> None:
    config = CONFIG + "limits: {outbox_bytes: 65536}\n"
    async with (
        jaison_server(tmp_path / "home", config, send_buffer=8192) as server,
        Frames.open(server.ws_url) as reader,
    ):
        sleeper = await asyncio.to_thread(stalled, server.port)
        assert server.broadcast.clients == 2
        spoken = 0
        async with asyncio.timeout(20):
            while server.broadcast.clients == 2:
                server.session.emit(
                    events.AudioChunk(
                        job_id="j", index=0, part=spoken, audio=bytes(3072), sr=24_000, sw=2, ch=1, t_ms=0,
                        duration_ms=64, volumes=[],
                    )
                )  # fmt: skip
                spoken += 1
                assert (await reader.next())["result"]["sr"] == 24_000, "who reads has each at once"
        assert len(reader.heard) == spoken
        sleeper.close()


def test_a_burst_is_no_reason_to_drop_anybody_but_patience_ends() -> None:
    now = 100.0

    def listener() -> Listener:
        return Listener(Access.OWNER, documented=False, limit_chars=100, clock=lambda: now)

    frame = Frame("x" * 60, "j", Part.OTHER)
    burst = listener()
    for _ in range(6):
        burst.hear(frame)
    assert not burst.slow.is_set() and burst.waiting_chars == 360
    burst.hear(frame)
    assert burst.slow.is_set() and burst.waiting_chars == 0, "four times what may wait is too much at any time"
    patient = listener()
    patient.hear(frame)
    now += PATIENCE_S + 1
    patient.hear(frame)
    assert patient.slow.is_set()


async def test_who_takes_something_shows_life() -> None:
    now = 100.0
    slow_but_alive = Listener(Access.OWNER, documented=False, limit_chars=100, clock=lambda: now)
    frame = Frame("x" * 60, "j", Part.OTHER)
    for _ in range(4):
        slow_but_alive.hear(frame)
        slow_but_alive.hear(frame)
        now += PATIENCE_S * 0.9
        assert await slow_but_alive.next() == frame.text
        if slow_but_alive.waiting_chars > 100:
            assert await slow_but_alive.next() == frame.text
    assert not slow_but_alive.slow.is_set()


async def test_the_end_of_the_server(tmp_path: Path) -> None:
    async with jaison_server(tmp_path / "home") as server, Frames.open(server.ws_url) as frames:
        sleeper = await asyncio.to_thread(stalled, server.port)
        job_id = await clear(server)
        await server.broadcast.close()
        assert server.broadcast.clients == 0
        assert (await frames.job(job_id))[-1]["success"], "what waited has been sent"
        with pytest.raises(ConnectionClosed) as closed:
            await frames.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001
        assert await status_of(server.ws_url + "/") == 503
        sleeper.close()
