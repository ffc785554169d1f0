"""A crowd that comes and goes, clients that do not read, clients that never stop: the others notice nothing."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psutil
import pytest

from e2e.conftest import make_home
from e2e.promises import check_numbers, check_text, check_turn
from e2e.visitor import PATIENCE_S, Told, Visitor, pcm_of, text_of, visitor
from fakes.server_process import ServerProcess, running_server
from fakes.socketio_packets import decode

pytestmark = pytest.mark.asyncio(loop_scope="module")

CROWD = 100
SCRIPTED = """
operations: [{role: t2t, id: scripted}, {role: tts, id: scripted}]
turn: {audio_lead_ms: 0}
session: {history_length: 10}
"""


async def until_nobody_is_left(client: Visitor, names: set[str]) -> None:
    """Every session of these has neither clients nor jobs."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            listed = (await client.done("session_list"))["sessions"]
            left = [each for each in listed if each["name"] in names and (each["clients"] or each["jobs"])]
            if not left:
                return


@pytest.mark.slow
async def test_a_hundred_clients_drop_in_the_middle_of_their_turns(
    tmp_path_factory: pytest.TempPathFactory, den: str
) -> None:
    async with (
        running_server(make_home(tmp_path_factory.mktemp("crowd"), SCRIPTED)) as server,
        visitor(server.url, session=den) as ana,
    ):
        process = psutil.Process(server.pid)
        resident = []
        for _ in range(2):
            names = {f"{den}-{number % 20}" for number in range(CROWD)}

            async def comes_and_drops(number: int) -> None:
                auth = {"session": f"{den}-{number % 20}"} if number % 3 else None
                transports = ("polling", "websocket") if number % 5 == 0 else ("websocket",)
                async with aiohttp.ClientSession() as http:
                    client = await Visitor(http).connect(server.url, auth, transports=transports)
                    if auth:
                        text = f"say Number {number} talks and talks and talks."
                        await client.done("response", text=text)
                        await client.next("text_chunk", "busy")
                    else:
                        await client.tell("generate_text", {"prompt": "hang"})
                        await client.next("text_chunk", "busy")
                    await client.drop()
                    await asyncio.wait_for(client.gone.wait(), PATIENCE_S)
                    await client.close()

            async with asyncio.TaskGroup() as group:
                crowd = [group.create_task(comes_and_drops(number)) for number in range(CROWD)]
                meanwhile = group.create_task(ana.run("response", text="say I go on talking quite undisturbed."))
            assert all(each.done() for each in crowd)
            check_turn(meanwhile.result())
            assert text_of(meanwhile.result()).strip() == "I go on talking quite undisturbed."
            await until_nobody_is_left(ana, names)
            resident.append(process.memory_info().rss)
        check_numbers(ana)
        # The slots of those who were generating privately are free again.
        async with visitor(server.url) as old:
            await old.tell("generate_text", {"prompt": "say Hello"})
            assert (await old.next("text_generated", "busy")).get("text") == "Hello "
        assert resident[1] - resident[0] < 16 << 20, resident
        assert "Traceback" not in server.logged()
        async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_S):
            while True:
                async with http.get(f"{server.url}/health") as response:
                    if (await response.json())["clients"] == 1:
                        break


# A client that does not read


def _narrow(address: Any) -> socket.socket:
    """A socket whose window is as small as it can be."""
    sock = socket.socket(address[0], address[1], address[2])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return sock


@asynccontextmanager
async def deaf(url: str, session: str) -> AsyncGenerator[aiohttp.ClientWebSocketResponse, None]:
    """Has joined a session, and reads no more than it is asked to."""
    connector = aiohttp.TCPConnector(socket_factory=_narrow)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket", max_msg_size=0) as ws,
    ):
        await ws.receive_str()
        await ws.send_str(f"40{json.dumps({'session': session})}")
        while "session_joined" not in await ws.receive_str():
            pass
        yield ws


async def heard(ws: aiohttp.ClientWebSocketResponse, last_seq: int) -> list[Told]:
    """Session events up to this number, or up to the end of the connection."""
    told: list[Told] = []
    header, attachments = "", list[bytes]()
    async with asyncio.timeout(PATIENCE_S):
        while not told or told[-1].data.get("seq", 0) < last_seq:
            message = await ws.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                attachments.append(message.data)
                told.append(Told(*decode(header, attachments)))
            elif message.type is not aiohttp.WSMsgType.TEXT:
                break
            elif message.data == "2":
                await ws.send_str("3")
            else:
                header, attachments = message.data[1:], []
                if header.startswith("2"):
                    told.append(Told(*decode(header, [])))
    return told


@pytest.mark.slow
async def test_a_client_that_stops_reading_for_a_while(tmp_path_factory: pytest.TempPathFactory, den: str) -> None:
    """It costs its place in the log. When it reads again, it gets every event, and hears how much sound is gone."""
    async with (
        running_server(make_home(tmp_path_factory.mktemp("deaf"), SCRIPTED)) as server,
        visitor(server.url, session=den) as ana,
        deaf(server.url, den) as ws,
    ):
        await ana.run("operation_configure", ops=[{"role": "tts", "ms_per_character": 500}])
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        for _ in range(40):
            check_turn(await ana.run("say", text="This goes on and on, for a whole minute and more of it."))
        grown = process.memory_info().rss - before
        assert len(pcm_of(ana.told)) > 16 << 20
        assert grown < 16 << 20, grown
        check_numbers(ana)
        told = await heard(ws, ana.numbers()[-1])
        assert text_of(told) == text_of(ana.told)
        covered: list[int] = []
        for each in told:
            gap = each.name == "audio_dropped"
            covered += range(each.data["from_seq"], each.data["to_seq"] + 1) if gap else [each.data["seq"]]
        assert covered == ana.numbers()
        assert 0 < len(pcm_of(told)) < len(pcm_of(ana.told))


@pytest.mark.slow
async def test_a_client_that_never_reads_again(tmp_path_factory: pytest.TempPathFactory, den: str) -> None:
    """Once even the text that it has missed is gone, it is closed; the others hear on."""
    config = SCRIPTED.replace("history_length: 10", "history_length: 10, replay_log_bytes: 524288")
    words = "say " + " ".join(f"word{number}" for number in range(400))
    async with (
        running_server(make_home(tmp_path_factory.mktemp("deaf"), config)) as server,
        visitor(server.url, session=den) as ana,
        deaf(server.url, den) as ws,
        aiohttp.ClientSession() as http,
    ):
        turns = 0
        while (await ana.done("session_state"))["state"]["clients"] == 2:
            check_text(await ana.run("response", text=words, include_audio=False))
            turns += 1
            assert turns < 100, "it is never closed"
        check_numbers(ana)
        told = await heard(ws, 1 << 30)
        assert {each.data["code"] for each in told if each.name == "closing"} <= {"too_slow"}
        async with http.get(f"{server.url}/metrics") as response:
            assert "too_slow" in await response.text()
        joined = ana.named("session_joined")[0]
        async with visitor(server.url, session=den, epoch=joined["epoch"], last_seq=1) as again:
            assert again.named("session_joined")[0]["resumed"] is False
        assert "Traceback" not in server.logged()


# Clients that never stop


async def test_a_flood_is_refused_and_nobody_else_feels_it(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=f"{den}-flood") as flood, visitor(shared.url, session=den) as ana:
        answers: Counter[str] = Counter()
        over = asyncio.Event()
        total = 3000

        def answered(answer: dict[str, Any]) -> None:
            answers["success" if answer["success"] else answer["code"]] += 1
            if answers.total() == total:
                over.set()

        for _ in range(total):
            await flood.sio.emit("session_state", {}, callback=answered)
        told = await ana.run("response", text="Hello.")
        check_turn(told)
        waiting = [asyncio.create_task(event.wait()) for event in (over, flood.gone)]
        await asyncio.wait(waiting, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        assert answers["success"] >= 1 and answers["busy"] >= 1 and set(answers) == {"success", "busy"}
        # Either each got its answer, or it was told that it is too much and the connection was closed.
        assert over.is_set() or flood.named("closing")[0]["code"] == "busy"


async def test_more_jobs_than_may_wait(tmp_path_factory: pytest.TempPathFactory, den: str) -> None:
    config = f"{SCRIPTED.replace('history_length: 10', 'queued_jobs: 5')}"
    async with (
        running_server(make_home(tmp_path_factory.mktemp("queue"), config)) as server,
        visitor(server.url, session=den) as ana,
    ):
        running = await ana.job("response", text="hang", include_audio=False)
        await ana.next("text_chunk", job_id=running)
        queued = [await ana.job("context_add", kind="chat", user="x", content="x") for _ in range(5)]
        refused = await ana.refused("context_add", kind="chat", user="x", content="x")
        assert refused["code"] == "busy"
        await ana.done("cancel_job", job_id=running)
        for job_id in queued:
            await ana.finished(job_id)
        assert await ana.job("context_add", kind="chat", user="x", content="x")


async def test_large_things_are_refused_in_words(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        for event, data in (
            ("say", {"text": "x" * 70_000}),
            ("context_add", {"kind": "chat", "user": "x", "content": "ü" * 40_000}),
            ("generate_text", {"prompt": "x" * 100_000}),
            ("context_add", {"kind": "audio", "user": "x", "audio": bytes(15 << 20 | 2), "sr": 48_000}),
            ("context_add", {"kind": "audio", "user": "x", "audio": bytes(3 << 20), "sr": 4000}),
            ("say", {"text": "x" * (2 << 20)}),
        ):
            assert (await ana.refused(event, **data))["code"] == "too_large", event
        assert text_of(await ana.run("say", text="Still here.", include_audio=False)) == "Still here."


@pytest.mark.parametrize("size", [17 << 20, 40 << 20])
async def test_what_is_far_too_large_ends_the_connection(shared: ServerProcess, den: str, size: int) -> None:
    async with visitor(shared.url, session=den) as ana, visitor(shared.url, session=den) as ben:
        await ana.tell("context_add", {"kind": "audio", "user": "x", "audio": bytes(size), "sr": 48_000})
        await asyncio.wait_for(ana.gone.wait(), PATIENCE_S)
        assert {closing["code"] for closing in ana.named("closing")} <= {"too_large"}
        check_turn(await ben.run("say", text="I am still here."))
