import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from fakes.binding_rig import open_operation
from fakes.openai_script import Answer, scripted_answer
from fakes.openai_server import FakeOpenAI
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Image, Message, Prompt, Role, Sampling, TextDelta, ToolCall, ToolSpec

HELLO = Prompt(system="You are Ada.", messages=(Message("user", "Hello!"),))


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(first_token_s=0, tokens_per_s=0) as server:
        yield server


async def ask(fake: FakeOpenAI, prompt: Prompt, role: Role = Role.T2T, **options: Any) -> list[TextDelta | ToolCall]:
    async with open_operation("openai", role, {"base_url": fake.base_url, **options}) as chat:
        return [item async for item in chat.generate(prompt)]


async def collect(items: AsyncIterator[TextDelta | ToolCall], into: list[TextDelta | ToolCall]) -> None:
    async for item in items:
        into.append(item)


def text_of(items: Sequence[TextDelta | ToolCall]) -> str:
    return "".join(item.text for item in items if isinstance(item, TextDelta) and not item.thought)


async def test_half_a_character_is_no_reason_to_fail(fake: FakeOpenAI) -> None:
    """A model may have answered with one, and the conversation goes on with it."""
    assert text_of(await ask(fake, Prompt(messages=(Message("user", "\ud83d\ude00 \ud83d"),))))
    (exchange,) = fake.of("/chat/completions")
    assert exchange.body["messages"] == [{"role": "user", "content": "\U0001f600 \ufffd"}]


async def test_every_token_is_one_delta(fake: FakeOpenAI) -> None:
    tokens, _ = scripted_answer(60)
    prompt = Prompt(messages=(Message("user", "An answer of 60 tokens, please."),))
    assert await ask(fake, prompt) == [TextDelta(token) for token in tokens]


async def test_the_request_carries_prompt_and_defaults(fake: FakeOpenAI) -> None:
    await ask(fake, HELLO)
    (exchange,) = fake.of("/chat/completions")
    assert exchange.body == {
        "model": "gpt-4o",
        "stream": True,
        "messages": [{"role": "system", "content": "You are Ada."}, {"role": "user", "content": "Hello!"}],
        "temperature": 1.0,
        "top_p": 0.9,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    assert exchange.authorization == "Bearer no-key-configured"


async def test_sampling_of_the_prompt_goes_over_the_options(fake: FakeOpenAI) -> None:
    sampling = Sampling(40, 0.2, 0.5, 30, 1.1, 64, 7, ("\nUser:", ""))
    await ask(fake, Prompt(messages=HELLO.messages, sampling=sampling), temperature=1.5, max_tokens=99)
    body = fake.exchanges[0].body
    wanted = {"temperature": 0.2, "top_p": 0.5, "top_k": 30, "repeat_penalty": 1.1, "repeat_last_n": 64, "seed": 7}
    assert body | wanted | {"stop": ["\nUser:"], "max_tokens": 40} == body


async def test_a_negative_seed_is_random_and_the_limit_can_have_its_new_name(fake: FakeOpenAI) -> None:
    prompt = Prompt(messages=HELLO.messages, sampling=Sampling(seed=-1))
    await ask(fake, prompt, max_tokens=9, max_tokens_field="max_completion_tokens", reasoning_effort="low")
    body = fake.exchanges[0].body
    assert "seed" not in body and "max_tokens" not in body
    assert body["max_completion_tokens"] == 9 and body["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 2.1},
        {"top_p": -0.1},
        {"presence_penalty": 1.1},
        {"frequency_penalty": -0.1},
        {"base_url": "localhost:11434"},
        {"base_url": "http://user:pass@localhost/v1"},
        {"modell": "x"},
    ],
)
async def test_options_out_of_range_are_refused(fake: FakeOpenAI, options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(options))):
        await ask(fake, HELLO, **options)


async def test_thoughts_are_kept_apart(fake: FakeOpenAI) -> None:
    items = await ask(fake, Prompt(messages=(Message("user", "think first"),)))
    assert [item for item in items if isinstance(item, TextDelta) and item.thought] == [
        TextDelta("Let", True),
        TextDelta(" me", True),
        TextDelta(" think.", True),
    ]
    assert text_of(items) == "Hello there. I am a fake model."


TOOL = ToolSpec("weather", "The weather of a place.", {"type": "object", "properties": {"place": {"type": "string"}}})


async def test_a_tool_call_is_put_together(fake: FakeOpenAI) -> None:
    prompt = Prompt(messages=(Message("user", 'call weather {"place": "Łódź"}'),), tools=(TOOL,))
    assert await ask(fake, prompt, Role.MCP) == [ToolCall("call_0", "weather", {"place": "Łódź"})]
    assert fake.exchanges[0].body["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": TOOL.description, "parameters": dict(TOOL.parameters)},
        }
    ]


async def test_a_tool_result_goes_back(fake: FakeOpenAI) -> None:
    call = ToolCall("call_0", "weather", {"place": "Rome"})
    messages = (
        Message("user", "Is it warm?", name="Bob"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "31 degrees", tool_call_id="call_0"),
    )
    await ask(fake, Prompt(messages=messages, tools=(TOOL,)))
    assert fake.exchanges[0].body["messages"] == [
        {"role": "user", "content": "Is it warm?", "name": "Bob"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}}
            ],
        },
        {"role": "tool", "content": "31 degrees", "tool_call_id": "call_0"},
    ]


async def test_images_go_with_the_message(fake: FakeOpenAI) -> None:
    images = (Image("image/png", b"\x89PNG"), Image(url="https://a.example/b.png"))
    await ask(fake, Prompt("See.", (Message("user", "What is this?", images=images),)))
    assert fake.exchanges[0].body["messages"][1]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
    ]


async def test_thoughts_come_before_a_tool_call_and_are_no_text(fake: FakeOpenAI) -> None:
    prompt = Prompt(messages=(Message("user", 'think first, then call weather {"place": "Rome"}'),), tools=(TOOL,))
    items = await ask(fake, prompt, Role.MCP)
    assert text_of(items) == "" and items[-1] == ToolCall("call_0", "weather", {"place": "Rome"})


@pytest.mark.parametrize(
    ("role", "options"),
    [
        (Role.STT, {"model": "whisper-1"}),
        (Role.T2T, {"model": "gpt-4"}),
        (Role.T2T, {"base_url": "http://localhost:11434/v1", "temperature": 0.25, "presence_penalty": 1}),
        (Role.MCP, {"model": "gpt-4", "temperature": 0.25, "presence_penalty": 0.2, "frequency_penalty": 0.2}),
        (Role.TTS, {"voice": "alloy"}),
        (Role.EMBEDDING, {"model": "text-embedding-3-small", "dimensions": 1536}),
    ],
)
async def test_jaisons_examples_load(role: Role, options: dict[str, Any]) -> None:
    async with open_operation("openai", role, options):
        pass


async def test_a_raw_prompt_is_continued(fake: FakeOpenAI) -> None:
    items = await ask(fake, Prompt(raw="Once upon a time, an answer of 8 tokens"))
    assert text_of(items) == "".join(scripted_answer(8)[0])
    (exchange,) = fake.of("/completions")
    assert exchange.body["prompt"].startswith("Once") and exchange.body["max_tokens"] == 1024


async def test_a_raw_prompt_is_a_message_where_there_is_only_chat(fake: FakeOpenAI) -> None:
    fake.settings.has_completions = False
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url}) as chat:
        for _ in range(2):
            items = [item async for item in chat.generate(Prompt(raw="Once"))]
            assert text_of(items) == "Hello there. I am a fake model."
    assert [exchange.path for exchange in fake.exchanges] == ["/chat/completions", "/chat/completions"]
    assert fake.exchanges[0].body["messages"] == [{"role": "user", "content": "Once"}]


async def test_the_next_call_needs_no_new_connection(fake: FakeOpenAI) -> None:
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url}) as chat:
        for _ in range(3):
            assert text_of([item async for item in chat.generate(HELLO)])
    assert fake.connection_count == 1


async def test_leaving_early_closes_the_connection(fake: FakeOpenAI) -> None:
    fake.settings.answer = Answer(("Word ",) * 1000)
    fake.settings.tokens_per_s = 100
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url}) as chat:
        async with aclosing(chat.generate(HELLO)) as items:
            assert await anext(items) == TextDelta("Word ")
        await fake.exchanges[0].ended.wait()
        assert fake.exchanges[0].lost is not None


async def test_cancelling_closes_the_connection(fake: FakeOpenAI) -> None:
    fake.settings.answer = Answer(("Word ",) * 1000)
    fake.settings.tokens_per_s = 100
    begun = asyncio.Event()

    async def consume(chat: Any) -> None:
        async with aclosing(chat.generate(HELLO)) as items:
            async for _ in items:
                begun.set()

    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url}) as chat:
        task = asyncio.create_task(consume(chat))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fake.exchanges[0].ended.wait()
        assert fake.exchanges[0].lost is not None


async def test_cancelling_before_the_first_word_closes_the_connection(fake: FakeOpenAI) -> None:
    options = {"base_url": fake.base_url, "model": "fail:slow"}
    async with open_operation("openai", Role.T2T, options) as chat:
        task = asyncio.create_task(anext(chat.generate(HELLO)))
        await fake.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fake.exchanges[0].ended.wait()
        assert fake.exchanges[0].lost is not None


async def test_many_answers_at_once(fake: FakeOpenAI) -> None:
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url}) as chat:

        async def one(size: int) -> str:
            prompt = Prompt(messages=(Message("user", f"answer of {size} tokens"),))
            return text_of([item async for item in chat.generate(prompt)])

        answers = await asyncio.gather(*(one(size) for size in range(1, 21)))
    assert answers == ["".join(scripted_answer(size)[0]) for size in range(1, 21)]


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        ("odd", "Héllo th\u00e9re."),
        ("json", "All at once."),
        ("refusal", "I will not."),
        ("length", "Hello there."),
        ("flaky", "Hello there. I am a fake model."),
        ("hangup", "Hello there. I am a fake model."),
        ("parameter", "Hello there. I am a fake model."),
        ("done-open", "Hello there."),
    ],
)
async def test_unusual_but_good_answers(fake: FakeOpenAI, failure: str, text: str) -> None:
    assert text_of(await ask(fake, HELLO, model=f"fail:{failure}")) == text


async def test_a_refused_parameter_is_not_sent_again(fake: FakeOpenAI) -> None:
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url, "model": "fail:parameter"}) as chat:
        for _ in range(2):
            assert text_of([item async for item in chat.generate(HELLO)])
    assert ["temperature" in exchange.body for exchange in fake.exchanges] == [True, False, False]


@pytest.mark.parametrize(
    ("failure", "sentence", "retryable", "heard"),
    [
        ("401", "wants an API key and none is configured", False, ""),
        ("403", "does not allow this: Country", False, ""),
        ("404", "does not have the model 'fail:404'", False, ""),
        ("429", "try again in 7 s", True, ""),
        ("quota", "quota .* is used up", False, ""),
        ("500", "failed with status 500: The server had an error", True, ""),
        ("503", "failed with status 503: Overloaded", True, ""),
        ("redirect", "redirects to elsewhere.invalid", False, ""),
        ("html", "web page, 'Log in': is base_url right", False, ""),
        ("empty", "answered with no text", True, ""),
        ("cut", "was cut off", True, "Hello there."),
        ("end", "was cut off", True, "Hello there."),
        ("error", "failed while answering: the backend ran out of memory", True, "Hello there."),
        ("garbage", "something that is no JSON", False, "Hello there."),
        ("not-an-event", "no part of an answer", False, "Hello there."),
        ("filter", "content filter", False, "Hello there."),
        ("tool-json", "tool f with arguments that are no JSON object", True, ""),
        ("stall", "has sent nothing for 0.2 s", True, "Hello there."),
        ("slow", "has sent nothing for 0.2 s", True, ""),
    ],
)
async def test_each_failure_has_its_sentence(
    fake: FakeOpenAI, failure: str, sentence: str, retryable: bool, heard: str
) -> None:
    options = {"base_url": fake.base_url, "model": f"fail:{failure}", "max_retries": 0, "read_timeout_s": 0.2}
    said: list[TextDelta | ToolCall] = []
    async with open_operation("openai", Role.T2T, options) as chat:
        with pytest.raises(BindingFailed, match=sentence) as caught:
            await collect(chat.generate(HELLO), said)
        assert caught.value.retryable is retryable
        assert text_of(said) == heard
        assert "secret" not in caught.value.message


async def test_an_answer_that_breaks_is_not_begun_again(fake: FakeOpenAI) -> None:
    with pytest.raises(BindingFailed):
        await ask(fake, HELLO, model="fail:cut", max_retries=5)
    assert len(fake.exchanges) == 1


async def test_tools_may_be_left_unused(fake: FakeOpenAI) -> None:
    assert await ask(fake, HELLO, Role.MCP, model="fail:empty") == []


async def test_an_empty_prompt_is_refused(fake: FakeOpenAI) -> None:
    with pytest.raises(BadRequest, match="nothing to answer"):
        await ask(fake, Prompt())
