"""Role t2t of the transformers binding: a tiny llama that was taught a few answers word for word."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from fakes.binding_rig import BINDINGS, open_operation
from fakes.tiny_torch import CONTEXT, REPLIES, tiny_llama
from greenroom.bindings.discovery import read_binding
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Ended, FinishReason, Message, Prompt, Role, Sampling, TextDelta

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # transformers and torch warn on import

EXACT = Sampling(temperature=0)
FREE = Sampling(temperature=1.5, top_k=0, top_p=1, max_tokens=20)
ENDLESS = Sampling(temperature=1, max_tokens=10_000, seed=1)


@pytest.fixture
async def chat() -> AsyncIterator[Any]:
    async with open_operation("transformers", Role.T2T, {"model_path": str(tiny_llama())}) as operation:
        yield operation


def ask(text: str, sampling: Sampling = EXACT, **more: Any) -> Prompt:
    return Prompt(messages=(Message("user", text),), sampling=sampling, **more)


def never_ends(chat: Any) -> None:
    """From now on the model cannot end an answer; 2000 tokens are the longest."""
    chat.engine._ends = set()


def recorded(chat: Any) -> list[list[int]]:
    """The tokens that the model is asked to continue from now on."""
    asked: list[list[int]] = []
    inner = chat.engine.model.generate

    def generate(**how: Any) -> Any:
        asked.append(how["input_ids"][0].tolist())
        return inner(**how)

    chat.engine.model.generate = generate
    return asked


async def text_of(items: AsyncIterator[Any]) -> str:
    return "".join([item.text async for item in items if isinstance(item, TextDelta)])


async def test_it_says_what_it_was_taught(chat: Any) -> None:
    recorded_once = recorded(chat)
    for question, reply in REPLIES.items():
        *deltas, ended = [delta async for delta in chat.generate(ask(question))]
        assert "".join(delta.text for delta in deltas) == reply and len(deltas) > 3
        asked = len(recorded_once[-1])
        told = len(await chat.tokenize(reply)) + 1
        assert ended == Ended(FinishReason.STOP, asked, told), "its end is a token, too"


async def test_the_same_seed_makes_the_same_answer_even_beside_others(chat: Any) -> None:
    def seeded(seed: int) -> Prompt:
        return ask("hello", Sampling(temperature=1.5, top_k=0, top_p=1, max_tokens=20, seed=seed))

    alone = await text_of(chat.generate(seeded(7)))
    beside = await asyncio.gather(*(text_of(chat.generate(seeded(seed))) for seed in (7, 8, 7)))
    assert beside[0] == beside[2] == alone != beside[1]
    free = {await text_of(chat.generate(ask("hello", FREE))) for _ in range(4)}
    assert len(free) > 1


async def test_narrow_sampling_takes_the_likeliest(chat: Any) -> None:
    for narrow in (Sampling(temperature=2, top_k=1), Sampling(temperature=2, top_p=0), Sampling(temperature=0.01)):
        assert await text_of(chat.generate(ask("bye", narrow))) == REPLIES["bye"]


async def test_repetition_is_made_unlikelier(chat: Any) -> None:
    """With a penalty beyond measure no token of the answer comes twice, though "the" was taught to."""
    sampling = Sampling(temperature=0, repeat_penalty=3.0, repeat_last_n=-1, max_tokens=40)
    answer = await text_of(chat.generate(ask("tell me a story", sampling)))
    assert answer != REPLIES["tell me a story"]
    kept = Sampling(temperature=0, repeat_penalty=3.0, repeat_last_n=0)
    assert await text_of(chat.generate(ask("tell me a story", kept))) == REPLIES["tell me a story"]


async def test_the_longest_answer(chat: Any) -> None:
    short = await text_of(chat.generate(ask("tell me a story", Sampling(temperature=0, max_tokens=3))))
    assert short and REPLIES["tell me a story"].startswith(short) and len(await chat.tokenize(short)) == 3
    ended = [item async for item in chat.generate(ask("tell me a story", Sampling(temperature=0, max_tokens=3)))][-1]
    assert (ended.reason, ended.completion_tokens) == (FinishReason.LENGTH, 3)
    stops = Sampling(temperature=0, max_tokens=40, stop=("fox",))
    ended = [item async for item in chat.generate(ask("tell me a story", stops))][-1]
    assert ended.reason is FinishReason.STOP


@pytest.mark.parametrize(
    ("stop", "left"),
    [("fox", "The quick brown "), ("own fox j", "The quick br"), ("The", ""), ("dogs", REPLIES["tell me a story"])],
)
async def test_stop_strings(chat: Any, stop: str, left: str) -> None:
    prompt = ask("tell me a story", Sampling(temperature=0, stop=(stop, "")))
    if left:
        assert await text_of(chat.generate(prompt)) == left
    else:
        with pytest.raises(BindingFailed, match="answered with no text"):
            await text_of(chat.generate(prompt))


async def test_leaving_early_stops_the_model() -> None:
    """With one place, the next answer can only come once the first has ended; that would have 2000 tokens."""
    options = {"model_path": str(tiny_llama()), "parallel": 1}
    async with open_operation("transformers", Role.T2T, options) as chat:
        ends = chat.engine._ends
        never_ends(chat)
        tokens = 0
        inner = chat.engine.model.forward

        def counted(*args: Any, **more: Any) -> Any:
            nonlocal tokens
            tokens += 1
            return inner(*args, **more)

        chat.engine.model.forward = counted
        async with aclosing(chat.generate(ask("tell me a story", ENDLESS))) as items:
            assert isinstance(await anext(items), TextDelta)
        chat.engine._ends = ends
        assert await text_of(chat.generate(ask("hello"))) == REPLIES["hello"]
    assert tokens < CONTEXT // 2


async def test_a_cancelled_answer_leaves_the_others_alone(chat: Any) -> None:
    begun = asyncio.Event()
    ends = chat.engine._ends
    never_ends(chat)

    async def listen() -> None:
        async with aclosing(chat.generate(ask("tell me a story", ENDLESS))) as items:
            async for _ in items:
                begun.set()

    task = asyncio.create_task(listen())
    await begun.wait()
    chat.engine._ends = ends
    other = asyncio.create_task(text_of(chat.generate(ask("what is your name"))))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await other == REPLIES["what is your name"]


async def test_a_raw_prompt_is_continued_as_it_is(chat: Any) -> None:
    raw = "<|im_start|>user\nbye<|im_end|>\n<|im_start|>assistant\nGood"
    assert await text_of(chat.generate(Prompt(raw=raw, sampling=EXACT))) == REPLIES["bye"].removeprefix("Good")


async def test_there_is_nothing_to_answer(chat: Any) -> None:
    for prompt in (Prompt(), Prompt(raw=""), Prompt(system="You are Ana.")):
        with pytest.raises(BadRequest, match="the prompt is empty"):
            await text_of(chat.generate(prompt))


async def test_old_messages_are_left_out(chat: Any) -> None:
    """A hundred of them do not fit; the system text and the last ones stay."""
    old = tuple(Message(("user", "assistant")[place % 2], f"{place} " + "word " * 60) for place in range(100))
    messages = (*old, Message("user", "hello"))
    prompt = Prompt(system="Be kind.", messages=messages, sampling=Sampling(temperature=0, max_tokens=200))
    asked = recorded(chat)
    assert await text_of(chat.generate(prompt))
    assert CONTEXT // 2 < len(asked[0]) <= CONTEXT - 200
    text = chat.engine.tokenizer.decode(asked[0])
    assert text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>") and "99 word" in text
    assert text.endswith("hello<|im_end|>\n<|im_start|>assistant\n") and "\n0 word" not in text


async def test_a_message_that_does_not_fit(chat: Any) -> None:
    with pytest.raises(BindingFailed, match=rf"has \d+ tokens and the model .* takes {CONTEXT}.*raise n_ctx"):
        await text_of(chat.generate(ask("word " * 4000)))
    async with open_operation("transformers", Role.T2T, {"model_path": str(tiny_llama()), "n_ctx": 16}) as small:
        with pytest.raises(BindingFailed, match="takes 16"):
            await text_of(small.generate(ask("hello there how are you today", Sampling(max_tokens=8))))


async def test_tokens_there_and_back(chat: Any) -> None:
    for text in ("Hello there! How are you?", "ÄÖÜ 你好 \U0001f600", " a  b\n", ""):
        tokens = await chat.tokenize(text)
        assert all(isinstance(token, int) for token in tokens)
        assert await chat.detokenize(tokens) == text
    assert await chat.tokenize("\ud83d")
    for wrong in (["Hello"], [-1], [10**6]):
        with pytest.raises(BadRequest, match=r"numbers from 0 to \d+"):
            await chat.detokenize(wrong)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(tiny_llama(), tmp_path / "llama")
    return tmp_path / "llama"


def set_template(folder: Path, template: str | None) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("chat_template", None)
    path.write_text(json.dumps(config))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)


async def test_a_model_without_a_template(folder: Path) -> None:
    """It is asked plainly, and stopped where it begins to speak for the user."""
    set_template(folder, None)
    async with open_operation("transformers", Role.T2T, {"model_path": str(folder)}) as chat:
        asked = recorded(chat)
        messages = (Message("user", "hi"), Message("assistant", "Hello!"), Message("user", "bye"))
        prompt = Prompt(system="Be kind.", messages=messages, sampling=Sampling(temperature=0, max_tokens=8))
        async with aclosing(chat.generate(prompt)) as items:
            assert isinstance(await anext(items), TextDelta)
    assert chat.engine.tokenizer.decode(asked[0]) == "Be kind.\n\nUser: hi\nAssistant: Hello!\nUser: bye\nAssistant:"


STRICT = (
    "{% for m in messages %}{% if m['role'] == 'system' or (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('only user and assistant, in turns') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


async def test_a_template_that_wants_turns(folder: Path) -> None:
    set_template(folder, STRICT)
    async with open_operation("transformers", Role.T2T, {"model_path": str(folder)}) as chat:
        prompt = Prompt(system="hello", messages=(Message("assistant", "Hi."), Message("user", "bye")), sampling=EXACT)
        assert await text_of(chat.generate(prompt))
        assert await text_of(chat.generate(ask("bye"))) == REPLIES["bye"]


async def test_a_template_that_fails(folder: Path) -> None:
    set_template(folder, "{{ raise_exception('never') }}")
    async with open_operation("transformers", Role.T2T, {"model_path": str(folder)}) as chat:
        with pytest.raises(BindingFailed, match="the chat template of llama fails: never"):
            await text_of(chat.generate(ask("bye")))


async def test_a_template_that_opens_a_thought(folder: Path) -> None:
    set_template(folder, "{% for m in messages %}{{ m['content'] }}{% endfor %}<think>\n")
    async with (
        open_operation("transformers", Role.T2T, {"model_path": str(folder)}) as chat,
        aclosing(chat.generate(ask("hello", Sampling(max_tokens=4)))) as items,
    ):
        assert await anext(items) == TextDelta("<think>")


async def test_a_model_that_fails(chat: Any) -> None:
    def full(**_: Any) -> None:
        raise RuntimeError("CUDA out of memory.\n Tried to allocate")

    chat.engine.model.generate = full
    with pytest.raises(BindingFailed, match=r"failed: CUDA out of memory\. Tried to allocate"):
        await text_of(chat.generate(ask("hello")))


def test_text_is_given_out_when_it_is_certain() -> None:
    operation = read_binding(BINDINGS / "transformers").operation(Role.T2T)
    module = sys.modules[f"{operation.__module__.rpartition('.')[0]}.answer_text"]
    data = "Grüße 你好 \U0001f600 end".encode()

    def decode(tokens: Any) -> str:
        return bytes(tokens).decode(errors="replace")

    reader = module.AnswerText(decode, ("end",))
    texts = [reader.feed(token) for token in data]
    assert "".join(texts) == "Grüße 你好 \U0001f600 " and "\ufffd" not in "".join(texts) and reader.has_stopped
    assert reader.finish() == ""
    reader = module.AnswerText(decode, ("ender",))
    assert "".join(reader.feed(token) for token in data) == "Grüße 你好 \U0001f600 "
    assert reader.finish() == "end"
