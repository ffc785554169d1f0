"""Why an answer ended and what it took, as the backend tells it; guessed where it does not."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai.types import CompletionUsage

from fakes.openai_door import SCRIPTED_OPERATIONS, Served, served, with_backend
from fakes.openai_script import Answer
from fakes.openai_server import FakeOpenAI

BARE = "openai/fake-chat"
ROBIN = "english/companions/robin"
HELLO: list[Any] = [{"role": "user", "content": "Hello."}]
SAID = "Hello there. I am a fake model."
TOOL: Any = {"type": "function", "function": {"name": "look"}}
Ending = tuple[str, str | None, CompletionUsage]
"""text, finish reason, usage"""


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(first_token_s=0, tokens_per_s=0) as backend:
        yield backend


@pytest.fixture
async def server(fake: FakeOpenAI, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, [*with_backend(fake), {"role": "filter_text", "id": "filter_clean"}]) as running:
        yield running


async def chat(server: Served, *, stream: bool, model: str = BARE, messages: Any = HELLO, **more: Any) -> Ending:
    async with server.client() as client:
        if not stream:
            answer = await client.chat.completions.create(model=model, messages=messages, **more)
            assert answer.usage is not None
            return answer.choices[0].message.content or "", answer.choices[0].finish_reason, answer.usage
        options: Any = {"include_usage": True}
        events = await client.chat.completions.create(
            model=model, messages=messages, stream=True, stream_options=options, **more
        )
        *chunks, counted = [chunk async for chunk in events]
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert counted.choices == [] and counted.usage is not None
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return said, chunks[-1].choices[0].finish_reason, counted.usage


async def complete(server: Served, *, stream: bool, model: str = BARE, prompt: str = "Once", **more: Any) -> Ending:
    async with server.client() as client:
        if not stream:
            answer = await client.completions.create(model=model, prompt=prompt, **more)
            assert answer.usage is not None
            return answer.choices[0].text, answer.choices[0].finish_reason, answer.usage
        options: Any = {"include_usage": True}
        events = await client.completions.create(
            model=model, prompt=prompt, stream=True, stream_options=options, **more
        )
        *chunks, counted = [chunk async for chunk in events]
    assert counted.choices == [] and counted.usage is not None
    return "".join(chunk.choices[0].text for chunk in chunks), chunks[-1].choices[0].finish_reason, counted.usage


def counts(usage: CompletionUsage) -> tuple[int, int, int | None, int | None]:
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    reasoning = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None
    return usage.prompt_tokens, usage.completion_tokens, cached, reasoning


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [BARE, ROBIN])
@pytest.mark.parametrize("ask", [chat, complete])
async def test_the_backends_own_word(server: Served, ask: Any, model: str, stream: bool) -> None:
    said, reason, usage = await ask(server, stream=stream, model=model)
    assert (said, reason, counts(usage)) == (SAID, "stop", (42, 7, 16, 0))
    said, reason, usage = await ask(server, stream=stream, model=model, max_tokens=3)
    assert (said, reason, counts(usage)) == ("Hello there. I", "length", (42, 3, 16, 0))


@pytest.mark.parametrize("stream", [False, True])
async def test_as_many_tokens_as_were_allowed_are_no_reason_to_say_that_they_ran_out(
    server: Served, fake: FakeOpenAI, stream: bool
) -> None:
    """Several tokens may come as one piece, and one as several: the backend knows."""
    fake.settings.answer = Answer(("One two three four.",), finish="length")
    assert (await chat(server, stream=stream, max_tokens=4))[1] == "length"
    fake.settings.answer = Answer(("O", "n", "e"))
    assert (await chat(server, stream=stream, max_tokens=4))[1] == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_thoughts_are_counted(server: Served, stream: bool) -> None:
    think: list[Any] = [{"role": "user", "content": "think first"}]
    for model in (BARE, ROBIN):
        said, reason, usage = await chat(server, stream=stream, model=model, messages=think)
        assert (said, reason, counts(usage)) == (SAID, "stop", (42, 10, 16, 3))


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls(server: Served, fake: FakeOpenAI, stream: bool) -> None:
    ask: list[Any] = [{"role": "user", "content": "call look {}"}]
    for model in (BARE, ROBIN):
        said, reason, usage = await chat(server, stream=stream, model=model, messages=ask, tools=[TOOL])
        assert (said, reason, counts(usage)) == ("", "tool_calls", (42, 5, 16, 0))
    fake.settings.answer = Answer((), tool_calls=(("look", "{}"),), finish="stop")  # as some servers say it
    assert (await chat(server, stream=stream, tools=[TOOL]))[1] == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["openai/fail:filter", ROBIN])
async def test_an_answer_that_is_withheld_is_one_that_ended(
    fake: FakeOpenAI, tmp_path: Path, model: str, stream: bool
) -> None:
    async with served(tmp_path, with_backend(fake, model="fail:filter")) as server:
        said, reason, usage = await chat(server, stream=stream, model=model)
    assert (said, reason) == ("Hello there.", "content_filter")
    assert usage.completion_tokens == 2, "guessed: the server did not say"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_which_nothing_but_thoughts_fitted(server: Served, fake: FakeOpenAI, stream: bool) -> None:
    fake.settings.answer = Answer((), ("Let", " me"), finish="length")
    said, reason, usage = await chat(server, stream=stream)
    assert (said, reason, counts(usage)) == ("", "length", (42, 2, 16, 2))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [BARE, ROBIN])
async def test_an_answer_that_is_cut_here_stopped_and_its_tokens_are_guessed(
    server: Served, fake: FakeOpenAI, model: str, stream: bool
) -> None:
    """The backend does not know the stop text, and is left before it can tell."""
    fake.settings.answer = Answer(("One", " two", " END", " three"))
    said, reason, usage = await chat(server, stream=stream, model=model, stop="END", max_tokens=3)
    assert (said.rstrip(), reason) == ("One two", "stop")
    assert 2 <= usage.completion_tokens <= 3 and usage.prompt_tokens_details is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_does_not_count_is_guessed_for(server: Served, fake: FakeOpenAI, stream: bool) -> None:
    fake.settings.stream_options = "ignored"
    said, reason, usage = await chat(server, stream=stream, max_tokens=7)
    assert (said, reason, usage.completion_tokens) == (SAID, "length", 7)
    assert usage.prompt_tokens > 0 and usage.prompt_tokens_details is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_refuses_to_count_answers_all_the_same(
    server: Served, fake: FakeOpenAI, stream: bool
) -> None:
    fake.settings.stream_options = "refused"
    for _ in range(2):
        said, reason, usage = await chat(server, stream=stream)
        assert (said, reason, usage.completion_tokens) == (SAID, "stop", 7)
    asked = ["stream_options" in exchange.body for exchange in fake.of("/chat/completions")]
    assert asked == [True, False, False]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_binding_that_tells_nothing_is_guessed_for(tmp_path: Path, stream: bool) -> None:
    say: list[Any] = [{"role": "user", "content": "say one two three"}]
    async with served(tmp_path, SCRIPTED_OPERATIONS) as server:
        said, reason, usage = await chat(server, stream=stream, model="scripted", messages=say)
        assert (said, reason, usage.completion_tokens) == ("one two three ", "stop", 3)
        assert (await chat(server, stream=stream, model="scripted", messages=say, max_tokens=3))[1] == "length"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_bare_binding_tells_before_it_fails(tmp_path: Path, stream: bool) -> None:
    withheld: list[Any] = [{"role": "user", "content": "end content_filter one"}]
    async with served(tmp_path, SCRIPTED_OPERATIONS) as server:
        said, reason, usage = await chat(server, stream=stream, model="scripted", messages=withheld)
    assert (said, reason, counts(usage)) == ("one ", "content_filter", (30, 5, 20, 2))
