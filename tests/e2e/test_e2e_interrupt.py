"""Barge-in: what was heard stays in the context, what was not does not, whoever says so and whenever."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from e2e.conftest import make_home
from e2e.promises import check_numbers, check_order
from e2e.visitor import Told, Visitor, end_of, pcm_of, text_of, visitor
from fakes.server_process import ServerProcess, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "The lamp is lit. The door is open. The kettle sings. The cat is asleep. The rain has stopped. The moon is up."
LEAD_MS = 500


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def paced(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ServerProcess, None]:
    """A server that sends half a second ahead, so that a turn lasts about as long as its sound."""
    config = f"turn: {{audio_lead_ms: {LEAD_MS}}}\n"
    async with running_server(make_home(tmp_path_factory.mktemp("paced"), config)) as process:
        yield process


async def speaking(client: Visitor, sentence: int = 0) -> str:
    """The character is saying TEXT, and some of this sentence has been sent. -> the job's id"""
    job_id = await client.job("say", text=TEXT)
    await client.next("audio_chunk", job_id=job_id, index=sentence, part=1)
    return job_id


async def said(client: Visitor) -> list[str]:
    """The lines of the context, as a client that comes later reads them."""
    return [line["content"] for line in (await client.done("history_get"))["lines"]]


def check_interrupted(client: Visitor, told: list[Told], answer: dict[str, str]) -> None:
    heard = [each.data for each in told if each.name == "interrupted"]
    assert [(each["heard"], each["unheard"]) for each in heard] == [(answer["heard"], answer["unheard"])]
    after = [each.name for each in told[[each.name for each in told].index("interrupted") :]]
    assert not {"audio_chunk", "text_chunk", "sentence", "text_generated"} & set(after)
    check_numbers(client)


async def test_sound_is_sent_little_ahead_of_its_playback(paced: ServerProcess, den: str) -> None:
    async with visitor(paced.url, session=den) as ana:
        job_id = await ana.job("say", text=TEXT[:52])
        told = await ana.finished(job_id)
        sent = [(at, one.data) for at, one in zip(ana.times, ana.told, strict=True) if one.name == "audio_chunk"]
        begin = sent[0][0]
        assert len(pcm_of(told)) > 2 * 2 * sent[0][1]["sr"], "too short to show anything"
        for at, chunk in sent:
            assert chunk["t_ms"] < 1000 * (at - begin) + LEAD_MS + 1000


async def test_a_running_turn_keeps_what_the_client_says_was_heard(paced: ServerProcess, den: str) -> None:
    async with visitor(paced.url, session=den) as ana, visitor(paced.url, session=den) as ben:
        job_id = await speaking(ana)
        answer = await ben.done("interrupt", heard_text="The lamp is")
        assert (answer["interrupted"], answer["job_id"], answer["heard"]) == (True, job_id, "The lamp is")
        assert (answer["heard"] + answer["unheard"]).startswith("The lamp is lit.")
        told = await ana.finished(job_id)
        check_order(ana, job_id)
        check_interrupted(ana, told, answer)
        end = end_of(told)
        assert (end["success"], end["error"]["code"]) == (False, "cancelled")
        assert await said(ana) == ["The lamp is"]
        assert await ben.finished(job_id) == told
        assert (await ana.done("session_state"))["state"]["playing"] is None


async def test_a_running_turn_keeps_what_the_clock_says(paced: ServerProcess, den: str) -> None:
    """Nobody says what was heard: at most what was sent."""
    async with visitor(paced.url, session=den) as ana:
        job_id = await speaking(ana, 1)
        answer = await ana.done("interrupt")
        assert answer["heard"] + answer["unheard"] == text_of(ana.of(job_id))
        assert TEXT.startswith(answer["heard"]) and len(answer["heard"]) < len(TEXT)
        check_interrupted(ana, await ana.finished(job_id), answer)
        assert await said(ana) == ([answer["heard"].strip()] if answer["heard"].strip() else [])


async def test_heard_milliseconds_count_whole_words(paced: ServerProcess, den: str) -> None:
    async with visitor(paced.url, session=den) as ana:
        job_id = await speaking(ana, 1)
        first = sum(chunk["duration_ms"] for chunk in ana.named("audio_chunk") if chunk["index"] == 0)
        answer = await ana.done("interrupt", heard_ms=first)
        assert answer["heard"].strip() == "The lamp is lit."
        check_interrupted(ana, await ana.finished(job_id), answer)
        assert await said(ana) == ["The lamp is lit."]


async def test_nothing_heard_leaves_no_line(paced: ServerProcess, den: str) -> None:
    async with visitor(paced.url, session=den) as ana:
        job_id = await speaking(ana)
        answer = await ana.done("interrupt", heard_ms=0)
        assert answer["heard"] == ""
        await ana.finished(job_id)
        assert await said(ana) == []


async def test_the_players_report_counts_and_nobody_elses(paced: ServerProcess, den: str) -> None:
    async with (
        visitor(paced.url, session=den, plays=True) as overlay,
        visitor(paced.url, session=den, plays=True) as second,
        visitor(paced.url, session=den) as ana,
    ):
        job_id = await speaking(ana, 1)
        assert (await overlay.done("audio_heard", job_id=job_id, index=0, ms=0))["counted"] is True
        assert (await second.done("audio_heard", job_id=job_id, index=1, ms=100_000))["counted"] is False
        assert (await ana.done("audio_heard", job_id=job_id, index=1, ms=100_000))["counted"] is False
        first = sum(chunk["duration_ms"] for chunk in ana.named("audio_chunk") if chunk["index"] == 0)
        await overlay.done("audio_heard", job_id=job_id, index=0, ms=first)
        answer = await ana.done("interrupt")
        assert answer["heard"].strip() == "The lamp is lit."
        assert (await overlay.refused("audio_heard", job_id="another", index=0, ms=1))["code"] == "not_found"


async def test_after_the_job_has_finished_the_line_is_trimmed(shared: ServerProcess, den: str) -> None:
    """All sound was sent at once, and plays on for seconds."""
    async with visitor(shared.url, session=den) as ana, visitor(shared.url, session=den) as ben:
        told = await ana.run("say", text=TEXT)
        assert end_of(told)["success"]
        job_id = told[0].job_id
        (line_id,) = [each.data["line_id"] for each in told if each.name == "context_added"]
        assert await said(ana) == [TEXT]
        assert (await ana.done("session_state"))["state"]["playing"] == job_id
        answer = await ben.done("interrupt", job_id=job_id, heard_text="The lamp is lit. The door")
        assert answer["heard"] + answer["unheard"] == TEXT
        interrupted = await ana.next("interrupted")
        changed = await ana.next("context_changed")
        assert (interrupted["heard"], interrupted["unheard"]) == (answer["heard"], answer["unheard"])
        assert (changed["line_id"], changed["content"]) == (line_id, "The lamp is lit. The door")
        assert await said(ana) == ["The lamp is lit. The door"]
        assert (await ana.done("interrupt"))["interrupted"] is False
        check_numbers(ana)


async def test_after_the_job_has_finished_nothing_heard_takes_the_line_out(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        await ana.run("say", text=TEXT)
        await ana.done("interrupt", heard_ms=0)
        assert (await ana.next("context_changed"))["removed"] is True
        assert await said(ana) == []


async def test_a_cancelled_turn_keeps_what_was_heard(paced: ServerProcess, den: str) -> None:
    async with visitor(paced.url, session=den) as ana:
        job_id = await speaking(ana, 1)
        await ana.done("cancel_job", job_id=job_id)
        told = await ana.finished(job_id)
        (interrupted,) = [each.data for each in told if each.name == "interrupted"]
        assert TEXT.startswith(interrupted["heard"]) and interrupted["heard"] != TEXT
        assert await said(ana) == ([interrupted["heard"].strip()] if interrupted["heard"].strip() else [])


async def test_nothing_plays_nothing_is_interrupted(paced: ServerProcess, den: str) -> None:
    async with visitor(paced.url, session=den) as ana:
        assert (await ana.done("interrupt"))["interrupted"] is False
        await ana.run("say", text="Quiet.", include_audio=False)
        assert (await ana.done("interrupt", heard_text="Qu"))["interrupted"] is False
        assert "interrupted" not in ana.names
        assert await said(ana) == ["Quiet."]


async def test_an_interrupt_for_another_job_does_nothing(paced: ServerProcess, den: str) -> None:
    async with visitor(paced.url, session=den) as ana:
        job_id = await speaking(ana)
        assert (await ana.done("interrupt", job_id="another"))["interrupted"] is False
        assert (await ana.done("interrupt", job_id=job_id))["interrupted"] is True
        await ana.finished(job_id)


async def test_the_next_answer_knows_only_what_was_heard(paced: ServerProcess, den: str) -> None:
    async with visitor(paced.url, session=den, debug=True) as ana:
        job_id = await speaking(ana)
        await ana.done("interrupt", heard_text="The lamp")
        await ana.finished(job_id)
        await ana.run("response", text="What did you say?", include_audio=False)
        shown = await ana.next("prompt_built")
        assert [line["message"].rpartition("]: ")[2] for line in shown["history"]] == ["The lamp", "What did you say?"]


async def test_a_turn_without_voice_keeps_what_was_sent(paced: ServerProcess, den: str) -> None:
    async with visitor(paced.url, session=den) as ana:
        await ana.done("select_binding", binding_name="scripted")
        job_id = await ana.job("response", text="hang", include_audio=False)
        await ana.next("text_chunk", job_id=job_id)
        answer = await ana.done("interrupt")
        assert (answer["heard"], answer["unheard"]) == ("hanging ", "")
        await ana.finished(job_id)
        assert await said(ana) == ["hang", "hanging"]
