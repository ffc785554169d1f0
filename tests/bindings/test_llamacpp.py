import asyncio
import http.client
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.tiny_model import REPLIES, tiny_gguf
from greenroom.bindings.discovery import BindingShelf
from greenroom.errors import BadRequest, BindingFailed, NotFound, Unavailable
from greenroom.values import Ended, FinishReason, Message, Prompt, Role, Sampling, TextDelta, ToolSpec

EXACT = Sampling(temperature=0)
ENDLESS = Sampling(max_tokens=100_000, temperature=1.5, top_k=0, seed=1)
SMALL: dict[str, Any] = {"n_ctx": 512, "n_threads": 1}


@pytest.fixture(scope="session")
def tiny() -> Path:
    return tiny_gguf()


@pytest.fixture
def places(tmp_path: Path, tiny: Path) -> Places:
    """A models folder that holds the tiny model by reference."""
    folder = tmp_path / "llamacpp"
    folder.mkdir()
    (folder / "tiny.gguf.reference").write_text(f"{tiny}\n")
    return Places(tmp_path)


def ask(text: str, sampling: Sampling = EXACT) -> Prompt:
    return Prompt(messages=(Message("user", text),), sampling=sampling)


async def text_of(items: AsyncIterator[Any]) -> str:
    return "".join([item.text async for item in items if isinstance(item, TextDelta)])


async def test_it_says_what_it_was_taught(places: Places) -> None:
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        for question, reply in REPLIES.items():
            assert await text_of(chat.generate(ask(question))) == reply


async def test_it_streams(places: Places) -> None:
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        *deltas, ended = [item async for item in chat.generate(ask("hello"))]
    assert isinstance(ended, Ended) and ended.reason is FinishReason.STOP
    assert len(deltas) > 5 and all(isinstance(delta, TextDelta) and not delta.thought for delta in deltas)


async def test_several_sessions_share_a_model_and_answer_at_once(places: Places) -> None:
    async with open_engines(places) as engines:
        loaded = [await engines.load("llamacpp", Role.T2T, {"n_parallel": 2, **SMALL}) for _ in range(4)]
        assert engines.open_count == 1
        chats: list[Any] = [one.operation for one in loaded]
        questions = list(REPLIES)[:4]
        answers = await asyncio.gather(
            *(text_of(chat.generate(ask(text))) for chat, text in zip(chats, questions, strict=True))
        )
        assert answers == [REPLIES[question] for question in questions]
        for one in loaded:
            await one.release()
        assert engines.open_count == 0


async def test_leaving_early_stops_the_model(places: Places) -> None:
    """With one slot, the next answer can only come once the first generation has ended."""
    async with open_operation("llamacpp", Role.T2T, {**SMALL, "n_ctx": 2048, "n_parallel": 1}, places) as chat:
        async with aclosing(chat.generate(ask("tell me a story", ENDLESS))) as items:
            assert isinstance(await anext(items), TextDelta)
        assert await text_of(chat.generate(ask("hello"))) == REPLIES["hello"]


async def test_cancelling_a_task_stops_the_model(places: Places) -> None:
    begun = asyncio.Event()

    async def consume(chat: Any) -> None:
        async with aclosing(chat.generate(ask("tell me a story", ENDLESS))) as items:
            async for _ in items:
                begun.set()

    async with open_operation("llamacpp", Role.T2T, {**SMALL, "n_ctx": 2048, "n_parallel": 1}, places) as chat:
        task = asyncio.create_task(consume(chat))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await text_of(chat.generate(ask("bye"))) == REPLIES["bye"]


async def test_a_raw_prompt_is_continued(places: Places) -> None:
    raw = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nHello there!"
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        assert await text_of(chat.generate(Prompt(raw=raw, sampling=EXACT))) == " How are you today?"


async def test_max_tokens_and_stop_end_an_answer(places: Places) -> None:
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        assert await text_of(chat.generate(ask("hello", Sampling(temperature=0, stop=("How",))))) == "Hello there! "
        short = await text_of(chat.generate(ask("hello", Sampling(temperature=0, max_tokens=3))))
        assert short and REPLIES["hello"].startswith(short) and short != REPLIES["hello"]


async def test_it_tells_how_an_answer_ended(places: Places) -> None:
    async def ended(chat: Any, prompt: Prompt) -> Ended:
        last = [item async for item in chat.generate(prompt)][-1]
        assert isinstance(last, Ended)
        return last

    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        whole = await ended(chat, ask("hello"))
        count = len(await chat.tokenize(REPLIES["hello"]))
        assert whole.reason is FinishReason.STOP and whole.cached_tokens == 0
        assert whole.completion_tokens == count + 1, "its end is a token, too"
        assert whole.prompt_tokens is not None and whole.prompt_tokens > len(await chat.tokenize("hello"))
        short = await ended(chat, ask("hello", Sampling(temperature=0, max_tokens=3)))
        assert (short.reason, short.completion_tokens) == (FinishReason.LENGTH, 3)
        assert short.cached_tokens, "the same prompt was read a moment ago"
        stopped = await ended(chat, ask("hello", Sampling(temperature=0, stop=("How",))))
        assert stopped.reason is FinishReason.STOP
        raw = await ended(chat, Prompt(raw="hello", sampling=Sampling(temperature=0, max_tokens=3)))
        assert (raw.reason, raw.completion_tokens) == (FinishReason.LENGTH, 3)


async def test_a_seed_repeats_an_answer(places: Places) -> None:
    sampling = Sampling(temperature=2, max_tokens=30, seed=42)
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        first = await text_of(chat.generate(ask("something new", sampling)))
        assert await text_of(chat.generate(ask("something new", sampling))) == first


async def test_an_answer_keeps_to_a_format(places: Places) -> None:
    """The tiny model was taught other answers; llama.cpp lets it say nothing else."""
    warm = {"type": "object", "properties": {"warm": {"type": "boolean"}}, "required": ["warm"]}
    schema = {
        "type": "json_schema",
        "json_schema": {"name": "weather", "schema": warm | {"additionalProperties": False}},
    }
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        prompt = Prompt(messages=(Message("user", "hello"),), sampling=EXACT, response_format=schema)
        assert json.loads(await text_of(chat.generate(prompt))) in ({"warm": True}, {"warm": False})


async def test_penalties_change_what_is_said(places: Places) -> None:
    """By the same dice, so nothing else can."""
    prompt = ask("something new", Sampling(temperature=2, max_tokens=60, seed=42))
    said = []
    for penalties in ({}, {}, {"presence_penalty": 2.0}, {"frequency_penalty": 2.0}):
        async with open_operation("llamacpp", Role.T2T, {**SMALL, **penalties}, places) as chat:
            said.append(await text_of(chat.generate(prompt)))
    assert said[0] == said[1] and len(set(said)) == 3


async def test_tools_are_taken(places: Places) -> None:
    """The tiny model knows nothing of tools; offering one must neither fail nor make a call up."""
    tool = ToolSpec("weather", "The weather.", {"type": "object", "properties": {}})
    prompt = Prompt(messages=(Message("user", "hello"),), tools=(tool,), sampling=Sampling(temperature=0, max_tokens=8))
    async with open_operation("llamacpp", Role.MCP, SMALL, places) as chooser:
        *deltas, ended = [item async for item in chooser.generate(prompt)]
    assert all(isinstance(item, TextDelta) for item in deltas)
    assert isinstance(ended, Ended) and ended.reason is FinishReason.LENGTH


async def test_tokens_are_the_models_own(places: Places) -> None:
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        text = "hello there, 日本 <|im_end|>"
        tokens = await chat.tokenize(text)
        assert tokens and all(isinstance(token, int) for token in tokens) and tokens[-1] == 2
        assert await chat.detokenize(tokens) == text
        with pytest.raises(BadRequest, match="numbers"):
            await chat.detokenize(["hello"])


async def test_its_port_is_closed_to_others_and_gone_after_unloading(places: Places) -> None:
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        address = urlsplit(chat.engine._address)
        assert address.hostname == "127.0.0.1" and address.port

        def post() -> int:
            connection = http.client.HTTPConnection(str(address.hostname), address.port)
            headers = {"Content-Type": "application/json", "Origin": "http://example.com"}
            connection.request("POST", "/v1/chat/completions", '{"messages": []}', headers)
            response = connection.getresponse()
            response.read()
            connection.close()
            assert response.getheader("Access-Control-Allow-Origin") != "*"
            return response.status

        assert await asyncio.to_thread(post) == 401
        engine = chat.engine
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(post)
    with pytest.raises(BindingFailed, match="unloaded"):
        await engine.ask("/tokenize", {"content": "a"})


async def test_a_prompt_beyond_the_context(places: Places) -> None:
    async with open_operation("llamacpp", Role.T2T, {**SMALL, "n_ctx": 256}, places) as chat:
        with pytest.raises(BindingFailed, match=r"has \d+ tokens and the model tiny takes 256: raise n_ctx") as caught:
            await text_of(chat.generate(ask("hello " * 500)))
        assert not caught.value.retryable
        assert await text_of(chat.generate(ask("hello"))) == REPLIES["hello"]


async def test_an_empty_prompt_is_refused(places: Places) -> None:
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        with pytest.raises(BadRequest, match="nothing to answer"):
            await text_of(chat.generate(Prompt()))


async def test_embeddings(places: Places) -> None:
    async with open_operation("llamacpp", Role.EMBEDDING, {"n_ctx": 128, "n_threads": 1}, places) as embedding:
        vectors = await embedding.embed(["hello", "bye", "", "hello"])
        assert vectors.shape == (4, 128) and vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
        assert np.allclose(vectors[0], vectors[3], atol=1e-3) and not np.allclose(vectors[0], vectors[1], atol=1e-2)
        assert (await embedding.embed([])).shape[0] == 0
        with pytest.raises(BindingFailed, match="cannot embed this"):
            await embedding.embed(["hello " * 500])


async def test_it_is_silent(places: Places, capfd: pytest.CaptureFixture[str]) -> None:
    async with open_operation("llamacpp", Role.T2T, SMALL, places) as chat:
        await text_of(chat.generate(ask("hello")))
    assert capfd.readouterr() == ("", "")


async def load(places: Places, **options: Any) -> None:
    async with open_operation("llamacpp", Role.T2T, {**SMALL, **options}, places):
        pass


async def test_no_model_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"put a \.gguf file into that folder") as caught:
        await load(Places(tmp_path))
    assert str(tmp_path / "llamacpp") in caught.value.message


async def test_models_are_looked_up_by_name(places: Places, tiny: Path) -> None:
    folder = places.models / "llamacpp"
    (folder / "sub").mkdir()
    shutil.copy(tiny, folder / "sub" / "other.gguf")
    shutil.copy(tiny, folder / "sub" / "other-00002-of-00002.gguf")
    (folder / "broken.gguf").write_text("<html>")
    (folder / "gone.gguf.reference").write_text("/nowhere/gone.gguf")
    found = BindingShelf((BINDINGS,)).get("llamacpp")
    operation = found.operation(Role.T2T)
    listed = await operation.models(operation.Options(), places.place(found))
    assert [(model.name, model.installed) for model in listed] == [
        ("broken", True),
        ("gone", False),
        ("sub/other", True),
        ("tiny", True),
    ]
    for name in ("tiny", "tiny.gguf", "sub/other", "other"):
        await load(places, model=name)
    with pytest.raises(BadRequest, match="which model"):
        await load(places)
    with pytest.raises(NotFound, match="there are: broken, gone, sub/other, tiny"):
        await load(places, model="../llamacpp/tiny.gguf")
    with pytest.raises(Unavailable, match="no GGUF file"):
        await load(places, model="broken")
    with pytest.raises(Unavailable, match="is missing"):
        await load(places, model="gone")


async def test_a_file_that_llama_cannot_load(places: Places, tiny: Path) -> None:
    (places.models / "llamacpp" / "half.gguf").write_bytes(tiny.read_bytes()[:500_000])
    with pytest.raises(BindingFailed, match=r"cannot load half"):
        await load(places, model="half")
