"""What a connection or a request leaves in memory when it is over: nothing that only a search for garbage finds."""

import asyncio
import socket as sockets
import weakref
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from fakes.jaison_server import jaison_server
from fakes.left_behind import requests, unswept
from fakes.openai_door import SCRIPTED_OPERATIONS, Served, served
from fakes.running_door import Client, RawClient, running_door
from fakes.wyoming_client import Synthesize, Transcript, heard, wyoming
from greenroom.doors.door import Rooms
from greenroom.doors.safety import Guard
from greenroom.doors.socketio.engine import Engine
from greenroom.doors.wyoming.door import open_wyoming

CHAT = "/v1/chat/completions"


async def ask(server: Served, text: str, *, stream: bool, bound: bool, leave: bool) -> None:
    """A request to its end; ``leave``: its client goes when the answer has begun."""
    body = {"model": "greenroom", "stream": stream, "messages": [{"role": "user", "content": text}]}
    if bound:
        body["metadata"] = {"session": "main", "include_audio": "false"}
    async with server.http.stream("POST", CHAT, json=body) as answer:
        running = requests()
        async for _ in answer.aiter_lines():
            if leave:
                break
    if running:
        await asyncio.wait(running)


@pytest.mark.parametrize("bound", [False, True], ids=["stateless", "session"])
@pytest.mark.parametrize(
    ("text", "stream", "leave"),
    [("say one two.", True, False), ("say one two.", False, False), ("fail one.", True, False), ("hang", True, True)],
    ids=["streamed", "whole", "failed", "left"],
)
async def test_a_request_at_openais_door(tmp_path: Path, text: str, stream: bool, leave: bool, bound: bool) -> None:
    async with served(tmp_path, SCRIPTED_OPERATIONS) as server:
        await ask(server, "say one.", stream=stream, bound=bound, leave=False)
        with unswept() as circles:
            for _ in range(3):
                await ask(server, text, stream=stream, bound=bound, leave=leave)
            assert circles() == {}


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="-then-".join)
async def test_a_socketio_client(transports: list[str]) -> None:
    async with running_door() as server:
        with unswept() as circles:
            for _ in range(3):
                async with Client(server, transports=transports) as client:
                    await client.connect({"session": "main"})
                    await client.call("response", {"user": "a", "text": "hi"})
                    await client.next("job_finished")
                    running = requests()
                await asyncio.wait(running)
            # engine.io makes a class for each request, and a class is a circle: only this hangs on it.
            assert set(circles()) <= {"_Incoming"}


async def test_a_socketio_client_that_just_drops() -> None:
    async with running_door() as server:
        with unswept() as circles:
            for _ in range(3):
                async with RawClient(server) as client:
                    await (await client.open()).join({"session": "main"})
                    running = requests()
                    client.drop()
                    await asyncio.wait(running)
            assert set(circles()) <= {"_Incoming"}


async def test_a_ping_of_a_connection_that_has_ended() -> None:
    """A pong that comes behind the end makes engine.io wait for the next ping once more."""

    class Peer:
        async def ping(self) -> None: ...

    engine = Engine(object, ping_interval_s=25, ping_timeout_s=20)
    peer = Peer()
    there = weakref.ref(peer)
    engine.let_go(peer)
    waiting = engine.start_background_task(peer.ping)
    await waiting
    del peer, waiting
    assert there() is None
    await engine.stop()


async def test_a_listener_at_jaisons_websocket(tmp_path: Path) -> None:
    async with jaison_server(tmp_path / "home") as server:
        with unswept() as circles:
            for _ in range(3):
                async with connect(f"{server.ws_url}/?session=main", compression=None) as socket:
                    async with httpx.AsyncClient(base_url=server.url) as http:
                        await http.post("/api/context/request", json={"content": "Be brief."})
                    await socket.recv()
                    running = requests()
                await asyncio.wait(running)
            assert circles() == {}


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.parametrize("asked", ["speech", "answer"])
async def test_a_wyoming_client(tmp_path: Path, asked: str, leaves: bool) -> None:
    """:param leaves: in the middle of what it has asked for."""
    words = "One two three. " * (300 if leaves else 1)
    if asked == "speech":
        question, first, last = Synthesize(text=words).event(), "audio-start", "audio-stop"
    else:
        question, first, last = Transcript(text=f"say {words}").event(), "handled-start", "handled-stop"
    async with jaison_server(tmp_path / "home") as server:
        greenroom = server.greenroom
        made = sockets.create_server(("127.0.0.1", 0))
        door = await open_wyoming(Rooms(greenroom.sessions, greenroom.house, Guard(), "main"), made, "127.0.0.1", [])
        with unswept() as circles:
            for _ in range(3):
                async with wyoming(f"tcp://127.0.0.1:{made.getsockname()[1]}") as client:
                    await client.write_event(question)
                    await heard(client, first if leaves else last)
                    running = requests()
                await asyncio.wait(running)
            found = circles()
        await door.close()
        made.close()
        assert found == {}
