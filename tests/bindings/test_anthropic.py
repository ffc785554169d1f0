import asyncio
import base64
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from e2e.promises import check_turn
from e2e.visitor import text_of as spoken
from e2e.visitor import visitor
from fakes.anthropic_server import SIGNATURE, THOUGHTS, TOKENS, FakeAnthropic
from fakes.at_once import first_at_once
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.server_process import running_server
from greenroom.bindings.discovery import BindingShelf
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

ANSWER = "".join(TOKENS)
KEY = "-".join(("sk", "ant", "secret", "of", "the", "test"))
TOOL = ToolSpec("weather", "The weather of a place.", {"type": "object", "properties": {"place": {"type": "string"}}})
CACHED = {"type": "ephemeral"}


_PATIENCE_S = {"slow": 1, "stall": 1}
"""of the failures that are a silence; the others must not become one on a busy machine"""


@pytest.fixture
async def fake() -> AsyncGenerator[FakeAnthropic, None]:
    async with FakeAnthropic() as server:
        yield server


def asks(text: str, **fields: Any) -> Prompt:
    return Prompt("You are Ada.", (Message("user", text),), **fields)


async def ask(
    fake: FakeAnthropic, prompt: Prompt, role: Role = Role.T2T, options: dict[str, Any] | None = None
) -> list[ModelOutput]:
    async with open_operation("anthropic", role, {"base_url": fake.base_url, **(options or {})}) as chat:
        return await collect(chat, prompt)


async def collect(chat: Any, prompt: Prompt) -> list[ModelOutput]:
    return [item async for item in chat.generate(prompt)]


async def note(items: AsyncIterator[ModelOutput], into: list[ModelOutput]) -> None:
    async for item in items:
        into.append(item)


def text_of(items: list[ModelOutput]) -> str:
    return "".join(item.text for item in items if isinstance(item, TextDelta) and not item.thought)


async def test_half_a_character_is_no_reason_to_fail(fake: FakeAnthropic) -> None:
    """A model may have answered with one, and the conversation goes on with it."""
    assert text_of(await ask(fake, asks("\ud83d\ude00 \ud83d"))) == ANSWER
    (exchange,) = fake.exchanges
    assert "\U0001f600 \ufffd" in str(exchange.body)


async def test_every_token_is_one_delta_and_the_request_is_plain(fake: FakeAnthropic) -> None:
    ended = Ended(FinishReason.STOP, 29, 25, 16, 7)
    assert await ask(fake, asks("Hello!")) == [*(TextDelta(token) for token in TOKENS), ended]
    (exchange,) = fake.exchanges
    assert exchange.body == {
        "model": "claude-haiku-4-5",
        "stream": True,
        "max_tokens": 1024,
        "system": [{"type": "text", "text": "You are Ada.", "cache_control": CACHED}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello!", "cache_control": CACHED}]}],
    }
    assert exchange.headers["anthropic-version"] == "2026-10-21"


FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "w", "schema": {"type": "object", "properties": {}}},
}


async def test_what_binds_the_answer_goes_along_in_the_apis_own_words(fake: FakeAnthropic) -> None:
    prompt = asks("Hello!", tools=(TOOL,), must_call=True, response_format=FORMAT)
    await ask(fake, prompt, options={"effort": "low"})
    body = fake.exchanges[-1].body
    assert body["tool_choice"] == {"type": "any"}
    schema = FORMAT["json_schema"]["schema"]
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    await ask(fake, asks("Hello!", tools=(TOOL,), must_call=True), options={"thinking": "adaptive"})
    assert "tool_choice" not in fake.exchanges[-1].body, "the API refuses it to who thinks"
    with pytest.raises(BadRequest, match="send one as json_schema"):
        await ask(fake, asks("Hello!", response_format={"type": "json_object"}))


async def test_messages_alternate_as_the_api_wants(fake: FakeAnthropic) -> None:
    messages = (
        Message("assistant", "Welcome."),
        Message("user", "Hi."),
        Message("system", "It rains."),
        Message("user", "You there?"),
        Message("assistant", " "),
        Message("assistant", "Yes."),
    )
    await ask(fake, Prompt("You are Ada.", messages), options={"prompt_cache": False})
    body = fake.exchanges[0].body
    assert [block["text"] for block in body["system"]] == ["You are Ada.", "It rains."]
    said = [(one["role"], [block["text"] for block in one["content"]]) for one in body["messages"]]
    assert said == [
        ("user", ["(The conversation begins.)"]),
        ("assistant", ["Welcome."]),
        ("user", ["Hi.", "You there?"]),
        ("assistant", ["Yes."]),
        ("user", ["(Go on.)"]),
    ]
    assert "cache_control" not in json.dumps(body)


async def test_sampling_goes_under_the_version_that_takes_it(fake: FakeAnthropic) -> None:
    sampling = Sampling(40, 1.4, None, 30, stop=("\nUser:", " "))
    await ask(fake, asks("Hello!", sampling=sampling))
    (exchange,) = fake.exchanges
    wanted = {"temperature": 1.0, "top_k": 30, "max_tokens": 40, "stop_sequences": ["\nUser:"]}
    assert exchange.body | wanted == exchange.body
    assert exchange.headers["anthropic-version"] == "2023-06-01"


async def test_a_refused_parameter_is_not_sent_again(fake: FakeAnthropic) -> None:
    options = {"base_url": fake.base_url, "model": "fixed-1", "temperature": 0.5, "top_p": 0.9, "thinking_budget": None}
    async with open_operation("anthropic", Role.T2T, options) as chat:
        for _ in range(2):
            assert text_of(await collect(chat, asks("Hello!"))) == ANSWER
    tried = [[name for name in ("temperature", "top_p") if name in one.body] for one in fake.exchanges]
    assert tried == [["temperature", "top_p"], ["top_p"], [], []]
    assert fake.exchanges[-1].headers["anthropic-version"] == "2026-10-21"


async def test_two_sessions_find_out_at_once_what_a_model_refuses(
    fake: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"base_url": fake.base_url, "model": "fixed-1", "temperature": 0.5}
    async with open_operation("anthropic", Role.T2T, options) as chat:
        monkeypatch.setattr(fake, "_answer", first_at_once(fake._answer, fake.exchanges))
        answers = await asyncio.gather(collect(chat, asks("Hello!")), collect(chat, asks("Hello!")))
    assert [text_of(answer) for answer in answers] == [ANSWER] * 2
    assert ["temperature" in one.body for one in fake.exchanges] == [True, True, False, False]


async def test_a_refused_parameter_that_the_configuration_insists_on_is_told(fake: FakeAnthropic) -> None:
    with pytest.raises(BindingFailed, match="`temperature` is deprecated"):
        await ask(fake, asks("Hello!"), options={"model": "fixed-1", "extra_body": {"temperature": 0.5}})


async def test_of_two_that_exclude_each_other_temperature_stays(fake: FakeAnthropic) -> None:
    assert text_of(await ask(fake, asks("Hello!"), options={"temperature": 0.5, "top_p": 0.9})) == ANSWER
    assert fake.exchanges[-1].body["temperature"] == 0.5 and "top_p" not in fake.exchanges[-1].body


async def test_a_thinking_budget_that_is_refused_is_left_out(fake: FakeAnthropic) -> None:
    options = {"model": "fixed-2", "thinking_budget": 2048}
    assert text_of(await ask(fake, asks("Hello!"), options=options)) == ANSWER
    assert fake.exchanges[0].body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert fake.exchanges[0].body["max_tokens"] == 1024 + 2048 and "thinking" not in fake.exchanges[1].body


@pytest.mark.parametrize(
    "options",
    [{"temperature": 1.1}, {"top_p": 0}, {"thinking_budget": 100}, {"base_url": "api.anthropic.com"}, {"modell": "x"}],
)
async def test_options_out_of_range_are_refused(fake: FakeAnthropic, options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(options))):
        await ask(fake, asks("Hello!"), options=options)


async def test_an_empty_prompt_is_refused(fake: FakeAnthropic) -> None:
    for empty in (Prompt(), Prompt("Be kind.", raw="\n")):
        with pytest.raises(BadRequest, match="nothing to answer"):
            await ask(fake, empty)


async def test_thoughts_are_kept_apart_and_go_back_with_the_tools_result(fake: FakeAnthropic) -> None:
    options = {"base_url": fake.base_url, "thinking": "adaptive", "effort": "low"}
    async with open_operation("anthropic", Role.MCP, options) as chat:
        items = await collect(chat, asks('call weather {"place": "Łódź"}', tools=(TOOL,)))
        call = ToolCall("toolu_1", "weather", {"place": "Łódź"})
        ended = Ended(FinishReason.TOOL_CALLS, 29, 25, 16, 7)
        assert items == [*(TextDelta(thought, thought=True) for thought in THOUGHTS), call, ended]
        body = fake.exchanges[0].body
        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert body["output_config"] == {"effort": "low"} and body["tools"][0]["input_schema"]["properties"]
        messages = (
            Message("user", "Is it warm?"),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", "31 degrees", tool_call_id="toolu_1"),
        )
        assert text_of(await collect(chat, Prompt(messages=messages, tools=(TOOL,)))) == ANSWER
    assistant, result = fake.exchanges[1].body["messages"][1:]
    assert assistant["content"] == [
        {"type": "thinking", "thinking": "".join(THOUGHTS), "signature": SIGNATURE},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Łódź"}},
    ]
    assert result["content"][0] == {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": "31 degrees",
        "cache_control": CACHED,
    }


async def test_any_history_is_brought_into_order(fake: FakeAnthropic) -> None:
    """As clients send them, and as they are cut: the fake refuses what the API refuses."""
    calls = (ToolCall("functions.weather:0", "weather", {"place": "Rome"}), ToolCall("b", "weather", {}))
    messages = (
        Message("tool", "cut off from its call", tool_call_id="gone"),
        Message("user", "And?"),
        Message("assistant", "", tool_calls=calls),
        Message("user", "Hurry!"),
        Message("system", "It rains."),
        Message("tool", "2 degrees", tool_call_id="functions.weather:0"),
        Message("user", ""),
    )
    assert text_of(await ask(fake, Prompt("You are Ada.", messages, tools=(TOOL,)))) == ANSWER
    said = fake.exchanges[0].body["messages"][2]["content"]
    assert [block.get("tool_use_id") for block in said] == ["functions_weather_0", "b", None]
    assert [block.get("content", block.get("text")) for block in said] == ["2 degrees", "(no result)", "Hurry!"]


async def test_calls_at_once_go_back_as_they_came(fake: FakeAnthropic) -> None:
    async with open_operation("anthropic", Role.MCP, {"base_url": fake.base_url, "thinking": "adaptive"}) as chat:
        asked = asks('call weather {"place": "Oslo"} and call weather {"place": "Rome"}', tools=(TOOL,))
        calls = [item for item in await collect(chat, asked) if isinstance(item, ToolCall)]
        assert [call.arguments for call in calls] == [{"place": "Oslo"}, {"place": "Rome"}]
        results = [Message("tool", "warm", tool_call_id=call.id) for call in reversed(calls)]
        messages = (*asked.messages, Message("assistant", "", tool_calls=tuple(calls)), *results)
        assert text_of(await collect(chat, Prompt(messages=messages, tools=(TOOL,)))) == ANSWER
    content = fake.exchanges[1].body["messages"][1]["content"]
    assert [block["type"] for block in content] == ["thinking", "tool_use", "tool_use"]


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "other-1"])
async def test_a_history_without_its_thinking_is_answered_without_and_the_next_one_with(
    fake: FakeAnthropic, model: str
) -> None:
    """Of before a restart; or with what another model thought."""
    options = {"base_url": fake.base_url, "thinking": "adaptive"}
    call = ToolCall("toolu_1", "weather", {"place": "Oslo"})
    messages = (
        Message("user", "Is it warm?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "2 degrees", tool_call_id="toolu_1"),
    )
    async with open_engines() as engines:
        loaded = await engines.load("anthropic", Role.T2T, {**options, "model": model})
        if model == "other-1":
            first = await engines.load("anthropic", Role.T2T, options)
            await collect(first.operation, asks('call weather {"place": "Oslo"}', tools=(TOOL,)))
            await first.release()
        assert text_of(await collect(loaded.operation, Prompt(messages=messages, tools=(TOOL,)))) == ANSWER
        assert "thinking" not in fake.exchanges[-1].body and "signature" not in str(fake.exchanges[-1].body)
        await collect(loaded.operation, asks("Hello!"))
        await loaded.release()
    assert fake.exchanges[-1].body["thinking"]["type"] == "adaptive"


async def test_images_go_with_the_message(fake: FakeAnthropic) -> None:
    images = (Image("image/png", b"\x89PNG pixel"), Image(url="https://example.com/a.jpg"))
    await ask(fake, Prompt(messages=(Message("user", "What is this?", images=images),)))
    first, second, text = fake.exchanges[0].body["messages"][0]["content"]
    data = base64.b64encode(b"\x89PNG pixel").decode()
    assert first == {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    assert second == {"type": "image", "source": {"type": "url", "url": "https://example.com/a.jpg"}}
    assert text["text"] == "What is this?"


async def test_a_raw_prompt_stands_as_a_message(fake: FakeAnthropic) -> None:
    assert text_of(await ask(fake, Prompt("unused", raw="Once upon a time"))) == ANSWER
    assert fake.exchanges[0].body["messages"][0]["content"][0]["text"] == "Once upon a time"
    assert "system" not in fake.exchanges[0].body


async def test_the_next_call_needs_no_new_connection(fake: FakeAnthropic) -> None:
    async with open_operation("anthropic", Role.T2T, {"base_url": fake.base_url}) as chat:
        for _ in range(3):
            assert text_of(await collect(chat, asks("Hello!"))) == ANSWER
    assert fake.connection_count == 1


async def test_leaving_early_closes_the_connection(fake: FakeAnthropic) -> None:
    async with open_operation("anthropic", Role.T2T, {"base_url": fake.base_url}) as chat:
        async with aclosing(chat.generate(asks("endless"))) as items:
            assert await anext(items) == TextDelta("Hello")
        await fake.exchanges[0].ended.wait()
        assert fake.exchanges[0].lost


@pytest.mark.parametrize("text", ["endless", "slow"])
async def test_cancelling_closes_the_connection(fake: FakeAnthropic, text: str) -> None:
    options = {"base_url": fake.base_url, "model": "fail:slow" if text == "slow" else "m"}
    async with open_operation("anthropic", Role.T2T, options) as chat:
        task = asyncio.create_task(collect(chat, asks(text)))
        await fake.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fake.exchanges[0].ended.wait()
        assert fake.exchanges[0].lost


async def test_sessions_at_once_share_one_engine(fake: FakeAnthropic) -> None:
    async with open_engines() as engines:
        held = [await engines.load("anthropic", role, {"base_url": fake.base_url}) for role in (Role.T2T, Role.MCP)]
        assert engines.open_count == 1
        chats: list[Any] = [one.operation for one in held]
        answers = await asyncio.gather(*(collect(chats[k % 2], asks(f"number {k}")) for k in range(10)))
        assert [text_of(answer) for answer in answers] == [ANSWER] * 10
        for one in held:
            await one.release()


@pytest.mark.parametrize(
    ("kind", "sentence", "retryable", "heard"),
    [
        ("401", "wants an API key and none is configured for it: set ANTHROPIC_API_KEY", False, ""),
        ("402", "cannot pay for this: Your credit balance", False, ""),
        ("403", "does not allow this: Not for this workspace", False, ""),
        ("404", "does not have the model 'fail:404'", False, ""),
        ("413", "finds the request too large", False, ""),
        ("429", "try again in 7 s: Too many requests", True, ""),
        ("500", "failed with status 500: Internal server error", True, ""),
        ("529", "is overloaded, try again later: Overloaded", True, ""),
        ("redirect", "redirects elsewhere: set base_url", False, ""),
        ("html", "web page, 'Log in': is base_url right", False, ""),
        ("hangup", "closed the connection without an answer", True, ""),
        ("slow", "has sent nothing for 1 s", True, ""),
        ("empty", "answered with no text", True, ""),
        ("length", "used up max_tokens before it said a word", False, ""),
        ("first-overloaded", "is overloaded: Overloaded", True, ""),
        ("cut", "was cut off", True, "Hello there."),
        ("end", "was cut off", True, ANSWER),
        ("stall", "has sent nothing for 1 s", True, "Hello there."),
        ("overloaded", "is overloaded: Overloaded", True, "Hello there."),
        ("garbage", "something that is no event", False, "Hello there."),
        ("refusal", "declined to answer: bio", False, ANSWER),
        ("context", "longer than the model takes: keep less history", False, ANSWER),
        ("tool-json", "tool f with arguments that are no JSON object", True, ""),
    ],
)
async def test_each_failure_has_its_sentence(
    fake: FakeAnthropic, kind: str, sentence: str, retryable: bool, heard: str
) -> None:
    options = {
        "base_url": fake.base_url,
        "model": f"fail:{kind}",
        "max_retries": 0,
        "read_timeout_s": _PATIENCE_S.get(kind, 60),
    }
    said: list[ModelOutput] = []
    async with open_operation("anthropic", Role.T2T, options) as chat:
        with pytest.raises(BindingFailed, match=sentence) as caught:
            await _note(chat, said)
    assert caught.value.retryable is retryable
    assert text_of(said) == heard
    assert "secret" not in caught.value.message


async def _note(chat: Any, said: list[ModelOutput]) -> None:
    async for item in chat.generate(asks("Hello!")):
        said.append(item)


@pytest.mark.parametrize("kind", ["flaky", "soon", "hangup", "first-overloaded"])
async def test_what_passes_is_tried_again(fake: FakeAnthropic, kind: str) -> None:
    assert text_of(await ask(fake, asks("Hello!"), options={"model": f"fail:{kind}"})) == ANSWER
    assert len(fake.exchanges) == 2


@pytest.mark.parametrize("kind", ["cut", "overloaded", "429"])
async def test_what_has_begun_or_must_wait_long_is_not_tried_again(fake: FakeAnthropic, kind: str) -> None:
    with pytest.raises(BindingFailed):
        await ask(fake, asks("Hello!"), options={"model": f"fail:{kind}", "max_retries": 5})
    assert len(fake.exchanges) == 1


async def test_tools_may_be_left_unused(fake: FakeAnthropic) -> None:
    ended = Ended(FinishReason.STOP, 29, 25, 16, 7)
    assert await ask(fake, asks("Hello!"), Role.MCP, {"model": "fail:empty"}) == [ended]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("length", FinishReason.LENGTH),
        ("context", FinishReason.LENGTH),
        ("refusal", FinishReason.CONTENT_FILTER),
    ],
)
async def test_an_answer_that_is_cut_short_says_so_before_it_fails(
    fake: FakeAnthropic, failure: str, reason: FinishReason
) -> None:
    items: list[ModelOutput] = []
    async with open_operation("anthropic", Role.T2T, {"base_url": fake.base_url, "model": f"fail:{failure}"}) as chat:
        with pytest.raises(BindingFailed):
            await note(chat.generate(asks("Hello!")), items)
    assert items[-1] == Ended(reason, 29, 25, 16, 7)


async def test_the_key_goes_to_its_own_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-the-environment")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "of-the-environment")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Gateway: gateway-secret\nAuthorization: Bearer gateway-secret")
    async with FakeAnthropic() as ours, FakeAnthropic() as stranger:
        places = Places(secrets={("ANTHROPIC_API_KEY", ours.base_url): KEY})
        for fake in (ours, stranger):
            async with open_operation("anthropic", Role.T2T, {"base_url": f"{fake.base_url}/v1/"}, places) as chat:
                await collect(chat, asks("Hello!"))
        assert ours.exchanges[0].headers["authorization"] == f"Bearer {KEY}"
        sent = " ".join(stranger.exchanges[0].headers.values())
        assert "environment" not in sent and "secret" not in sent


async def test_a_refused_key_is_not_repeated(fake: FakeAnthropic) -> None:
    places = Places(secrets={("ANTHROPIC_API_KEY", fake.base_url): KEY})
    options = {"base_url": fake.base_url, "model": "fail:401"}
    async with open_operation("anthropic", Role.T2T, options, places) as chat:
        with pytest.raises(BindingFailed, match="refused the API key: check ANTHROPIC_API_KEY") as caught:
            await collect(chat, asks("Hello!"))
    assert KEY not in str(caught.value) + repr(caught.value.details)


async def test_without_a_key_anthropic_itself_is_not_asked() -> None:
    async with open_operation("anthropic", Role.T2T, {}) as chat:
        with pytest.raises(BindingFailed, match=r"api\.anthropic\.com wants an API key .* set ANTHROPIC_API_KEY"):
            await collect(chat, asks("Hello!"))


async def test_nobody_listens() -> None:
    async with FakeAnthropic() as fake:
        gone = fake
    with pytest.raises(BindingFailed, match="cannot be reached"):
        await ask(gone, asks("Hello!"))


async def test_models_are_listed(fake: FakeAnthropic) -> None:
    found = BindingShelf((BINDINGS,)).get("anthropic")
    operation = found.operation(Role.T2T)
    async with open_engines() as engines:
        place = engines.place(found)
    assert await operation.models(operation.Options(), place) == ()
    (model,) = await operation.models(operation.Options.model_validate({"base_url": fake.base_url}), place)
    assert (model.name, model.description) == ("claude-fake-1", "Claude Fake 1")
    assert found.model_entries


async def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    assert 'pip install "greenroom[anthropic]"' in BindingShelf((BINDINGS,)).get("anthropic").problem


async def test_a_whole_turn_over_a_real_server(fake: FakeAnthropic, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    operation = {"role": "t2t", "id": "anthropic", "base_url": fake.base_url, "thinking": "adaptive"}
    config = {"operations": [operation, {"role": "tts", "id": "espeak"}], "turn": {"audio_lead_ms": 0}}
    (home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    async with running_server(home, env={"ANTHROPIC_API_KEY": KEY}) as server, visitor(server.url) as ana:
        told = await ana.run("response", text="Hello!")
        check_turn(told)
        assert spoken(told) == ANSWER
        assert any(one.name == "audio_chunk" for one in told)
    assert fake.exchanges[0].headers["authorization"] == f"Bearer {KEY}"
