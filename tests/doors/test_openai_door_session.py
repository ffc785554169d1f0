"""Requests that take part in a session: the turn is everybody's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from fakes.openai_door import SCRIPTED_OPERATIONS, Served, served
from greenroom.doors.door import DoorCaller
from greenroom.protocol import events
from greenroom.protocol.commands import parse_command
from greenroom.protocol.grant import Grant
from greenroom.values import Access

MAIN: Any = {"session": "main"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, SCRIPTED_OPERATIONS) as running:
        yield running


async def read_on(stream: Any, heard: list[str | None]) -> None:
    async for chunk in stream:
        heard.append(chunk.choices[0].delta.content)


def line(text: str, **more: Any) -> list[Any]:
    return [{"role": "system", "content": "ignored"}, {"role": "user", "content": text, **more}]


async def test_the_last_message_becomes_a_turn_that_all_hear(server: Served) -> None:
    async with server.client() as client:
        stream = await client.chat.completions.create(
            model="greenroom", messages=line("say one two", name="Ana"), stream=True, metadata=MAIN
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two "
    assert chunks[-1].choices[0].finish_reason == "stop"
    session = await server.greenroom.sessions.get("main")
    heard = await server.told()
    assert [event.user for event in heard if isinstance(event, events.ContextAdded)] == ["Ana", "Robin"]
    assert any(isinstance(event, events.AudioChunk) for event in heard), "it is spoken, too"
    assert [line.content for line in session.context.lines] == ["say one two", "one two"]


async def test_as_a_whole_and_without_sound(server: Served) -> None:
    async with server.client() as client:
        answer = await client.chat.completions.create(
            model="anything",
            messages=line("say one two"),
            user="Ben",
            metadata={"session": "side", "include_audio": "false"},
        )
    assert answer.choices[0].message.content == "one two " and answer.usage is not None
    heard = await server.told("side")
    assert not any(isinstance(event, events.AudioChunk) for event in heard)
    assert next(event for event in heard if isinstance(event, events.ContextAdded)).user == "Ben"


@pytest.mark.parametrize("include_audio", ["true", "false"])
@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_how_the_model_ended_is_passed_on(server: Served, reason: str, include_audio: str) -> None:
    asked: Any = {
        "model": "greenroom",
        "messages": line(f"end {reason} one two"),
        "metadata": {**MAIN, "include_audio": include_audio},
    }
    async with server.client() as client:
        whole = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        *_, last, counted = [chunk async for chunk in stream]
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("one two ", reason)
    assert last.choices[0].finish_reason == reason
    for usage in (whole.usage, counted.usage):
        assert usage is not None and usage.prompt_tokens_details and usage.completion_tokens_details
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (30, 5, 35)
        assert usage.prompt_tokens_details.cached_tokens == 20
        assert usage.completion_tokens_details.reasoning_tokens == 2


async def test_the_conversation_is_the_sessions(server: Served) -> None:
    quiet: Any = {"session": "main", "include_audio": "false"}
    async with server.client() as client:
        for text in ("say first", "say second"):
            await client.chat.completions.create(model="greenroom", messages=line(text), metadata=quiet)
    prompt = (await server.stage()).prompts[-1]
    assert [message.content for message in prompt.messages] == ["say first", "first", "say second"]
    assert "ignored" not in prompt.system


async def test_turns_wait_for_one_another_and_each_gets_its_own(server: Served) -> None:
    quiet: Any = {"session": "main", "include_audio": "false"}
    async with server.client() as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(model="greenroom", messages=line(f"say number {n}"), metadata=quiet)
                for n in range(5)
            )
        )
    assert [answer.choices[0].message.content for answer in answers] == [f"number {n} " for n in range(5)]


async def test_a_turn_that_fails(server: Served) -> None:
    quiet: Any = {"session": "main", "include_audio": "false"}
    async with server.client() as client:
        with pytest.raises(openai.InternalServerError, match="cut off"):
            await client.chat.completions.create(model="greenroom", messages=line("fail some words"), metadata=quiet)
        stream = await client.chat.completions.create(
            model="greenroom", messages=line("fail some words"), metadata=quiet, stream=True
        )
        heard = [(await anext(stream)).choices[0].delta.content]
        with pytest.raises(openai.APIError, match="cut off"):
            await read_on(stream, heard)
        assert "".join(text or "" for text in heard) == "some words "
        with pytest.raises(openai.BadRequestError, match="session name"):
            await client.chat.completions.create(model="x", messages=line("say x"), metadata={"session": "a/b"})


async def test_a_turn_that_somebody_cancels_ends_with_an_error(server: Served) -> None:
    session = await server.greenroom.sessions.get("main")
    async with server.client() as client:
        stream = await client.chat.completions.create(
            model="greenroom", messages=line("hang"), metadata=MAIN, stream=True
        )
        heard: list[str | None] = []
        while "hanging " not in heard:
            heard.append((await anext(stream)).choices[0].delta.content)
        assert session.jobs.running is not None
        session.jobs.cancel(session.jobs.running.job_id, "enough")
        with pytest.raises(openai.APIError, match="enough"):
            await read_on(stream, heard)
    assert heard == ["", "hanging "]


async def test_an_interrupted_turn_ends_as_it_is(server: Served) -> None:
    session = await server.greenroom.sessions.get("main")
    async with server.client() as client:
        stream = await client.chat.completions.create(
            model="greenroom", messages=line("hang"), metadata=MAIN, stream=True
        )
        heard: list[str | None] = []
        while "hanging " not in heard:
            heard.append((await anext(stream)).choices[0].delta.content)
        await session.execute(parse_command("interrupt", {}), DoorCaller("somebody", Grant(Access.PERFORMER)))
        await read_on(stream, heard)
    assert heard == ["", "hanging ", None]
