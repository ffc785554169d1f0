import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from fakes.at_once import first_at_once
from fakes.binding_rig import Places, open_operation
from fakes.openai_script import Answer, scripted_answer
from fakes.openai_server import FakeOpenAI
from fakes.openai_strictness import REASONING
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import (
    Ended,
    FinishReason,
    Image,
    Message,
    ModelOutput,
    Prompt,
    Role,
    Sampling,
    TextDelta,
    ToolCall,
    ToolSpec,
)

HELLO = Prompt(system="You are Ada.", messages=(Message("user", "Hello!"),))


_PATIENCE_S = {"slow": 1, "stall": 1}
"""of the failures that are a silence; the others must not become one on a busy machine"""


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(first_token_s=0, tokens_per_s=0) as server:
        yield server


async def ask(fake: FakeOpenAI, prompt: Prompt, role: Role = Role.T2T, **options: Any) -> list[ModelOutput]:
    async with open_operation("openai", role, {"base_url": fake.base_url, **options}) as chat:
        return [item async for item in chat.generate(prompt)]


async def collect(items: AsyncIterator[ModelOutput], into: list[ModelOutput]) -> None:
    async for item in items:
        into.append(item)


def text_of(items: Sequence[ModelOutput]) -> str:
    return "".join(item.text for item in items if isinstance(item, TextDelta) and not item.thought)


async def test_half_a_character_is_no_reason_to_fail(fake: FakeOpenAI) -> None:
    """A model may have answered with one, and the conversation goes on with it."""
    assert text_of(await ask(fake, Prompt(messages=(Message("user", "\ud83d\ude00 \ud83d"),))))
    (exchange,) = fake.of("/chat/completions")
    assert exchange.body["messages"] == [{"role": "user", "content": "\U0001f600 \ufffd"}]


async def test_every_token_is_one_delta(fake: FakeOpenAI) -> None:
    tokens, _ = scripted_answer(60)
    prompt = Prompt(messages=(Message("user", "An answer of 60 tokens, please."),))
    ended = Ended(FinishReason.STOP, 42, 60, 16, 0)
    assert await ask(fake, prompt) == [*(TextDelta(token) for token in tokens), ended]


async def test_the_request_carries_prompt_and_defaults(fake: FakeOpenAI) -> None:
    await ask(fake, HELLO)
    (exchange,) = fake.of("/chat/completions")
    assert exchange.body == {
        "model": "gpt-4o",
        "stream": True,
        "stream_options": {"include_usage": True},
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
    call = ToolCall("call_0", "weather", {"place": "Łódź"})
    assert await ask(fake, prompt, Role.MCP) == [call, Ended(FinishReason.TOOL_CALLS, 42, 5, 16, 0)]
    assert fake.exchanges[0].body["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": TOOL.description, "parameters": dict(TOOL.parameters)},
        }
    ]


FORMAT = {"type": "json_schema", "json_schema": {"name": "w", "schema": {"type": "object", "properties": {}}}}


async def test_what_binds_the_answer_goes_along(fake: FakeOpenAI) -> None:
    await ask(fake, Prompt(messages=HELLO.messages, tools=(TOOL,), must_call=True, response_format=FORMAT))
    assert fake.exchanges[0].body["tool_choice"] == "required" and fake.exchanges[0].body["response_format"] == FORMAT
    await ask(fake, Prompt(messages=HELLO.messages, must_call=True))
    assert not {"tool_choice", "response_format"} & fake.exchanges[1].body.keys()
    await ask(fake, Prompt(raw="Once", tools=(TOOL,), must_call=True, response_format=FORMAT))
    assert not {"tools", "tool_choice", "response_format"} & fake.exchanges[2].body.keys()


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


async def test_any_history_is_brought_into_order(fake: FakeOpenAI) -> None:
    """As clients send them, and as they are cut: the fake refuses what OpenAI refuses."""
    calls = (ToolCall("a", "weather", {"place": "Rome"}), ToolCall("b", "weather", {"place": "Oslo"}))
    shown = (Image("image/png", b"\x89PNG"),)
    messages = (
        Message("tool", "cut off from its call", tool_call_id="gone"),
        Message("assistant", "Hello."),
        Message("user", ""),
        Message("user", "And?"),
        Message("assistant", "", tool_calls=calls),
        Message("user", "Hurry!"),
        Message("tool", "2 degrees", tool_call_id="b", images=shown),
        Message("assistant", "Cold.", images=shown),
    )
    bare = ToolSpec("now", "The time.", {"type": "object"})
    assert text_of(await ask(fake, Prompt("Be kind.", messages, tools=(bare,)))) == "Hello there. I am a fake model."
    sent = fake.exchanges[0].body["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("system", "Be kind."),
        ("assistant", "Hello."),
        ("user", ""),
        ("user", "And?"),
        ("assistant", ""),
        ("tool", "(no result)"),
        ("tool", "2 degrees"),
        ("user", "Hurry!"),
        ("assistant", "Cold."),
    ]
    assert [message.get("tool_call_id") for message in sent if message["role"] == "tool"] == ["a", "b"]


async def test_openai_itself_gets_no_longer_ids_than_it_takes(fake: FakeOpenAI) -> None:
    long, short = ToolCall("greenroom-" + "a" * 32, "weather", {}), ToolCall("b" * 40, "weather", {})
    results = [Message("tool", "warm", tool_call_id=call.id) for call in (long, short)]
    prompt = Prompt(messages=(Message("assistant", "", tool_calls=(long, short)), *results))
    places = Places(secrets={("OPENAI_API_KEY", fake.base_url): "k"})
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url}, places) as chat:
        for chat.engine.is_official in (False, True):
            async for _ in chat.generate(prompt):
                pass
    for exchange, cut in zip(fake.exchanges, (False, True), strict=True):
        calls, *answers = exchange.body["messages"]
        ids = [call["id"] for call in calls["tool_calls"]]
        assert ids == [answer["tool_call_id"] for answer in answers]
        assert [one == call.id for one, call in zip(ids, (long, short), strict=True)] == [not cut, True]
        assert not cut or max(map(len, ids)) <= 40


async def test_a_reasoning_model_is_asked_with_what_it_takes(fake: FakeOpenAI) -> None:
    """OpenAI refuses one parameter at a time; what was learned is kept."""
    options = {
        "model": REASONING,
        "temperature": 0.5,
        "max_tokens": 100,
        "presence_penalty": 0.5,
        "base_url": fake.base_url,
    }
    stopping = Prompt(messages=HELLO.messages, sampling=Sampling(stop=("User:",)))
    async with open_operation("openai", Role.T2T, options) as chat:
        for _ in range(2):
            assert text_of([item async for item in chat.generate(stopping)]) == "Hello there. I am a fake model."
    last = fake.exchanges[-1].body
    assert last["max_completion_tokens"] == 100
    assert not {"max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "stop"} & last.keys()
    assert fake.exchanges[-2].body == last


@pytest.mark.parametrize("effort", ["", "high"])
async def test_a_reasoning_model_uses_tools_without_thinking(fake: FakeOpenAI, effort: str) -> None:
    """As OpenAI's newer ones do; without tools they think as they should."""
    options = {"base_url": fake.base_url, "model": REASONING, "reasoning_effort": effort}
    tooled = Prompt(messages=(Message("user", 'call weather {"place": "Rome"}'),), tools=(TOOL,))
    async with open_operation("openai", Role.MCP, options) as chat:
        for prompt in (tooled, tooled, HELLO):
            assert [item async for item in chat.generate(prompt)]
    efforts = [exchange.body.get("reasoning_effort") for exchange in fake.exchanges]
    assert efforts[0] == (effort or None) and efforts[-2:] == ["none", effort or None]
    assert efforts.count(effort or None) == 2


@pytest.mark.parametrize("effort", ["", "high"])
async def test_two_sessions_find_out_at_once_that_tools_exclude_thinking(fake: FakeOpenAI, effort: str) -> None:
    options = {"base_url": fake.base_url, "model": REASONING, "reasoning_effort": effort}
    tooled = Prompt(messages=(Message("user", 'call weather {"place": "Rome"}'),), tools=(TOOL,))
    async with open_operation("openai", Role.MCP, options) as chat:
        _ = [item async for item in chat.generate(HELLO)]  # which other parameters it takes is known by now
        fake.exchanges.clear()
        routes: dict[str, Any] = fake._routes
        routes["/chat/completions"] = first_at_once(fake._chat, fake.exchanges)
        answers: tuple[list[ModelOutput], ...] = ([], [])
        await asyncio.gather(*(collect(chat.generate(tooled), into) for into in answers))
    assert all(any(isinstance(item, ToolCall) for item in answer) for answer in answers)
    sent = [exchange.body.get("reasoning_effort") for exchange in fake.exchanges]
    assert sent == [effort or None] * 2 + ["none"] * 2


@pytest.mark.parametrize("effort", ["low", None])
async def test_an_effort_that_the_configuration_insists_on_is_kept(fake: FakeOpenAI, effort: str | None) -> None:
    tooled = Prompt(messages=(Message("user", 'call weather {"place": "Rome"}'),), tools=(TOOL,))
    with pytest.raises(BindingFailed, match="tools with reasoning_effort are not supported"):
        await ask(fake, tooled, Role.MCP, model=REASONING, extra_body={"reasoning_effort": effort})


async def test_without_a_key_openai_itself_is_not_asked() -> None:
    async with open_operation("openai", Role.T2T, {}) as chat:
        with pytest.raises(BindingFailed, match=r"api\.openai\.com wants an API key .* set OPENAI_API_KEY"):
            await anext(chat.generate(HELLO))


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
    assert text_of(items) == "" and items[-2] == ToolCall("call_0", "weather", {"place": "Rome"})


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


SAID = "Hello there. I am a fake model."


async def test_it_tells_how_an_answer_ended(fake: FakeOpenAI) -> None:
    think = Prompt(messages=(Message("user", "think first"),))
    assert (await ask(fake, think))[-1] == Ended(FinishReason.STOP, 42, 10, 16, 3)
    assert (await ask(fake, HELLO, max_tokens=3))[-1] == Ended(FinishReason.LENGTH, 42, 3, 16, 0)
    assert (await ask(fake, Prompt(raw="Once"), max_tokens=3))[-1] == Ended(FinishReason.LENGTH, 42, 3, 16, 0)
    assert (await ask(fake, HELLO, model="fail:json"))[-1] == Ended(FinishReason.STOP)


async def test_the_last_word_does_not_wait_for_the_count(fake: FakeOpenAI) -> None:
    """The server has ended its answer, and never tells what it took."""
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url, "model": "fail:uncounted"}) as chat:
        async with aclosing(chat.generate(HELLO)) as items:
            assert text_of([await anext(items), await anext(items)]) == "Hello there."
        await fake.exchanges[0].ended.wait()


async def test_a_server_that_does_not_count(fake: FakeOpenAI) -> None:
    fake.settings.stream_options = "ignored"
    assert (await ask(fake, HELLO))[-1] == Ended(FinishReason.STOP)


@pytest.mark.parametrize("way", ["refused", "refused namelessly"])
async def test_a_server_that_will_not_count_is_asked_without_and_not_again(fake: FakeOpenAI, way: str) -> None:
    fake.settings.stream_options = way
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url}) as chat:
        for prompt in (HELLO, HELLO, Prompt(raw="Once")):
            items = [item async for item in chat.generate(prompt)]
            assert text_of(items) == SAID and items[-1] == Ended(FinishReason.STOP)
    assert ["stream_options" in exchange.body for exchange in fake.exchanges] == [True, False, False, False]


async def test_what_is_refused_for_another_reason_is_counted_the_next_time(fake: FakeOpenAI) -> None:
    """A refusal that names nothing may be about the wish for a count; that it is is known once the request goes
    through without. Of a server that has counted before it is known that it is not."""
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url, "model": "fail:400"}) as chat:
        with pytest.raises(BindingFailed, match="context"):
            await collect(chat.generate(HELLO), [])
        assert ["stream_options" in exchange.body for exchange in fake.exchanges] == [True, False]
        fake.settings.refusing = False
        assert [item async for item in chat.generate(HELLO)][-1] == Ended(FinishReason.STOP, 42, 7, 16, 0)
        fake.settings.refusing = True
        with pytest.raises(BindingFailed, match="context"):
            await collect(chat.generate(HELLO), [])
    assert ["stream_options" in exchange.body for exchange in fake.exchanges] == [True, False, True, True]


async def test_an_answer_that_is_withheld_says_so_before_it_fails(fake: FakeOpenAI) -> None:
    said: list[ModelOutput] = []
    async with open_operation("openai", Role.T2T, {"base_url": fake.base_url, "model": "fail:filter"}) as chat:
        with pytest.raises(BindingFailed):
            await collect(chat.generate(HELLO), said)
    assert said[-1] == Ended(FinishReason.CONTENT_FILTER)


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
        ("stall", "has sent nothing for 1 s", True, "Hello there."),
        ("slow", "has sent nothing for 1 s", True, ""),
    ],
)
async def test_each_failure_has_its_sentence(
    fake: FakeOpenAI, failure: str, sentence: str, retryable: bool, heard: str
) -> None:
    options = {
        "base_url": fake.base_url,
        "model": f"fail:{failure}",
        "max_retries": 0,
        "read_timeout_s": _PATIENCE_S.get(failure, 60),
    }
    said: list[ModelOutput] = []
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
    assert await ask(fake, HELLO, Role.MCP, model="fail:empty") == [Ended(FinishReason.STOP)]


async def test_an_empty_prompt_is_refused(fake: FakeOpenAI) -> None:
    with pytest.raises(BadRequest, match="nothing to answer"):
        await ask(fake, Prompt())
