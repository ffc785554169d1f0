import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fakes.mini_server import GOOD_TOKEN, MiniServer, mini_server, tone
from greenroom import client, errors
from greenroom.client import Received, Room, WavWriter
from greenroom.protocol import events
from greenroom.values import Audio


@pytest.fixture
async def server() -> AsyncIterator[MiniServer]:
    async with mini_server() as running:
        yield running


@pytest.fixture
async def room(server: MiniServer) -> AsyncIterator[Room]:
    async with client.connect(server.url) as entered:
        yield entered


async def test_an_answer_streams_as_typed_events(room: Room) -> None:
    received = [one async for one in room.ask("Who are you?")]
    assert isinstance(received[0].event, events.JobStarted)
    assert isinstance(received[-1].event, events.JobFinished)
    assert "".join(one.text for one in received) == "You said: Who are you? Fine."
    assert b"".join(one.audio for one in received) == b"".join(tone(40, number) for number in range(6))
    assert [one.seq for one in received] == list(range(1, len(received) + 1))
    assert {one.job_id for one in received} == {received[0].job_id}


async def test_awaiting_a_turn_gives_the_whole_answer(room: Room) -> None:
    answer = await room.ask("Hello")
    assert answer.text == "You said: Hello Fine."
    assert answer.voice is not None
    assert answer.voice.duration_ms == 160
    assert answer.sentences[0].extras["emotion"] == "joy"
    assert answer.timing == {"total_ms": 1.0}
    assert answer.complete


async def test_turns_asked_at_once_do_not_mix(room: Room) -> None:
    answers = await asyncio.gather(*(room.ask(f"number {number}", voice=False) for number in range(5)))
    assert [answer.text for answer in answers] == [f"You said: number {number} Fine." for number in range(5)]


async def test_a_question_by_voice(room: Room, tmp_path: Path) -> None:
    path = tmp_path / "question.wav"
    with path.open("wb") as file, WavWriter(file) as writer:
        writer.write(Audio(tone(100), 16000))
    answer = await room.ask_audio(path)
    assert answer.transcript == "3200 bytes of sound"
    assert answer.text == "You said: 3200 bytes of sound Fine."


async def test_if_the_voice_is_not_understood_no_answer_is_asked_for(room: Room, server: MiniServer) -> None:
    server.go.clear()
    server.fail_with = {"code": "binding_failed", "type": "unknown", "reason": "nothing was understood"}
    seen = room.events()
    with pytest.raises(errors.BindingFailed, match="nothing was understood"):
        await room.ask_audio(Audio(tone(100), 16000))
    async for received in seen:
        if isinstance(received.event, events.JobFinished) and received.event.job_type == "response":
            assert received.event.error is not None
            assert received.event.error["type"] == "job_cancelled"
            break


async def test_saying_without_voice(room: Room) -> None:
    answer = await room.say("Good evening.", voice=False)
    assert (answer.text, answer.voice) == ("Good evening.", None)


async def test_interrupting_ends_the_turn_in_peace(room: Room, server: MiniServer) -> None:
    server.go.clear()
    turn = room.ask("Tell me everything")
    heard = []
    async for received in turn:
        heard.append(received.text)
        if received.text == "said: ":
            await server.reached.wait()
            await turn.interrupt(heard_ms=80)
    assert "".join(heard) == "You said: "
    assert ("interrupt", 80) in [(name, data.get("heard_ms")) for name, data in server.seen]
    assert [line["content"] for line in await room.history()][-1] == "You said: "


async def test_a_cancelled_turn_raises(room: Room, server: MiniServer) -> None:
    server.go.clear()
    turn = room.ask("Tell me everything")
    job_id = await turn.start()
    waiting = asyncio.ensure_future(_last(turn))
    await server.reached.wait()
    await room.cancel(job_id, "enough")
    with pytest.raises(errors.Cancelled, match="enough"):
        await waiting


async def test_cancelling_a_turn_that_speaks_raises_too(room: Room, server: MiniServer) -> None:
    server.go.clear()
    turn = room.ask("Tell me everything")
    await turn.start()
    await server.reached.wait()
    server.publish(events.Interrupted(job_id=turn.job_id, heard="You", unheard=" said"))
    await turn.cancel("enough")
    with pytest.raises(errors.Cancelled, match="enough"):
        await turn


async def _last(turn: client.Turn) -> Received | None:
    last = None
    async for received in turn:
        last = received
    return last


async def test_leaving_the_block_cancels_the_job(room: Room, server: MiniServer) -> None:
    server.go.clear()
    async with room.ask("Tell me everything") as turn:
        await server.reached.wait()
    assert [name for name, _ in server.seen].count("cancel_job") == 1
    with pytest.raises(errors.Cancelled):
        await _last(turn)
    server.go.set()
    assert (await room.ask("Still there?")).text


async def test_cancelling_the_reader_cancels_the_job_too(room: Room, server: MiniServer) -> None:
    server.go.clear()

    async def read() -> None:
        async with room.ask("Tell me everything") as turn:
            await turn

    reader = asyncio.create_task(read())
    await server.reached.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert [name for name, _ in server.seen].count("cancel_job") == 1


async def test_a_failed_turn_raises_the_class_of_its_code(room: Room, server: MiniServer) -> None:
    server.fail_with = {"code": "binding_failed", "type": "unknown", "reason": "the backend is down"}
    with pytest.raises(errors.BindingFailed, match="the backend is down"):
        await room.ask("Hello")


async def test_choosing(room: Room, server: MiniServer) -> None:
    assert (await room.select_binding("fake"))["binding_name"] == "fake"
    assert (await room.select_model("more words"))["model_name"] == "more words"
    assert (await room.select_personality("english/tests/fake"))["name"] == "Fake"
    with pytest.raises(errors.NotFound, match="no binding"):
        await room.select_binding("nothing")
    assert server.selected["model"] == "more words"
    ids = [data.get("command_id") for name, data in server.seen if name.startswith(("select", "add", "activate"))]
    assert all(ids)
    assert len(ids) == len(set(ids))


async def test_looking(room: Room) -> None:
    assert [entry["name"] for entry in await room.bindings()] == ["fake"]
    assert [entry["title"] for entry in await room.models()] == ["words", "sounds"]
    assert list((await room.personalities())["english"]) == ["tests"]
    assert await room.active_personalities() == ["Fake"]
    assert (await room.operations())["operations"]["tts"] == "fake"
    assert (await room.state())["binding"] == "fake"
    assert room.joined.server["name"] == "mini"
    with pytest.raises(errors.NotFound, match="no_such_event"):
        await room.query("no_such_event")


async def test_the_conversation(room: Room) -> None:
    await room.add_line("Ann", "Good morning")
    assert (await room.respond(voice=False)).text == "You said: Good morning Fine."
    assert [line["user"] for line in await room.history()] == ["Ann", "Fake"]
    await room.clear()
    assert await room.history() == []


async def test_results_of_an_operation(room: Room) -> None:
    answer = await room.use_operation("t2t", {"text": "x"})
    assert answer.results == [{"content": "{'text': 'x'}"}]


async def test_a_generation_is_private(room: Room, server: MiniServer) -> None:
    seen = room.events()
    answer = await room.generate_text("one two")
    assert answer.text == "You said: one two Fine. "
    server.publish(events.StateChanged(changed={}, by="the test"))
    async for received in seen:
        assert received.name == "state_changed"
        break


async def test_a_generation_can_be_cancelled(room: Room, server: MiniServer) -> None:
    server.go.clear()
    generation = room.generate_text("one two")
    await generation.start()
    await server.reached.wait()
    await generation.cancel()
    assert (await generation).text


async def test_everything_that_happens_can_be_watched(room: Room, server: MiniServer) -> None:
    seen = room.events()
    async with client.connect(server.url) as other:
        await other.ask("Hello", voice=False)
    names = []
    async for received in seen:
        names.append(received.name)
        if received.name == "job_finished":
            break
    assert names[0] == "job_started"
    assert "text_chunk" in names


async def test_a_token_is_asked_for() -> None:
    async with mini_server(token=GOOD_TOKEN) as server:
        async with client.connect(server.url, token=GOOD_TOKEN) as room:
            assert (await room.ask("Hello")).text
        for token in (None, "wrong"):
            with pytest.raises(errors.Unauthorized, match="opens nothing"):
                await client.connect(server.url, token=token).__aenter__()


async def test_nothing_listens_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(errors.Unavailable, match="no Greenroom answers"):
        await client.connect(f"http://127.0.0.1:{port}").__aenter__()


async def test_something_else_listens_there() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(errors.Unavailable, match="no Greenroom \\(HTTP 404\\)"):
            await client.connect(f"http://127.0.0.1:{port}").__aenter__()


@pytest.mark.parametrize(
    "url", ["", "http://", "ftp://host", "http://host:port", "http://host:0", "unix:/run/room.sock"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(errors.BadRequest, match="no address"):
        client.connect(url)
