"""The client and the command line against a real server in its own process, default configuration, empty home."""

import random
from pathlib import Path

import pytest

from fakes.cutting_proxy import cutting_proxy
from fakes.server_process import running_server
from greenroom import client, errors
from greenroom.protocol import events

pytestmark = pytest.mark.slow


async def test_a_conversation(server_url: str, tmp_path: Path) -> None:
    async with client.connect(server_url) as room:
        chosen = await room.select_personality("english/companions/robin")
        assert chosen["name"] == "Robin"
        answer = await room.ask("Hello, who are you?", user="Ann", voice=False)
        assert answer.text
        assert answer.complete
        assert "first_text_ms" in answer.timing
        (await room.say("How are you?")).save(tmp_path / "question.wav")
        heard = await room.ask_audio(tmp_path / "question.wav", user="Ann", voice=False)
        assert heard.transcript
        assert heard.text
        assert heard.voice is None
        users = [line["user"] for line in await room.history()]
        assert users == ["Ann", "Robin", "Robin", "Ann", "Robin"]


async def test_every_way_to_look(server_url: str) -> None:
    async with client.connect(server_url) as room:
        assert "eliza" in [entry["name"] for entry in await room.bindings()]
        assert await room.models("eliza")
        assert "english" in await room.personalities()
        assert await room.active_personalities()
        assert (await room.operations())["operations"]["t2t"]
        assert (await room.state())["jobs"] == {"running": None, "queued": []}
        assert [one["name"] for one in await room.sessions()] == ["main"]
        assert "server" in await room.config()


async def test_interrupting_and_cancelling(server_url: str) -> None:
    async with client.connect(server_url) as room:
        turn = room.say("One two three four five six seven eight nine ten. " * 5)
        received = []
        heard_ms = 0.0
        async for one in turn:
            received.append(one)
            if isinstance(one.event, events.AudioChunk):
                heard_ms += one.event.duration_ms
                if heard_ms >= 600 and not any(item.name == "interrupted" for item in received):
                    await turn.interrupt(heard_ms=500)
        stopped = [one.event for one in received if isinstance(one.event, events.Interrupted)]
        assert len(stopped) == 1
        assert stopped[0].heard.startswith("One")
        last = (await room.history())[-1]
        assert last["content"] == stopped[0].heard
        other = room.say("Never to be heard. " * 20)
        await other.start()
        await other.cancel("the test says so")
        with pytest.raises(errors.Cancelled, match="the test says so"):
            await other


async def test_text_for_one_client_alone(server_url: str) -> None:
    async with client.connect(server_url) as room:
        assert (await room.generate_text("I feel happy today")).text


async def test_errors_are_raised_as_their_class(server_url: str) -> None:
    async with client.connect(server_url) as room:
        with pytest.raises(errors.NotFound):
            await room.select_binding("no_such_binding")
        with pytest.raises(errors.NotFound):
            await room.select_personality("english/companions/nobody")
        with pytest.raises(errors.BadRequest):
            await room.query("history_get", limit="many")
        with pytest.raises(errors.NotFound):
            await room.query("sing")


async def test_cut_at_random_bytes_text_and_sound_are_those_of_an_uncut_client(server_url: str) -> None:
    draw = random.Random(7)
    cuts = (draw.randrange(1500, 60_000) for _ in range(20))
    async with (
        client.connect(server_url) as uncut,
        cutting_proxy(server_url, cuts) as proxy,
        client.connect(proxy.url) as room,
    ):
        number = 0
        while proxy.made < 20:
            number += 1
            seen = uncut.events()
            answer = await room.say(f"The number is {number}, and so it goes on.")
            pcm = b""
            async for received in seen:
                pcm += received.audio
                if received.name == "job_finished":
                    break
            assert answer.complete
            assert answer.voice is not None
            assert answer.voice.pcm == pcm
        assert len(await uncut.history(1000)) == number


async def test_a_server_that_was_killed_and_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with running_server(home) as first:
        port = int(first.url.rsplit(":", 1)[1])
        async with client.connect(first.url) as room:
            await room.ask("It rains.", voice=False)
            before = await room.history()
            turn = room.say("One two three four five six seven eight nine ten. " * 20)
            while not (await anext(turn)).audio:
                pass
            await first.kill()
            async with running_server(home, port=port):
                with pytest.raises(errors.Restarted):
                    async for _ in turn:
                        pass
                after = await room.history()
                assert [line["content"] for line in after][: len(before)] == [line["content"] for line in before]
                assert (await room.ask("Are you back?", voice=False)).text
