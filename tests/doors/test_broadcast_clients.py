"""The applications that exist for jaison, doing their day's work."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fakes.jaison_clients import DiscordBot, Frames, TwitchMonitor, kinds, results
from fakes.jaison_server import CONFIG, JaisonServer, jaison_server
from fakes.server_process import running_server
from greenroom.values import Role


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[JaisonServer, None]:
    async with jaison_server(tmp_path / "home", CONFIG + "  - {role: mcp, id: scripted}\n") as running:
        yield running


@pytest.fixture
async def bot(server: JaisonServer) -> AsyncGenerator[DiscordBot, None]:
    async with DiscordBot.running(server.url, server.ws_url) as running:
        yield running


@pytest.fixture
async def monitor(server: JaisonServer) -> AsyncGenerator[TwitchMonitor, None]:
    running = TwitchMonitor(server.url, server.ws_url)
    yield running
    running.close()


async def gate(server: JaisonServer, name: str) -> asyncio.Event:
    """The scripted model waits for it where it is told to "wait NAME"."""
    loaded = await server.session.operations.hold(Role.T2T)
    await loaded.release()
    event: asyncio.Event = loaded.operation.engine.gates[name]
    return event


async def test_a_text_message_is_answered_in_text(bot: DiscordBot) -> None:
    assert await bot.message("Ana", "say Good evening, Ana. How are you?") == "Good evening, Ana. How are you?"
    response = [one for one in bot.frames.heard if one["message"] == "response"]
    assert response[0]["start"] == {"include_audio": False}
    assert not any("audio_bytes" in result for result in results(response))


async def test_speech_is_answered_in_speech(bot: DiscordBot, server: JaisonServer) -> None:
    heard = await bot.spoke("Ana", b"say One is here. Two is here.".ljust(64, b"\0"))
    job_id = await bot.silence()
    played = await bot.play(job_id)
    assert [content for content, _ in played] == ["One is here.", "Two is here."]
    # The scripted voice makes 10 ms of 8 kHz for each character.
    assert [len(sound) for _, sound in played] == [160 * len(content) for content, _ in played]
    added = await bot.frames.job(heard)
    assert added[0]["start"].keys() == {"user", "timestamp", "sr", "sw", "ch", "audio_bytes"}
    assert added[0]["start"]["audio_bytes"] is True
    assert results(added)[0]["line"] == "[Ana]: say One is here. Two is here."


async def test_the_answer_to_speech_and_its_transcript_may_be_asked_for_in_one_breath(bot: DiscordBot) -> None:
    """The response is queued before the transcription has ended, and still answers what was said."""
    await bot.spoke("Ana", b"say I heard you.".ljust(64, b"\0"))
    assert [content for content, _ in await bot.play(await bot.silence())] == ["I heard you."]


async def test_a_packet_stops_an_answer_that_is_being_prepared(bot: DiscordBot, server: JaisonServer) -> None:
    await bot.spoke("Ana", b"wait never say this".ljust(64, b"\0"))
    job_id = await bot.silence()
    await bot.frames.until(lambda one: one["job_id"] == job_id and "start" in one)
    assert await bot.packet() == 200
    end = (await bot.frames.job(job_id))[-1]
    assert end["success"] is False
    assert end["result"] == {
        "type": "job_cancelled",
        "reason": f"Setting job {job_id} to cancel because Preventing interruption in conversation",
    }


async def test_the_first_packet_after_an_answer_cancels_nothing(bot: DiscordBot) -> None:
    await bot.spoke("Ana", b"say Done.".ljust(64, b"\0"))
    await bot.play(await bot.silence())
    assert await bot.packet() == 400


async def test_the_slash_commands(bot: DiscordBot) -> None:
    rest, frames = bot.rest, bot.frames
    assert (await rest("GET", "operations")).json()["response"]["t2t"] == "scripted"
    assert (await rest("GET", "config")).json()["response"]["current_config"] == "config"
    loaded = await frames.job(await rest.job("POST", "operations/load", {"ops": [{"role": "tts", "id": "scripted"}]}))
    assert results(loaded) == [{"role": "tts", "id": "scripted", "loose_key": None}]
    gone = await frames.job(await rest.job("POST", "operations/unload", {"ops": [{"role": "t2t", "id": None}]}))
    assert results(gone) == [{"role": "t2t", "id": "scripted"}]
    assert (await rest("GET", "operations")).json()["response"]["t2t"] == "unknown"
    # The original sends this content type and no body, which its server refuses.
    reloaded = await rest.job("POST", "operations/reload", headers={"Content-Type": "application/json"})
    assert (await frames.job(reloaded))[-1]["success"]
    assert (await rest("GET", "operations")).json()["response"]["t2t"] == "scripted"
    await rest.job("POST", "context/request", {"content": "Sing."})
    await rest.job("POST", "context/conversation/text", {"user": "Ana", "content": "Please.", "timestamp": 1.5})
    register = {"context_id": "news", "context_name": "News", "context_description": "what is new"}
    await rest.job("PUT", "context/custom", register)
    add = {"context_id": "news", "context_contents": "It snows.", "timestamp": 2.5}
    added = await frames.job(await rest.job("POST", "context/custom", add))
    assert results(added) == [{"timestamp": 2.5, "content": "It snows.", "line": "[CONTEXT#News]: It snows."}]
    await rest.job("DELETE", "context/custom", {"context_id": "news"})
    assert (await frames.job(await rest.job("DELETE", "context")))[-1]["success"]


async def test_a_chat_is_summed_up(monitor: TwitchMonitor, server: JaisonServer) -> None:
    await monitor.chat("ben", "hello stream")
    await monitor.follow("Thank Cleo for following.")
    assert await monitor.summary("say The chat says hello.") == "The chat says hello. "
    assert await monitor.publish("The chat says hello.") is False, "nothing is registered yet"
    assert await monitor.publish("The chat says hello.") is True
    script = [server.session.context.script_line(line) for line in server.session.context.lines]
    assert script == [
        "[ben]: hello stream",
        "[REQUEST]: Thank Cleo for following.",
        "[CONTEXT#Twitch Chat Summary]: The chat says hello.",
    ]


async def test_a_summary_that_fails_is_told(monitor: TwitchMonitor) -> None:
    with pytest.raises(RuntimeError, match="cut off"):
        await monitor.summary("fail half a sentence")


async def test_every_client_hears_every_job_the_other_doors_too(server: JaisonServer, bot: DiscordBot) -> None:
    from session.scene import Scene

    async with Frames.open(server.ws_url) as other:
        await bot.message("Ana", "say Hello.")
        scene = Scene(server.greenroom, server.session)
        job_id = await scene.job("response", text="say From the console.", include_audio=True)
        assert kinds(await bot.frames.job(job_id))[:2] == ["instruction_prompt", "history"]
        said = await scene.job("say", text="Good night.")
        played = await bot.play(said)
        assert played[0][0] == "Good night." and played[0][1], "what the character is made to say is played as well"
        await other.job(said)
        assert other.texts == bot.frames.texts


async def test_jobs_are_told_one_after_the_other(server: JaisonServer, bot: DiscordBot) -> None:
    held = await gate(server, "door")
    await bot.rest.job("POST", "context/conversation/text", {"user": "Ana", "content": "wait door say Now."})
    first = await bot.rest.job("POST", "response", {"include_audio": True})
    second = await bot.rest.job("POST", "context/request", {"content": "Be kind."})
    held.set()
    await bot.frames.job(second)
    order = [one["job_id"] for one in bot.frames.heard if one["job_id"] in (first, second)]
    assert order == sorted(order, key=[first, second].index)


async def test_on_a_server_as_it_is_started(tmp_path: Path) -> None:
    """Real backends, the real port: a message, an answer that is heard, and an end that is told."""
    async with running_server(tmp_path / "home") as server:
        ws_url = server.url.replace("http", "ws")
        async with DiscordBot.running(server.url, ws_url) as bot:
            assert await bot.message("Ana", "Hello, who are you?")
            await bot.rest.job("POST", "context/conversation/text", {"user": "Ana", "content": "Sing!", "timestamp": 1})
            played = await bot.play(await bot.silence())
            assert all(content and sound for content, sound in played)
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"{ws_url}/nowhere"):
                    pass
            assert refused.value.response.status_code == 404
            await server.stop()
            await asyncio.wait_for(bot.frames.socket.wait_closed(), 60)
