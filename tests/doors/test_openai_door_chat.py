"""Chat and completions by the ordinary SDK of OpenAI, over a backend that speaks the same API."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from fakes.openai_door import Served, performer, served, with_backend
from fakes.openai_script import Answer, scripted_answer
from fakes.openai_server import FakeOpenAI

BARE = "openai/fake-chat"
ROBIN = "english/companions/robin"
HELLO: list[Any] = [{"role": "user", "content": "Hello."}]
SAID = "Hello there. I am a fake model."
PIXEL = "data:image/png;base64,iVBORw0KGgo="
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(first_token_s=0, tokens_per_s=0) as backend:
        yield backend


@pytest.fixture
async def server(fake: FakeOpenAI, tmp_path: Path) -> AsyncIterator[Served]:
    operations = [*with_backend(fake), {"role": "filter_text", "id": "filter_clean"}]
    async with served(tmp_path, operations) as running:
        yield running


def asked(fake: FakeOpenAI) -> dict[str, Any]:
    return fake.of("/chat/completions")[-1].body


async def test_an_answer_as_a_whole(server: Served) -> None:
    async with server.client() as client:
        answer = await client.chat.completions.create(model=BARE, messages=HELLO)
    assert answer.object == "chat.completion" and answer.model == BARE
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and answer.usage.completion_tokens == 7


async def test_an_answer_token_by_token(server: Served) -> None:
    async with server.client() as client:
        stream = await client.chat.completions.create(model=BARE, messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", *Answer().tokens, None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert {chunk.id for chunk in chunks} == {chunks[0].id} and chunks[0].id.startswith("chatcmpl-")
    assert all(chunk.usage is None for chunk in chunks)


async def test_the_synchronous_sdk(server: Served) -> None:
    def ask() -> str:
        with OpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
            stream = client.chat.completions.create(model=BARE, messages=HELLO, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(ask) == SAID


async def test_what_was_used_comes_last_where_it_is_asked_for(server: Served) -> None:
    async with server.client() as client:
        stream = await client.chat.completions.create(
            model=BARE, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + 7
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_what_a_model_thinks_stands_apart(server: Served) -> None:
    think: list[Any] = [{"role": "user", "content": "Please think first."}]
    async with server.client() as client:
        for model in (BARE, ROBIN):
            stream = await client.chat.completions.create(model=model, messages=think, stream=True)
            deltas = [chunk.choices[0].delta.to_dict() async for chunk in stream]
            assert "".join(str(delta.get("reasoning_content", "")) for delta in deltas) == "Let me think."
            assert "".join(str(delta.get("content", "")) for delta in deltas) == SAID
        whole = await client.chat.completions.create(model=BARE, messages=think)
    assert whole.choices[0].message.to_dict()["reasoning_content"] == "Let me think."


async def test_the_request_reaches_a_bare_model_as_it_was_meant(server: Served, fake: FakeOpenAI) -> None:
    async with server.client() as client:
        await client.chat.completions.create(
            model=BARE,
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
                {"role": "assistant", "content": "Three."},
                {"role": "user", "content": "Four?", "name": "ana"},
            ],
            max_completion_tokens=50,
            temperature=0.25,
            top_p=0.75,
            seed=7,
            stop=["END", "FIN"],
            presence_penalty=0.5,
            frequency_penalty=0.25,
            response_format={"type": "json_object"},
            reasoning_effort="low",
            logit_bias={},
            user="someone",
            extra_body={"top_k": 5, "repetition_penalty": 1.25, "unknown_to_all": {"a": 1}},
        )
    body = asked(fake)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One.\nTwo."},
        {"role": "assistant", "content": "Three."},
        {"role": "user", "content": "Four?", "name": "ana"},
    ]
    wanted = {
        "model": "fake-chat",
        "max_tokens": 50,
        "temperature": 0.25,
        "top_p": 0.75,
        "seed": 7,
        "stop": ["END", "FIN"],
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "top_k": 5,
        "repeat_penalty": 1.25,
    }
    assert {name: body.get(name) for name in wanted} == wanted
    assert "unknown_to_all" not in body and "user" not in body


async def test_a_bare_model_is_given_no_limit_that_nobody_asked_for(server: Served, fake: FakeOpenAI) -> None:
    async with server.client() as client:
        await client.chat.completions.create(model=BARE, messages=HELLO)
        assert "max_tokens" not in asked(fake)
        await client.chat.completions.create(model=ROBIN, messages=HELLO)
        assert asked(fake)["max_tokens"] == 512


async def test_pictures_reach_a_model_that_sees(server: Served, fake: FakeOpenAI) -> None:
    parts: Any = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
    ]
    async with server.client() as client:
        await client.chat.completions.create(model=BARE, messages=[{"role": "user", "content": parts}])
    content = asked(fake)["messages"][-1]["content"]
    assert content[0] == {"type": "text", "text": "What is it?"}
    assert [part["image_url"]["url"] for part in content[1:]] == [PIXEL, "https://example.org/cat.png"]


async def test_tools_are_called_and_answered(server: Served, fake: FakeOpenAI) -> None:
    question: Any = {"role": "user", "content": 'call get_weather {"place": "Zürich"}'}
    async with server.client() as client:
        first = await client.chat.completions.create(model=BARE, messages=[question], tools=[WEATHER])
        call = first.choices[0].message.tool_calls
        assert call is not None and call[0].type == "function"
        assert call[0].function.name == "get_weather"
        assert json.loads(call[0].function.arguments) == {"place": "Zürich"}
        assert first.choices[0].finish_reason == "tool_calls" and first.choices[0].message.content is None
        assert asked(fake)["tools"] == [WEATHER]
        said: Any = first.choices[0].message.to_dict()
        result: Any = {"role": "tool", "tool_call_id": call[0].id, "content": "Rain."}
        second = await client.chat.completions.create(
            model=BARE, messages=[question, said, result], tools=[WEATHER], tool_choice="none"
        )
    assert second.choices[0].message.content == SAID
    body = asked(fake)
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "get_weather"
    assert body["messages"][2] == {"role": "tool", "tool_call_id": call[0].id, "content": "Rain."}
    assert "tools" not in body


async def test_tool_calls_stream(server: Served) -> None:
    question: Any = {"role": "user", "content": 'call get_weather {"place": "Rome"}'}
    async with (
        server.client() as client,
        client.chat.completions.stream(model=BARE, messages=[question], tools=[WEATHER]) as stream,
    ):
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None and calls[0].function.arguments == '{"place": "Rome"}'
    assert final.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_a_choice_of_tools_reaches_the_model(server: Served, fake: FakeOpenAI, choice: Any) -> None:
    """Of one tool by its name as the only one there is: not every server understands names."""
    other: Any = {"type": "function", "function": {"name": "other"}}
    async with server.client() as client:
        await client.chat.completions.create(model=BARE, messages=HELLO, tools=[WEATHER, other], tool_choice=choice)
    body = asked(fake)
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == (
        ["get_weather", "other"] if choice == "required" else ["get_weather"]
    )


async def test_a_character_has_its_own_instructions_before_the_clients(server: Served, fake: FakeOpenAI) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "The scene is a harbour."},
        {"role": "user", "content": "Hello.", "name": "Ana"},
        {"role": "assistant", "content": "Welcome."},
        {"role": "user", "content": "Who are you?"},
    ]
    async with server.client() as client:
        for model in (ROBIN, "robin", "greenroom"):
            answer = await client.chat.completions.create(model=model, messages=messages)
            assert answer.choices[0].message.content == SAID and answer.model == model
            system, *rest = asked(fake)["messages"]
            assert system["content"].startswith("You are Robin") and system["content"].endswith("a harbour.")
            assert [message["content"] for message in rest] == ["[Ana]: Hello.", "Welcome.", "Who are you?"]
    state = await server.greenroom.sessions.get("main")
    assert not state.context.lines, "a stateless request leaves no line behind"


async def test_a_characters_answer_passes_the_text_filters_and_a_bare_models_does_not(
    server: Served, fake: FakeOpenAI
) -> None:
    fake.settings.answer = Answer(("<think>", "hm", "</think>", "[Rob", "in]: ", "Good ", "day."))
    async with server.client() as client:
        for stream in (False, True):
            texts = {}
            for model in (ROBIN, BARE):
                if not stream:
                    answer = await client.chat.completions.create(model=model, messages=HELLO)
                    texts[model] = answer.choices[0].message.content
                else:
                    chunks = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
                    texts[model] = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
            assert texts == {ROBIN: "Good day.", BARE: "<think>hm</think>[Robin]: Good day."}


async def test_stop_texts_end_a_bare_models_answer_letter_for_letter(server: Served, fake: FakeOpenAI) -> None:
    fake.settings.answer = Answer(("the end", " is not th", "e EN", "D of it"))
    async with server.client() as client:
        stream = await client.chat.completions.create(model=BARE, messages=HELLO, stop="END", stream=True)
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert said == "the end is not the "
    await fake.of("/chat/completions")[-1].ended.wait()


async def test_an_answer_that_ran_out_of_tokens_says_so(server: Served) -> None:
    async with server.client() as client:
        answer = await client.chat.completions.create(model=BARE, messages=HELLO, max_tokens=7)
    assert answer.choices[0].finish_reason == "length"


async def test_an_answer_is_not_ascii_alone(server: Served, fake: FakeOpenAI) -> None:
    fake.settings.answer = Answer(("Grüße ", "日本 ", '"\\\n', "🐦"))
    async with server.client() as client:
        stream = await client.chat.completions.create(model=BARE, messages=HELLO, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == 'Grüße 日本 "\\\n🐦'


async def test_completions_continue_a_text(server: Served, fake: FakeOpenAI) -> None:
    async with server.client() as client:
        whole = await client.completions.create(model=BARE, prompt="Once upon", max_tokens=30, echo=True)
        stream = await client.completions.create(model=BARE, prompt=["Once upon"], stream=True)
        chunks = [chunk async for chunk in stream]
        assert fake.of("/completions")[0].body["prompt"] == "Once upon"
        as_robin = await client.completions.create(model=ROBIN, prompt="Who are you?")
    assert whole.object == "text_completion" and whole.choices[0].text == "Once upon" + SAID
    assert "".join(chunk.choices[0].text for chunk in chunks) == SAID
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert as_robin.choices[0].text == SAID and asked(fake)["messages"][0]["content"].startswith("You are Robin")


async def test_thirty_streams_at_once_stay_in_order(fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.settings.tokens_per_s = 400

    async def ask(client: openai.AsyncOpenAI, count: int) -> str:
        messages: list[Any] = [{"role": "user", "content": f"an answer of {count} tokens"}]
        stream = await client.chat.completions.create(
            model=BARE if count % 2 else ROBIN, messages=messages, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async with (
        served(tmp_path, with_backend(fake), generation={"max_parallel": 30}) as server,
        server.client() as client,
    ):
        said = await asyncio.gather(*(ask(client, 10 + number) for number in range(30)))
    assert said == ["".join(scripted_answer(10 + number)[0]) for number in range(30)]


async def test_a_backend_without_options_of_its_own_takes_what_it_can(tmp_path: Path) -> None:
    async with served(tmp_path, [{"role": "t2t", "id": "eliza"}]) as server, server.client() as client:
        answer = await client.chat.completions.create(
            model="eliza", messages=HELLO, presence_penalty=1.5, tools=[WEATHER], tool_choice="required", seed=3
        )
        assert answer.choices[0].message.content
        with pytest.raises(openai.BadRequestError, match="cannot be held to a format") as refused:
            await client.chat.completions.create(model="eliza", messages=HELLO, response_format={"type": "json_object"})
        assert refused.value.param == "response_format"


async def test_penalties_go_as_far_as_clients_controls_do(server: Served, fake: FakeOpenAI) -> None:
    async with server.client() as client:
        for model in (BARE, ROBIN):
            await client.chat.completions.create(
                model=model,
                messages=HELLO,
                presence_penalty=-0.5,
                frequency_penalty=1.5,
                extra_body={"reasoning_effort": "unheard-of"},
                response_format={"type": "json_object"},
            )
            body = asked(fake)
            assert (body["presence_penalty"], body["frequency_penalty"]) == (-0.5, 1.5)
            assert body["reasoning_effort"] == "unheard-of"
            assert body["response_format"] == {"type": "json_object"}


async def test_a_user_may_be_more_than_a_name(server: Served) -> None:
    async with server.client() as client:
        answer = await client.chat.completions.create(
            model=BARE, messages=HELLO, extra_body={"user": {"name": "Ana", "role": "admin"}}
        )
    assert answer.choices[0].message.content


async def test_the_sessions_own_character_has_its_prompt_files(fake: FakeOpenAI, tmp_path: Path) -> None:
    for kind, text in (("instructions", "Speak in rhyme."), ("scenes", "It snows."), ("characters", "You are Rob.")):
        (tmp_path / "prompts" / kind).mkdir(parents=True)
        (tmp_path / "prompts" / kind / "mine.txt").write_text(text, encoding="utf-8")
    files = {f"{kind}_prompt_filename": "mine.txt" for kind in ("instruction", "scene", "character")}
    context = {**files, "character_name": "Rob"}
    async with served(tmp_path, with_backend(fake), context=context) as server, server.client() as client:
        await client.chat.completions.create(model="greenroom", messages=HELLO)
        system = asked(fake)["messages"][0]["content"]
        assert [part.strip() for part in system.split("\n\n")] == ["Speak in rhyme.", "You are Rob.", "It snows."]
        await client.chat.completions.create(model=ROBIN, messages=HELLO)
        assert asked(fake)["messages"][0]["content"].startswith("You are Robin")


async def test_a_performer_may_choose_a_tool(fake: FakeOpenAI, tmp_path: Path) -> None:
    async with (
        served(tmp_path, with_backend(fake), tokens=[performer("sk-play")]) as server,
        server.client("sk-play") as client,
    ):
        await client.chat.completions.create(
            model="greenroom", messages=HELLO, tools=[WEATHER], tool_choice="required", presence_penalty=0.5
        )
    assert asked(fake)["tool_choice"] == "required"
