"""Connections that break: nothing twice, nothing lost, and what is lost is said."""

import asyncio
import random

import pytest

from fakes.cutting_proxy import cutting_proxy
from fakes.mini_server import GOOD_TOKEN, MiniServer, mini_server, tone
from greenroom import client, errors
from greenroom.client import Missed
from greenroom.protocol import events


async def held_turn(server: MiniServer, room: client.Room) -> tuple[client.Turn, list[client.Received]]:
    """A turn that stands after its second word, and what came of it so far."""
    server.go.clear()
    turn, early = room.ask("a b c"), []
    async for received in turn:
        early.append(received)
        if received.text == "said: ":
            break
    await server.reached.wait()
    return turn, early


async def test_a_cut_in_the_middle_of_a_turn_goes_unnoticed() -> None:
    async with mini_server() as server, client.connect(server.url) as room:
        turn, received = await held_turn(server, room)
        await server.cut()
        server.go.set()
        received += [one async for one in turn]
    assert "".join(one.text for one in received) == "You said: a b c Fine."
    assert b"".join(one.audio for one in received) == b"".join(tone(40, number) for number in range(6))
    assert [one.seq for one in received] == list(range(1, len(received) + 1))
    assert len(server.auths) == 2
    assert server.auths[1]["last_seq"] >= 3


async def test_an_answer_that_got_lost_is_asked_for_again_and_done_once() -> None:
    async with mini_server() as server, client.connect(server.url) as room:
        server.swallow = {"response", "select_model"}
        assert (await room.ask("once")).text == "You said: once Fine."
        await room.select_model("m")
        asked = [data["command_id"] for name, data in server.seen if name == "response"]
        assert len(asked) == 2
        assert len(set(asked)) == 1
        assert [line["content"] for line in await room.history()] == ["once", "You said: once Fine."]


async def test_what_is_asked_while_away_waits() -> None:
    async with mini_server() as server, client.connect(server.url) as room:
        await server.cut()
        answers = await asyncio.gather(room.ask("one", voice=False), room.state(), room.ask("two", voice=False))
    assert answers[0].text == "You said: one Fine."
    assert answers[2].text == "You said: two Fine."


async def test_a_restart_ends_the_turn_and_says_so() -> None:
    async with mini_server() as server, client.connect(server.url) as room:
        seen = room.events()
        turn, _ = await held_turn(server, room)
        await server.restart()
        server.go.set()
        with pytest.raises(errors.Restarted, match="history"):
            async for _ in turn:
                pass
        assert [line["content"] for line in await room.history()] == ["a b c"]
        async for received in seen:
            if isinstance(received.event, events.SessionJoined):
                assert not received.event.resumed
                break
        assert (await room.ask("and now", voice=False)).text == "You said: and now Fine."


async def test_a_log_that_was_trimmed_ends_only_what_has_ended() -> None:
    async with mini_server(log_bytes=16_000) as server, client.connect(server.url) as room:
        turn, received = await held_turn(server, room)
        lost = room.ask("next", voice=False)
        await lost.start()
        server.open.clear()
        await server.cut()
        for number in range(50):
            server.publish(events.StateChanged(changed={"number": number}, by="the test"))
        server.open.set()
        while received[-1].name != "session_joined":
            received.append(await anext(turn))
        server.go.set()
        received += [one async for one in turn]
        joins = [one.event for one in received if isinstance(one.event, events.SessionJoined)]
        assert [joined.resumed for joined in joins] == [False]
        assert (await lost).text == "You said: next Fine."


async def test_the_end_of_a_job_that_was_missed_is_an_error() -> None:
    async with mini_server(log_bytes=8000) as server, client.connect(server.url) as room:
        server.reply = lambda asked: "You said: " + 60 * f"{asked} "
        turn, _ = await held_turn(server, room)
        watching = room.events()
        server.open.clear()
        await server.cut()
        server.go.set()
        await server.idle()
        server.open.set()
        with pytest.raises(errors.Unavailable, match="read the history"):
            async for _ in turn:
                pass
        async for received in watching:
            if isinstance(received.event, events.SessionJoined):
                break


async def test_a_gap_is_filled() -> None:
    async with mini_server() as server, client.connect(server.url) as room:
        server.skip_one()
        answer = await room.ask("filled")
    assert answer.text == "You said: filled Fine."
    assert answer.complete
    assert "session_join" in [name for name, _ in server.seen]


async def test_dropped_audio_is_told() -> None:
    async with mini_server(log_bytes=8000) as server, client.connect(server.url) as room:
        turn, received = await held_turn(server, room)
        server.open.clear()
        await server.cut()
        server.go.set()
        await server.idle()
        server.open.set()
        received += [one async for one in turn]
        assert "".join(one.text for one in received) == "You said: a b c Fine."
        assert any(isinstance(one.event, events.AudioDropped) for one in received)
        assert not any(isinstance(one.event, Missed) for one in received)


async def test_a_server_that_does_not_come_back_fails_everything_that_waits() -> None:
    async with mini_server() as server, client.connect(server.url, away_limit_s=0.3) as room:
        turn, _ = await held_turn(server, room)
        watching = room.events()
        await server.stop()
        with pytest.raises(errors.Unavailable, match="did not come back"):
            async for _ in turn:
                pass
        with pytest.raises(errors.Unavailable, match="did not come back"):
            await room.state()
        with pytest.raises(errors.Unavailable):
            async for _ in watching:
                pass


async def test_a_token_that_was_withdrawn_ends_it() -> None:
    async with mini_server(token=GOOD_TOKEN) as server, client.connect(server.url, token=GOOD_TOKEN) as room:
        server.token = GOOD_TOKEN.upper()
        await server.cut()
        with pytest.raises(errors.Unauthorized):
            await room.state()


async def test_a_generation_does_not_survive_a_cut() -> None:
    async with mini_server() as server, client.connect(server.url) as room:
        server.go.clear()
        generation = room.generate_text("one two")
        await generation.start()
        await server.reached.wait()
        await server.cut()
        with pytest.raises(errors.Unavailable, match="generation"):
            async for _ in generation:
                pass


async def test_closing_the_room_ends_its_turns() -> None:
    async with mini_server() as server:
        async with client.connect(server.url) as room:
            turn, _ = await held_turn(server, room)
        with pytest.raises(errors.Unavailable, match="closed"):
            async for _ in turn:
                pass


async def test_cut_at_random_bytes_text_and_sound_are_whole() -> None:
    draw = random.Random(20)
    async with mini_server() as server:
        cuts = (draw.randrange(900, 12_000) for _ in range(30))
        async with (
            cutting_proxy(server.url, cuts) as proxy,
            client.connect(proxy.url, connect_timeout_s=5) as room,
        ):
            asked = 0
            while proxy.made < 30:
                asked += 1
                words = " ".join(f"word{number}" for number in range(20))
                answer = await room.ask(words)
                assert answer.text == f"You said: {words} Fine."
                assert answer.voice is not None
                assert answer.voice.pcm == b"".join(tone(40, number) for number in range(23))
                assert answer.complete
        assert len(server.lines) == 2 * asked
