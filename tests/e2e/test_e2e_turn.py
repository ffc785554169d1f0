"""A character answers, in text and in voice, as a client over a real socket sees it."""

import base64

import pytest

from e2e.promises import check_numbers, check_order, check_turn, loudness
from e2e.visitor import Visitor, end_of, pcm_of, text_of, visitor
from fakes.flite import flite, word_errors
from fakes.server_process import ServerProcess
from greenroom.values import Audio

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "The lamp is lit. The door is open. The kettle sings. The cat is asleep. The rain has stopped. The moon is up."


async def lines(client: Visitor) -> list[str]:
    return [line["line"] for line in (await client.done("history_get"))["lines"]]


async def hangs(client: Visitor) -> str:
    """A turn that says a word and then goes on until it is stopped. -> its id"""
    await client.done("select_binding", binding_name="scripted")
    job_id = await client.job("response", text="hang", include_audio=False)
    await client.seen(lambda told: told.name == "text_chunk" and told.job_id == job_id)
    return job_id


async def test_text_in_text_and_voice_out(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        job_id = await ana.job("response", user="Ana", text="Hello, who are you?")
        told = await ana.finished(job_id)
        check_order(ana, job_id)
        check_turn(told)
        assert told[0].data["args"] == {"user": "Ana", "text": "Hello, who are you?", "include_audio": True}
        assert "Robin" in text_of(told)
        added = [each.data for each in told if each.name == "context_added"]
        assert [line["line"] for line in added] == ["[Ana]: Hello, who are you?", f"[Robin]: {text_of(told).strip()}"]
        history = (await ana.done("history_get"))["lines"]
        assert [line["line_id"] for line in history] == [line["line_id"] for line in added]
        timing = end_of(told)["timing"]
        assert {"queued_ms", "first_text_ms", "first_audio_ms", "total_ms", "audio_ms"} <= set(timing)


async def test_the_voice_speaks_as_long_as_the_text_is(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        told = await ana.run("say", text=LONG)
        check_turn(told)
        assert text_of(told) == LONG
        chunk = next(each.data for each in told if each.name == "audio_chunk")
        pcm = pcm_of(told)
        seconds_per_word = len(pcm) / (chunk["sr"] * chunk["sw"] * chunk["ch"]) / len(LONG.split())
        assert 0.15 < seconds_per_word < 0.8
        assert loudness(pcm) > 0.02
        assert end_of(told)["timing"]["audio_ms"] == pytest.approx(1000 * len(pcm) / 2 / chunk["sr"], abs=1)


async def test_each_character_has_its_own_voice(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        robins = pcm_of(await ana.run("say", text="Good evening."))
        added = await ana.done("add_personality", path="english/adventure/captain_brine")
        await ana.done("activate_personality", id=added["id"])
        captains = pcm_of(await ana.run("say", text="Good evening."))
        assert robins and captains and robins != captains


async def test_two_clients_hear_the_same_turn(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana, visitor(shared.url, session=den) as ben:
        told = await ana.run("response", text="Tell me a joke.")
        assert await ben.finished(told[0].data["job_id"]) == told
        check_numbers(ben)


async def test_over_polling_it_is_the_same(shared: ServerProcess, den: str) -> None:
    """Attachments travel as base64 there."""
    async with (
        visitor(shared.url, session=den) as ana,
        visitor(shared.url, session=den, transports=["polling"]) as ben,
    ):
        job_id = await ben.job("say", text="One. Two. Three.")
        told = await ben.finished(job_id)
        check_order(ben, job_id)
        check_turn(told)
        assert await ana.finished(job_id) == told


async def test_speech_in(shared: ServerProcess, den: str) -> None:
    """As attachment and as base64: a transcript, a line, and an answer to it."""
    said = "what is your name"
    audio = flite(said)
    async with visitor(shared.url, session=den) as ana:
        for sent in (audio.pcm, base64.b64encode(audio.pcm).decode()):
            job_id = await ana.job(
                "context_add", kind="audio", user="Ana", audio=sent, sr=audio.sample_rate, sw=2, ch=1
            )
            told = await ana.finished(job_id)
            check_order(ana, job_id)
            assert [each.name for each in told] == ["job_started", "transcript", "context_added", "job_finished"]
            assert told[0].data["args"]["audio"] is True
            transcript, added = told[1].data, told[2].data
            assert transcript["final"] and transcript["user"] == "Ana"
            assert word_errors(said, transcript["content"].lower()) <= 1
            assert added["content"] == transcript["content"]
            assert added["line"] == f"[Ana]: {transcript['content']}"
            assert end_of(told)["timing"]["stt_ms"] > 0
        check_turn(await ana.run("response"))
        assert [line.partition(":")[0] for line in await lines(ana)] == ["[Ana]", "[Ana]", "[Robin]"]


async def test_speech_in_stereo_at_another_rate(shared: ServerProcess, den: str) -> None:
    said = "what is your name"
    audio = flite(said, "rms")
    stereo = b"".join(audio.pcm[at : at + 2] * 2 for at in range(0, len(audio.pcm), 2))
    doubled = Audio(b"".join(stereo[at : at + 4] * 3 for at in range(0, len(stereo), 4)), 48_000, 2, 2)
    async with visitor(shared.url, session=den) as ana:
        told = await ana.run("context_add", kind="audio", user="Ana", audio=doubled.pcm, sr=48_000, sw=2, ch=2)
        assert word_errors(said, told[1].data["content"].lower()) <= 1


async def test_silence_is_no_line(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        told = await ana.run("context_add", kind="audio", user="Ana", audio=bytes(32_000), sr=16_000)
        assert end_of(told)["success"]
        assert [each.data["content"] for each in told if each.name == "transcript"] == [""]
        assert await lines(ana) == []


async def test_without_voice(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        told = await ana.run("response", text="Hello.", include_audio=False)
        assert text_of(told)
        assert not [each for each in told if each.name == "audio_chunk"]


async def test_history_is_read_in_pages(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        for number in range(5):
            await ana.run("context_add", kind="chat", user="Ana", content=f"line {number}", timestamp=number)
        last = (await ana.done("history_get", limit=2))["lines"]
        assert [line["content"] for line in last] == ["line 3", "line 4"]
        earlier = (await ana.done("history_get", limit=2, before=last[0]["line_id"]))["lines"]
        assert [line["content"] for line in earlier] == ["line 1", "line 2"]
        assert earlier[0]["timestamp"] == 1
        assert (await ana.refused("history_get", limit=0))["details"]["field"] == "limit"


async def test_a_repeated_command_is_done_once(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana, visitor(shared.url, session=den) as ben:
        job_id = await ana.job("response", text="Hello.", include_audio=False, command_id="same")
        assert await ana.job("response", text="Hello.", include_audio=False, command_id="same") == job_id
        await ana.finished(job_id)
        assert await ben.job("response", text="Hello.", include_audio=False, command_id="same") == job_id
        await ana.run("context_add", kind="chat", user="Ana", content="the end")
        assert len(await lines(ana)) == 3


async def test_a_client_that_debugs_is_shown_the_prompt(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den, debug=True) as ana, visitor(shared.url, session=den) as ben:
        job_id = await ana.job("response", user="Ana", text="Hello.", include_audio=False)
        shown = await ana.next("prompt_built", job_id=job_id)
        assert "You are Robin" in shown["instruction_prompt"]
        assert any("Hello." in line["message"] for line in shown["history"])
        await ben.finished(job_id)
        assert "prompt_built" not in ben.names


# Order and cancelling


async def test_jobs_commit_in_the_order_in_which_they_were_queued(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        running = await hangs(ana)
        speech = flite("hello")
        queued = [
            await ana.job("context_add", kind="audio", user="Ana", audio=speech.pcm, sr=speech.sample_rate),
            await ana.job("context_add", kind="chat", user="Ana", content="second"),
            await ana.job("say", text="third", include_audio=False),
        ]
        state = (await ana.done("session_state"))["state"]
        assert state["jobs"]["running"]["job_id"] == running
        assert [job["job_id"] for job in state["jobs"]["queued"]] == queued
        assert not any(ana.of(job_id) for job_id in queued)
        assert await ana.done("cancel_job", job_id=running)
        await ana.finished(queued[-1])
        edges = [(told.name, told.job_id) for told in ana.told if told.name in ("job_started", "job_finished")]
        assert edges == [(name, one) for one in (running, *queued) for name in ("job_started", "job_finished")]
        check_numbers(ana)


async def test_cancelling_a_running_job(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        job_id = await hangs(ana)
        assert (await ana.done("cancel_job", job_id=job_id, reason="the show is over"))["job_id"] == job_id
        told = await ana.finished(job_id)
        check_order(ana, job_id)
        end = end_of(told)
        assert not end["success"]
        assert (end["error"]["code"], end["error"]["type"]) == ("cancelled", "job_cancelled")
        assert "the show is over" in end["error"]["reason"]
        assert await lines(ana) == ["[User]: hang", "[Robin]: hanging"]
        assert end_of(await ana.run("say", text="Next."))["success"]


async def test_cancelling_a_queued_job(shared: ServerProcess, den: str) -> None:
    """It gets its start and its end when its turn comes, and does nothing."""
    async with visitor(shared.url, session=den) as ana:
        running = await hangs(ana)
        queued = await ana.job("context_add", kind="chat", user="Ana", content="never said")
        await ana.done("cancel_job", job_id=queued)
        assert ana.of(queued) == []
        await ana.done("cancel_job", job_id=running)
        told = await ana.finished(queued)
        assert [each.name for each in told] == ["job_started", "job_finished"]
        assert end_of(told)["error"]["code"] == "cancelled"
        assert "[Ana]: never said" not in await lines(ana)


async def test_cancelling_what_has_ended_or_never_was(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        told = await ana.run("say", text="Done.", include_audio=False)
        assert (await ana.refused("cancel_job", job_id=told[0].job_id))["code"] == "conflict"
        assert (await ana.refused("cancel_job", job_id="nobody"))["code"] == "not_found"
        await ana.run("say", text="And on.", include_audio=False)
        assert len([each for each in ana.told if each.name == "job_finished"]) == 2
