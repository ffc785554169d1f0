"""lollms' generate_text: private, beside the session's jobs."""

import asyncio

import pytest

from greenroom.errors import Busy, NotFound
from greenroom.protocol import events
from greenroom.values import Role
from session.scene import Scene, Somebody


async def generated(caller: Somebody) -> str:
    event = await caller.until_told(events.TextGenerated)
    assert isinstance(event, events.TextGenerated)
    assert event.text == "".join(chunk.chunk for chunk, _ in caller.told if isinstance(chunk, events.TextChunk))
    return event.text


async def test_the_raw_prompt_is_continued_and_nobody_else_hears_it(scene: Scene) -> None:
    before = scene.session.log.seq
    reply = await scene.ask("generate_text", prompt="say one two", personality="-1", n_predicts="128")
    assert scene.caller.replies == [reply]
    assert await generated(scene.caller) == "one two "
    assert scene.session.log.seq == before
    prompt = (await scene.stage(Role.T2T)).prompts[-1]
    assert prompt.raw == "say one two"
    assert prompt.sampling.max_tokens == 128


async def test_what_the_model_tells_of_its_end_comes_with_the_text(scene: Scene) -> None:
    await scene.ask("generate_text", prompt="end length one two")
    assert await generated(scene.caller) == "one two "
    told = await scene.caller.until_told(events.TextGenerated)
    assert isinstance(told, events.TextGenerated)
    used = {"prompt_tokens": 30, "completion_tokens": 5, "cached_tokens": 20, "reasoning_tokens": 2}
    assert (told.finish_reason, told.usage) == ("length", used)


async def test_a_character_remembers_this_clients_discussion(scene: Scene) -> None:
    await scene.ask("generate_text", prompt="say Hello.", personality=0)
    await generated(scene.caller)
    again = Somebody(client_id=scene.caller.client_id)
    await scene.ask("generate_text", caller=again, prompt="say Again.", personality="Robin")
    await generated(again)
    other = Somebody(client_id="c9")
    await scene.ask("generate_text", caller=other, prompt="say Other.", personality=0)
    await generated(other)
    prompts = (await scene.stage(Role.T2T)).prompts
    assert [message.content for message in prompts[1].messages] == ["say Hello.", "Hello.", "say Again."]
    assert [message.content for message in prompts[2].messages] == ["say Other."]
    assert scene.script() == [], "the session's context is not touched"


async def test_an_unknown_character_is_refused(scene: Scene) -> None:
    for wanted in (5, -2, "Nobody"):
        with pytest.raises(NotFound):
            await scene.ask("generate_text", prompt="say x", personality=wanted)


async def test_a_failure_ends_with_one_error(scene: Scene) -> None:
    await scene.ask("generate_text", prompt="fail one")
    error = await scene.caller.until_told(events.GenerationError)
    assert isinstance(error, events.GenerationError)
    assert error.error == "the backend was cut off"
    assert not any(isinstance(event, events.TextGenerated) for event, _ in scene.caller.told)


async def test_cancelling_ends_it_with_what_there_was(scene: Scene) -> None:
    await scene.ask("generate_text", prompt="hang")
    await scene.caller.until_told(events.TextChunk)
    assert (await scene.ask("cancel_generation"))["message"] == "Generation is canceled."
    assert await generated(scene.caller) == "hanging "
    stage = await scene.stage(Role.T2T)
    assert stage.cancelled == ["hang"]
    assert (await scene.ask("cancel_text_generation"))["success"], "also when nothing runs"


async def test_a_client_that_leaves_stops_its_generation(scene: Scene) -> None:
    await scene.ask("generate_text", prompt="hang")
    await scene.caller.until_told(events.TextChunk)
    scene.session.forget(scene.caller.client_id)
    await generated(scene.caller)
    assert (await scene.stage(Role.T2T)).cancelled == ["hang"]


async def test_several_clients_at_once_up_to_the_limit(scene: Scene) -> None:
    await scene.run("config_update", config={"generation": {"max_parallel": 2}})
    callers = [Somebody(client_id=str(number)) for number in range(3)]
    for caller in callers[:2]:
        await scene.ask("generate_text", caller=caller, prompt="wait go done")
    with pytest.raises(Busy):
        await scene.ask("generate_text", caller=callers[2], prompt="say x")
    (await scene.stage(Role.T2T)).gates["go"].set()
    assert await asyncio.gather(*(generated(caller) for caller in callers[:2])) == ["done ", "done "]
    await scene.ask("generate_text", caller=callers[2], prompt="say x")
    assert await generated(callers[2]) == "x "


async def test_tokens(scene: Scene) -> None:
    tokens = (await scene.ask("tokenize", prompt="Hello, you"))["tokens"]
    assert (await scene.ask("detokenize", prompt=tokens))["text"] == "Hello, you"
