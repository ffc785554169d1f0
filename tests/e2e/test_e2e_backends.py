"""OpenAI-compatible backends behind a real server: a fake that fails in every way, and llama.cpp's own server."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from e2e.promises import check_numbers, check_order, check_turn
from e2e.visitor import PATIENCE_S, Visitor, end_of, pcm_of, text_of, visitor
from fakes.llama_server import llama_server
from fakes.openai_script import scripted_answer, speech_pcm
from fakes.openai_server import Exchange, FakeOpenAI
from fakes.server_process import ServerProcess
from fakes.tiny_model import tiny_gguf

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHOLE = "Hello there. I am a fake model."


@asynccontextmanager
async def fake_backend(**settings: Any) -> AsyncGenerator[FakeOpenAI, None]:
    quick = {"first_token_s": 0, "tokens_per_s": 0, "speech_first_byte_s": 0, "speech_real_time": 0, "transcribe_s": 0}
    async with FakeOpenAI(**{**quick, **settings}) as fake:
        yield fake


async def use(client: Visitor, base_url: str, role: str = "t2t", **options: Any) -> None:
    told = await client.run(
        "operation_load", ops=[{"role": role, "id": "openai", "config": {"base_url": base_url, **options}}]
    )
    assert end_of(told)["success"], end_of(told)


async def content(client: Visitor) -> list[str]:
    return [line["content"] for line in (await client.done("history_get"))["lines"]]


async def within(coming: Awaitable[Any]) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        return await coming


async def exchange_of(fake: FakeOpenAI, model: str) -> Exchange:
    await within(fake.asked.wait())
    return next(one for one in fake.exchanges if one.model == model)


async def test_text_voice_and_ears_of_one_backend(shared: ServerProcess, den: str) -> None:
    async with fake_backend(transcript="what is for tea") as fake, visitor(shared.url, session=den) as ana:
        for role, model in (("t2t", "fake-chat"), ("tts", "tts-fake"), ("stt", "whisper-fake")):
            await use(ana, fake.base_url, role, model=model)
        told = await ana.run("context_add", kind="audio", user="Ana", audio=bytes(range(256)) * 64, sr=16_000)
        assert [each.data["content"] for each in told if each.name == "transcript"] == ["what is for tea"]
        job_id = await ana.job("response")
        told = await ana.finished(job_id)
        check_order(ana, job_id)
        check_turn(told)
        assert text_of(told) == WHOLE
        spoken = [each.data["speech"] for each in told if each.name == "sentence"]
        assert [one.body["input"] for one in fake.of("/audio/speech")] == spoken
        assert pcm_of(told) == b"".join(map(speech_pcm, spoken))
        assert {each.data["sr"] for each in told if each.name == "audio_chunk"} == {24_000}
        (asked,) = fake.of("/chat/completions")
        assert "You are Robin" in asked.body["messages"][0]["content"]
        assert asked.body["messages"][-1]["content"] == "[Ana]: what is for tea"


async def test_a_long_answer_in_order(shared: ServerProcess, den: str) -> None:
    async with fake_backend() as fake, visitor(shared.url, session=den) as ana:
        await use(ana, fake.base_url, model="fake-chat")
        await use(ana, fake.base_url, "tts", model="tts-fake")
        told = await ana.run("response", text="Give me an answer of 240 tokens")
        check_turn(told)
        assert text_of(told) == "".join(scripted_answer(240)[0])


async def test_words_are_sent_before_the_answer_is_whole(shared: ServerProcess, den: str) -> None:
    async with fake_backend() as fake, visitor(shared.url, session=den) as ana:
        await use(ana, fake.base_url, model="fail:stall")
        job_id = await ana.job("response", text="Hello.")
        await ana.next("text_chunk", job_id=job_id)
        exchange = await exchange_of(fake, "fail:stall")
        assert not exchange.ended.is_set()
        await ana.done("cancel_job", job_id=job_id)
        await within(exchange.ended.wait())
        assert exchange.lost is not None
        assert end_of(await ana.finished(job_id))["error"]["code"] == "cancelled"


@pytest.mark.parametrize("way", ["interrupt", "generate_text", "gone"])
async def test_the_backends_connection_is_closed(shared: ServerProcess, den: str, way: str) -> None:
    """Also when a turn is interrupted, and when the client of a generation goes away."""
    async with fake_backend() as fake, visitor(shared.url, session=den) as ana:
        await use(ana, fake.base_url, model="fail:stall")
        if way == "interrupt":
            await ana.job("response", text="Hello.")
            await ana.next("text_chunk")
            assert (await ana.done("interrupt"))["interrupted"]
        else:
            await ana.done("generate_text", prompt="Hello.", personality=0)
            await ana.next("text_chunk")
            await (ana.drop() if way == "gone" else ana.tell("cancel_generation"))
        exchange = await exchange_of(fake, "fail:stall")
        await within(exchange.ended.wait())
        assert exchange.lost is not None


FAILURES = {
    **dict.fromkeys(("401", "403", "404", "quota", "500", "503", "redirect", "html", "empty", "slow"), ""),
    **dict.fromkeys(("cut", "error", "garbage", "not-an-event", "stall"), "Hello there."),
}
"""and the words that come before it"""


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_backend_that_fails_ends_the_job_and_nothing_else(
    shared: ServerProcess, den: str, failure: str
) -> None:
    words = FAILURES[failure]
    patience = 0.5 if failure in ("slow", "stall") else 60
    async with fake_backend() as fake, visitor(shared.url, session=den) as ana:
        await use(ana, fake.base_url, model=f"fail:{failure}", read_timeout_s=patience, max_retries=0)
        job_id = await ana.job("response", text="Hello.")
        told = await ana.finished(job_id)
        check_order(ana, job_id)
        end = end_of(told)
        assert (end["success"], end["error"]["code"]) == (False, "binding_failed")
        assert end["error"]["reason"] and "Traceback" not in end["error"]["reason"]
        assert "sk-secret" not in str(told)
        assert [each.data["error"] for each in told if each.name == "generation_error"] == [end["error"]["reason"]]
        assert text_of(told) == words
        assert await content(ana) == (["Hello.", words] if words else ["Hello."])
        assert bool(pcm_of(told)) == bool(words)
        await use(ana, fake.base_url, model="fake-chat")
        told = await ana.run("response", text="And now?")
        check_turn(told)
        assert text_of(told) == WHOLE
        check_numbers(ana)


async def test_a_backend_that_is_not_there(shared: ServerProcess, den: str) -> None:
    async with fake_backend() as fake:
        base_url = fake.base_url
    async with visitor(shared.url, session=den) as ana:
        await use(ana, base_url, model="fake-chat")
        error = end_of(await ana.run("response", text="Hello."))["error"]
        assert error["code"] == "binding_failed"
        assert base_url.split("/")[2] in error["reason"]
        await ana.done("select_binding", binding_name="eliza")
        check_turn(await ana.run("response", text="Hello."))


@pytest.mark.parametrize("failure", ["500", "silent", "cut", "mp3"])
async def test_a_voice_that_fails(shared: ServerProcess, den: str, failure: str) -> None:
    """Nothing of it was heard, or only its beginning: no more than that stays."""
    async with fake_backend() as fake, visitor(shared.url, session=den) as ana:
        await use(ana, fake.base_url, "tts", model=f"fail:{failure}", max_retries=0)
        # ``cut`` ends after 100 ms
        told = await ana.run("say", text="Nobody will hear this sentence to its very end.")
        end = end_of(told)
        assert (end["success"], end["error"]["code"]) == (False, "binding_failed")
        kept = await content(ana)
        assert kept == [] or (failure == "cut" and "Nobody will".startswith(kept[0]))
        await use(ana, fake.base_url, "tts", model="tts-fake")
        check_turn(await ana.run("say", text="But this."))


async def test_ears_that_fail(shared: ServerProcess, den: str) -> None:
    async with fake_backend() as fake, visitor(shared.url, session=den) as ana:
        await use(ana, fake.base_url, "stt", model="fail:500", max_retries=0)
        end = end_of(await ana.run("context_add", kind="audio", user="Ana", audio=bytes(3200), sr=16_000))
        assert (end["success"], end["error"]["code"]) == (False, "binding_failed")
        assert await content(ana) == []


async def test_speech_is_heard_while_an_answer_is_still_being_given(shared: ServerProcess, den: str) -> None:
    """Recognition begins when the job is queued; its line waits for its turn."""
    async with fake_backend() as ears, fake_backend() as fake, visitor(shared.url, session=den) as ana:
        await use(ana, ears.base_url, "stt", model="whisper-fake")
        await use(ana, fake.base_url, model="fail:stall")
        answer = await ana.job("response", text="Hello.", include_audio=False)
        await ana.next("text_chunk", job_id=answer)
        speech = await ana.job("context_add", kind="audio", user="Ana", audio=bytes(3200), sr=16_000)
        await within((await exchange_of(ears, "whisper-fake")).ended.wait())
        assert ana.of(speech) == [] and "job_finished" not in [each.name for each in ana.of(answer)]
        await ana.done("cancel_job", job_id=answer)
        assert end_of(await ana.finished(speech))["success"]
        assert await content(ana) == ["Hello.", "Hello there.", "hello there"]


async def test_a_queued_speech_that_is_cancelled_hangs_up(shared: ServerProcess, den: str) -> None:
    async with fake_backend(transcribe_s=3600) as fake, visitor(shared.url, session=den) as ana:
        await use(ana, fake.base_url, "stt", model="whisper-fake")
        job_id = await ana.job("context_add", kind="audio", user="Ana", audio=bytes(3200), sr=16_000)
        exchange = await exchange_of(fake, "whisper-fake")
        await ana.done("cancel_job", job_id=job_id)
        await within(exchange.ended.wait())
        assert exchange.lost is not None
        assert end_of(await ana.finished(job_id))["error"]["code"] == "cancelled"


async def test_embeddings(shared: ServerProcess, den: str) -> None:
    async with fake_backend() as fake, visitor(shared.url, session=den) as ana:
        await use(ana, fake.base_url, "embedding", model="embedding-fake")
        answer = await ana.done("embed", prompt="tea")
        assert await ana.next("embeded") == answer
        assert len(answer["text"]) == 8 and all(isinstance(number, float) for number in answer["text"])


async def test_llama_cpps_own_server(shared: ServerProcess, den: str) -> None:
    """A second real server: its models are listed, it answers two sessions at once, and a cancel reaches it."""
    async with (
        llama_server(await asyncio.to_thread(tiny_gguf)) as base_url,
        visitor(shared.url, session=den) as ana,
        visitor(shared.url, session=f"{den}-2") as ben,
    ):
        for client in (ana, ben):
            await use(client, base_url, model="tiny", temperature=0)
        told = await asyncio.gather(*(each.run("response", text="hello") for each in (ana, ben)))
        for turn in told:
            check_turn(turn)
        assert "tiny" in [model["title"] for model in (await ana.done("list_available_models"))["available_models"]]
        job_id = await ana.job("response", text="tell me a story", include_audio=False)
        await ana.next("text_chunk", job_id=job_id)
        await ana.tell("cancel_job", {"job_id": job_id})
        await ana.finished(job_id)
        check_turn(await ana.run("response", text="bye"))
