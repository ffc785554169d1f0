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
from fakes.at_once import first_at_once
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.gemini_server import SIGNATURE, THOUGHTS, TOKENS, UNSIGNED, FakeGemini
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
KEY = "".join(("AIza", "SecretOfTheTest"))
TOOL = ToolSpec("weather", "The weather of a place.", {"type": "object", "properties": {"place": {"type": "string"}}})


_PATIENCE_S = {"slow": 1, "stall": 1}
"""of the failures that are a silence; the others must not become one on a busy machine"""


@pytest.fixture
async def fake() -> AsyncGenerator[FakeGemini, None]:
    async with FakeGemini() as server:
        yield server


def asks(text: str, **fields: Any) -> Prompt:
    return Prompt("You are Ada.", (Message("user", text),), **fields)


async def ask(
    fake: FakeGemini, prompt: Prompt, role: Role = Role.T2T, options: dict[str, Any] | None = None
) -> list[ModelOutput]:
    async with open_operation("gemini", role, {"base_url": fake.base_url, **(options or {})}) as chat:
        return await collect(chat, prompt)


async def collect(chat: Any, prompt: Prompt) -> list[ModelOutput]:
    return [item async for item in chat.generate(prompt)]


async def note(items: AsyncIterator[ModelOutput], into: list[ModelOutput]) -> None:
    async for item in items:
        into.append(item)


def text_of(items: list[ModelOutput]) -> str:
    return "".join(item.text for item in items if isinstance(item, TextDelta) and not item.thought)


async def test_half_a_character_is_no_reason_to_fail(fake: FakeGemini) -> None:
    """A model may have answered with one, and the conversation goes on with it."""
    assert text_of(await ask(fake, asks("\ud83d\ude00 \ud83d"))) == ANSWER
    (exchange,) = fake.exchanges
    assert "\U0001f600 \ufffd" in str(exchange.body)


async def test_every_token_is_one_delta_and_the_request_is_plain(fake: FakeGemini) -> None:
    ended = Ended(FinishReason.STOP, 29, 25, 16, 7)
    assert await ask(fake, asks("Hello!")) == [*(TextDelta(token) for token in TOKENS), ended]
    (exchange,) = fake.exchanges
    assert exchange.model == "gemini-3.8-flash"
    assert exchange.body == {
        "systemInstruction": {"parts": [{"text": "You are Ada."}], "role": "user"},
        "contents": [{"role": "user", "parts": [{"text": "Hello!"}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    }


async def test_a_call_may_be_wanted(fake: FakeGemini) -> None:
    await ask(fake, asks("Hello!", tools=(TOOL,), must_call=True))
    assert fake.exchanges[0].body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    await ask(fake, asks("Hello!", must_call=True))
    assert "toolConfig" not in fake.exchanges[1].body


async def test_contents_alternate_as_the_api_wants(fake: FakeGemini) -> None:
    messages = (
        Message("assistant", "Welcome."),
        Message("user", "Hi."),
        Message("system", "It rains."),
        Message("user", "You there?"),
        Message("assistant", " "),
        Message("assistant", "Yes."),
    )
    await ask(fake, Prompt("You are Ada.", messages))
    body = fake.exchanges[0].body
    assert body["systemInstruction"]["parts"] == [{"text": "You are Ada.\n\nIt rains."}]
    assert [(one["role"], [part["text"] for part in one["parts"]]) for one in body["contents"]] == [
        ("user", ["(The conversation begins.)"]),
        ("model", ["Welcome."]),
        ("user", ["Hi.", "You there?"]),
        ("model", ["Yes."]),
        ("user", ["(Go on.)"]),
    ]


async def test_sampling_of_the_prompt_goes_over_the_options(fake: FakeGemini) -> None:
    sampling = Sampling(40, 0.2, 0.5, 30, 1.1, 64, 7, ("\nUser:", ""))
    options = {"temperature": 1.5, "max_output_tokens": 9, "thinking_budget": 0, "safety": "BLOCK_NONE"}
    await ask(fake, asks("Hello!", sampling=sampling), options=options)
    body = fake.exchanges[0].body
    assert body["generationConfig"] == {
        "temperature": 0.2,
        "topP": 0.5,
        "topK": 30,
        "maxOutputTokens": 40,
        "seed": 7,
        "stopSequences": ["\nUser:"],
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 0},
    }
    assert {one["threshold"] for one in body["safetySettings"]} == {"BLOCK_NONE"} and len(body["safetySettings"]) == 4


async def test_a_model_that_cannot_be_told_how_to_think(fake: FakeGemini) -> None:
    options = {"base_url": fake.base_url, "model": "plain-1", "thinking_level": "low"}
    async with open_operation("gemini", Role.T2T, options) as chat:
        for _ in range(2):
            assert text_of(await collect(chat, asks("Hello!"))) == ANSWER
    sent = [one.body.get("generationConfig", {}).get("thinkingConfig") for one in fake.exchanges]
    assert sent == [{"includeThoughts": True, "thinkingLevel": "LOW"}, None, None]


async def test_two_sessions_find_out_at_once_that_a_model_cannot_be_told(
    fake: FakeGemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"base_url": fake.base_url, "model": "plain-1", "thinking_level": "low"}
    async with open_operation("gemini", Role.T2T, options) as chat:
        monkeypatch.setattr(fake, "_answer", first_at_once(fake._answer, fake.exchanges))
        answers = await asyncio.gather(collect(chat, asks("Hello!")), collect(chat, asks("Hello!")))
    assert [text_of(answer) for answer in answers] == [ANSWER] * 2
    assert len(fake.exchanges) == 4


@pytest.mark.parametrize(
    "options",
    [{"temperature": 2.1}, {"top_p": -1}, {"thinking_budget": -2}, {"safety": "NONE"}, {"base_url": "x"}, {"mode": 1}],
)
async def test_options_out_of_range_are_refused(fake: FakeGemini, options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(options))):
        await ask(fake, asks("Hello!"), options=options)


async def test_an_empty_prompt_is_refused(fake: FakeGemini) -> None:
    for empty in (Prompt(), Prompt("Be kind.", raw=" ")):
        with pytest.raises(BadRequest, match="nothing to answer"):
            await ask(fake, empty)


async def test_thoughts_are_kept_apart(fake: FakeGemini) -> None:
    items = await ask(fake, asks("think first"))
    assert items[: len(THOUGHTS)] == [TextDelta(thought, thought=True) for thought in THOUGHTS]
    assert text_of(items) == ANSWER


async def test_a_tool_is_called_and_its_result_goes_back_with_the_signature(fake: FakeGemini) -> None:
    async with open_operation("gemini", Role.MCP, {"base_url": fake.base_url}) as chat:
        call, ended = await collect(chat, asks('call weather {"place": "Łódź"}', tools=(TOOL,)))
        assert ended == Ended(FinishReason.TOOL_CALLS, 29, 25, 16, 7)
        assert isinstance(call, ToolCall) and (call.name, call.arguments) == ("weather", {"place": "Łódź"})
        declared = fake.exchanges[0].body["tools"][0]["functionDeclarations"][0]
        assert declared == {
            "name": "weather",
            "description": TOOL.description,
            "parametersJsonSchema": dict(TOOL.parameters),
        }
        messages = (
            Message("user", "Is it warm?"),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", "31 degrees", tool_call_id=call.id),
        )
        assert text_of(await collect(chat, Prompt(messages=messages, tools=(TOOL,)))) == ANSWER
    model, user = fake.exchanges[1].body["contents"][1:]
    wanted = {"name": "weather", "args": {"place": "Łódź"}}
    assert model == {"role": "model", "parts": [{"functionCall": wanted, "thoughtSignature": SIGNATURE}]}
    response = {"name": "weather", "response": {"result": "31 degrees"}}
    assert user == {"role": "user", "parts": [{"functionResponse": response}]}


async def test_calls_at_once_go_back_as_they_came(fake: FakeGemini) -> None:
    async with open_operation("gemini", Role.MCP, {"base_url": fake.base_url}) as chat:
        asked = asks('call weather {"place": "Oslo"} and call weather {"place": "Rome"}', tools=(TOOL,))
        calls = [item for item in await collect(chat, asked) if isinstance(item, ToolCall)]
        assert [call.arguments for call in calls] == [{"place": "Oslo"}, {"place": "Rome"}]
        results = [Message("tool", "warm", tool_call_id=call.id) for call in reversed(calls)]
        messages = (*asked.messages, Message("assistant", "", tool_calls=tuple(calls)), *results)
        assert text_of(await collect(chat, Prompt(messages=messages, tools=(TOOL,)))) == ANSWER
    parts = fake.exchanges[1].body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [SIGNATURE, None]


UNKNOWN = ToolCall("toolu_1", "weather", {"place": "Oslo"})


@pytest.mark.parametrize(("model", "signature"), [("gemini-3.8-flash", UNSIGNED), ("gemini-2.5-flash", None)])
async def test_a_call_of_another_model_is_told_to_have_no_signature(
    fake: FakeGemini, model: str, signature: str | None
) -> None:
    """Or of before a restart, of which nothing is known here any more."""
    messages = (
        Message("tool", "cut off from its call", tool_call_id="gone"),
        Message("user", "Is it warm?"),
        Message("assistant", "", tool_calls=(UNKNOWN,)),
        Message("user", "Well?"),
        Message("tool", "2 degrees", tool_call_id="toolu_1"),
        Message("assistant", "Hm.", tool_calls=(ToolCall("never answered", "weather", {}),)),
    )
    assert text_of(await ask(fake, Prompt(messages=messages), options={"model": model})) == ANSWER
    _, called, answered, *_ = fake.exchanges[0].body["contents"]
    assert called["parts"][0].get("thoughtSignature") == signature
    assert "functionResponse" in answered["parts"][0] and answered["parts"][1] == {"text": "Well?"}


async def test_the_signature_of_another_model_is_given_up(fake: FakeGemini) -> None:
    options = {"base_url": fake.base_url}
    async with open_engines() as engines:
        first = await engines.load("gemini", Role.T2T, options)
        second = await engines.load("gemini", Role.T2T, {**options, "model": "gemini-other"})
        asked = asks('call weather {"place": "Oslo"}', tools=(TOOL,))
        call = (await collect(first.operation, asked))[0]
        assert isinstance(call, ToolCall)
        result = Message("tool", "2 degrees", tool_call_id=call.id)
        messages = (*asked.messages, Message("assistant", "", tool_calls=(call,)), result)
        assert text_of(await collect(second.operation, Prompt(messages=messages, tools=(TOOL,)))) == ANSWER
        for one in (first, second):
            await one.release()
    sent = [one.body["contents"][1]["parts"][0]["thoughtSignature"] for one in fake.exchanges[1:]]
    assert sent == [SIGNATURE, UNSIGNED]


async def test_a_wait_that_the_headers_name_is_kept(fake: FakeGemini) -> None:
    assert text_of(await ask(fake, asks("Hello!"), options={"model": "fail-soon"})) == ANSWER
    with pytest.raises(BindingFailed, match="try again in 60 s"):
        await ask(fake, asks("Hello!"), options={"model": "fail-later"})
    assert len(fake.exchanges) == 3


async def test_images_go_with_the_message(fake: FakeGemini) -> None:
    images = (Image("image/png", b"\x89PNG pixel"), Image(url="https://example.com/a.webp?x=1"))
    await ask(fake, Prompt(messages=(Message("user", "What is this?", images=images),)))
    first, second, text = fake.exchanges[0].body["contents"][0]["parts"]
    data = base64.b64encode(b"\x89PNG pixel").decode()
    assert first == {"inlineData": {"mimeType": "image/png", "data": data}}
    assert second == {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.com/a.webp?x=1"}}
    assert text == {"text": "What is this?"}


async def test_a_raw_prompt_stands_as_a_message(fake: FakeGemini) -> None:
    assert text_of(await ask(fake, Prompt("unused", raw="Once upon a time"))) == ANSWER
    assert fake.exchanges[0].body["contents"] == [{"role": "user", "parts": [{"text": "Once upon a time"}]}]
    assert "systemInstruction" not in fake.exchanges[0].body


async def test_the_next_call_needs_no_new_connection(fake: FakeGemini) -> None:
    async with open_operation("gemini", Role.T2T, {"base_url": fake.base_url}) as chat:
        for _ in range(3):
            assert text_of(await collect(chat, asks("Hello!"))) == ANSWER
    assert fake.connection_count == 1


async def test_leaving_early_closes_the_connection(fake: FakeGemini) -> None:
    async with open_operation("gemini", Role.T2T, {"base_url": fake.base_url}) as chat:
        async with aclosing(chat.generate(asks("endless"))) as items:
            assert await anext(items) == TextDelta("Hello")
        await fake.exchanges[0].ended.wait()
        assert fake.exchanges[0].lost


@pytest.mark.parametrize("model", ["endless", "fail-slow"])
async def test_cancelling_closes_the_connection(fake: FakeGemini, model: str) -> None:
    async with open_operation("gemini", Role.T2T, {"base_url": fake.base_url, "model": model}) as chat:
        task = asyncio.create_task(collect(chat, asks("endless")))
        await fake.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fake.exchanges[0].ended.wait()
        assert fake.exchanges[0].lost


async def test_sessions_at_once_share_one_engine(fake: FakeGemini) -> None:
    async with open_engines() as engines:
        held = [await engines.load("gemini", role, {"base_url": fake.base_url}) for role in (Role.T2T, Role.MCP)]
        assert engines.open_count == 1
        chats: list[Any] = [one.operation for one in held]
        answers = await asyncio.gather(*(collect(chats[k % 2], asks(f"number {k}")) for k in range(10)))
        assert [text_of(answer) for answer in answers] == [ANSWER] * 10
        for one in held:
            await one.release()


@pytest.mark.parametrize(
    ("kind", "sentence", "retryable", "heard"),
    [
        ("key", "wants an API key and none is configured for it: set GEMINI_API_KEY", False, ""),
        ("401", "wants an API key and none is configured for it: set GEMINI_API_KEY", False, ""),
        ("403", "does not allow this: Your project", False, ""),
        ("404", "does not have the model 'fail-404'", False, ""),
        ("413", "finds the request too large", False, ""),
        ("429", "try again in 7 s: You exceeded your current quota", True, ""),
        ("500", "failed with status 500: An internal error", True, ""),
        ("503", "is overloaded, try again later: The model is overloaded", True, ""),
        ("redirect", "redirects elsewhere: set base_url", False, ""),
        ("html", "no JSON: is base_url right", False, ""),
        ("hangup", "closed the connection without an answer", True, ""),
        ("slow", "has sent nothing for 1 s", True, ""),
        ("blocked", r"the prompt was blocked \(PROHIBITED_CONTENT\)", False, ""),
        ("empty", "answered with no text", True, ""),
        ("length", "used up max_output_tokens before it said a word", False, ""),
        ("malformed", "called a tool in a way that cannot be read", True, ""),
        ("cut", "was cut off", True, "Hello there."),
        ("end", "was cut off", True, ANSWER),
        ("stall", "has sent nothing for 1 s", True, "Hello there."),
        ("error", "is overloaded, try again later", True, "Hello there."),
        ("garbage", "something that is no JSON", False, "Hello there."),
        ("safety", r"its safety filter objected \(SAFETY\)", False, ANSWER),
        ("other", "stopped the answer: OTHER", False, ANSWER),
    ],
)
async def test_each_failure_has_its_sentence(
    fake: FakeGemini, kind: str, sentence: str, retryable: bool, heard: str
) -> None:
    options = {
        "base_url": fake.base_url,
        "model": f"fail-{kind}",
        "max_retries": 0,
        "read_timeout_s": _PATIENCE_S.get(kind, 60),
    }
    said: list[ModelOutput] = []
    async with open_operation("gemini", Role.T2T, options) as chat:
        with pytest.raises(BindingFailed, match=sentence) as caught:
            await _note(chat, said)
    assert caught.value.retryable is retryable
    assert text_of(said) == heard


async def _note(chat: Any, said: list[ModelOutput]) -> None:
    async for item in chat.generate(asks("Hello!")):
        said.append(item)


@pytest.mark.parametrize("kind", ["flaky", "hangup"])
async def test_what_passes_is_tried_again(fake: FakeGemini, kind: str) -> None:
    assert text_of(await ask(fake, asks("Hello!"), options={"model": f"fail-{kind}"})) == ANSWER
    assert len(fake.exchanges) == 2


@pytest.mark.parametrize("kind", ["cut", "error", "429"])
async def test_what_has_begun_or_must_wait_long_is_not_tried_again(fake: FakeGemini, kind: str) -> None:
    with pytest.raises(BindingFailed):
        await ask(fake, asks("Hello!"), options={"model": f"fail-{kind}", "max_retries": 5})
    assert len(fake.exchanges) == 1


async def test_tools_may_be_left_unused(fake: FakeGemini) -> None:
    ended = Ended(FinishReason.STOP, 29, 25, 16, 7)
    assert await ask(fake, asks("Hello!"), Role.MCP, {"model": "fail-empty"}) == [ended]


@pytest.mark.parametrize(
    ("failure", "reason"), [("length", FinishReason.LENGTH), ("safety", FinishReason.CONTENT_FILTER)]
)
async def test_an_answer_that_is_cut_short_says_so_before_it_fails(
    fake: FakeGemini, failure: str, reason: FinishReason
) -> None:
    items: list[ModelOutput] = []
    async with open_operation("gemini", Role.T2T, {"base_url": fake.base_url, "model": f"fail-{failure}"}) as chat:
        with pytest.raises(BindingFailed):
            await note(chat.generate(asks("Hello!")), items)
    assert items[-1] == Ended(reason, 29, 25, 16, 7)


async def test_the_key_goes_to_its_own_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.setenv(name, "of-the-environment")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    async with FakeGemini() as ours, FakeGemini() as stranger:
        places = Places(secrets={("GOOGLE_API_KEY", f"{ours.base_url}"): KEY})
        for fake in (ours, stranger):
            async with open_operation("gemini", Role.T2T, {"base_url": f"{fake.base_url}/v1beta/"}, places) as chat:
                await collect(chat, asks("Hello!"))
        assert ours.exchanges[0].headers["x-goog-api-key"] == KEY
        sent = " ".join(stranger.exchanges[0].headers.values())
        assert "environment" not in sent and KEY not in sent


async def test_a_refused_key_is_not_repeated(fake: FakeGemini) -> None:
    places = Places(secrets={("GEMINI_API_KEY", fake.base_url): KEY})
    async with open_operation("gemini", Role.T2T, {"base_url": fake.base_url, "model": "fail-key"}, places) as chat:
        with pytest.raises(BindingFailed, match="refused the API key: check GEMINI_API_KEY") as caught:
            await collect(chat, asks("Hello!"))
    assert KEY not in str(caught.value) + repr(caught.value.details)


async def test_without_a_key_google_itself_is_not_asked() -> None:
    async with open_operation("gemini", Role.T2T, {}) as chat:
        with pytest.raises(BindingFailed, match=r"googleapis\.com wants an API key .* set GEMINI_API_KEY"):
            await collect(chat, asks("Hello!"))


async def test_nobody_listens() -> None:
    async with FakeGemini() as fake:
        gone = fake
    with pytest.raises(BindingFailed, match="cannot be reached"):
        await ask(gone, asks("Hello!"))


async def test_models_are_listed(fake: FakeGemini) -> None:
    found = BindingShelf((BINDINGS,)).get("gemini")
    operation = found.operation(Role.T2T)
    async with open_engines() as engines:
        place = engines.place(found)
    assert await operation.models(operation.Options(), place) == ()
    (model,) = await operation.models(operation.Options.model_validate({"base_url": fake.base_url}), place)
    assert (model.name, model.description) == ("gemini-0", "Gemini Fake")
    assert found.model_entries


async def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.genai", None)
    assert 'pip install "greenroom[gemini]"' in BindingShelf((BINDINGS,)).get("gemini").problem


async def test_a_whole_turn_over_a_real_server(fake: FakeGemini, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    operation = {"role": "t2t", "id": "gemini", "base_url": fake.base_url}
    config = {"operations": [operation, {"role": "tts", "id": "espeak"}], "turn": {"audio_lead_ms": 0}}
    (home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    async with running_server(home, env={"GEMINI_API_KEY": KEY}) as server, visitor(server.url) as ana:
        told = await ana.run("response", text="think first")
        check_turn(told)
        assert spoken(told) == ANSWER
        assert any(one.name == "audio_chunk" for one in told)
    assert fake.exchanges[0].headers["x-goog-api-key"] == KEY
