"""Turns of a real session: what is sent, in which order, and what the context keeps."""

import asyncio
import gc
from typing import Any

import pytest

from greenroom.bindings.roles import TextToSpeech
from greenroom.errors import NotFound
from greenroom.pipeline.turn import Turn
from greenroom.protocol import events
from greenroom.values import Role
from session.scene import Scene, Somebody


def kinds(told: list[events.Event]) -> list[str]:
    return [event.name for event in told if not isinstance(event, events.TextChunk | events.AudioChunk)]


async def test_an_answer_is_text_sentences_and_sound_in_order(scene: Scene) -> None:
    end, told = await scene.run("response", text="say Hello there my friend. How are you?", user="Ana")
    assert end.success
    assert kinds(told)[0] == "job_started"
    assert kinds(told)[-1] == "job_finished"
    assert kinds(told).count("context_added") == 2
    generated = next(event for event in told if isinstance(event, events.TextGenerated))
    assert scene.text(end.job_id or "") == generated.text == "Hello there my friend. How are you? "
    sentences = [event for event in told if isinstance(event, events.Sentence)]
    assert "".join(sentence.text for sentence in sentences) == generated.text.rstrip()
    assert [sentence.index for sentence in sentences] == list(range(len(sentences)))
    sound = [event for event in told if isinstance(event, events.AudioChunk)]
    assert [(chunk.index, chunk.part) for chunk in sound] == sorted((chunk.index, chunk.part) for chunk in sound)
    assert sentences[-1].speech == "How are you?"
    for sentence in sentences:
        parts = [chunk for chunk in sound if chunk.index == sentence.index]
        assert [chunk.last for chunk in parts] == [False] * (len(parts) - 1) + [True]
        assert sum(chunk.duration_ms for chunk in parts) == pytest.approx(10 * len(sentence.speech), abs=1)
        assert told.index(sentence) < told.index(parts[0])
    assert scene.script() == [
        "[Ana]: say Hello there my friend. How are you?",
        "[Robin]: Hello there my friend. How are you?",
    ]
    assert end.timing is not None
    assert {"queued_ms", "first_text_ms", "first_audio_ms", "total_ms"} <= set(end.timing)


USED = {"prompt_tokens": 30, "completion_tokens": 5, "cached_tokens": 20, "reasoning_tokens": 2}


@pytest.mark.parametrize("include_audio", [True, False])
async def test_what_a_model_tells_of_its_end_comes_with_the_text_and_the_end(scene: Scene, include_audio: bool) -> None:
    end, told = await scene.run("response", text="end length One two.", include_audio=include_audio)
    generated = next(event for event in told if isinstance(event, events.TextGenerated))
    assert generated.text == "One two. "
    for event in (generated, end):
        assert (event.finish_reason, event.usage) == ("length", USED)
        assert events.payload(event)["usage"] == USED


async def test_a_model_that_tells_nothing_adds_nothing(scene: Scene) -> None:
    end, told = await scene.run("response", text="say One two.")
    generated = next(event for event in told if isinstance(event, events.TextGenerated))
    for event in (generated, end):
        assert not {"finish_reason", "usage"} & events.payload(event).keys()


async def test_a_model_that_withholds_its_answer_fails_the_turn_and_says_why(scene: Scene) -> None:
    end, told = await scene.run("response", text="end content_filter One two.")
    assert not end.success and end.error is not None and "content filter" in end.error["reason"]
    assert (end.finish_reason, end.usage) == ("content_filter", USED)
    generated = next(event for event in told if isinstance(event, events.TextGenerated))
    assert (generated.text, generated.finish_reason) == ("One two. ", "content_filter")


async def test_without_audio_there_is_text_alone(scene: Scene) -> None:
    end, told = await scene.run("response", text="say Hello.", include_audio=False)
    assert end.success
    assert not any(isinstance(event, events.AudioChunk) for event in told)
    assert (await scene.stage(Role.TTS)).spoken == []


async def test_say_speaks_the_text_and_asks_no_model(scene: Scene) -> None:
    end, told = await scene.run("say", text="Good evening, everyone.")
    assert end.success
    assert scene.script() == ["[Robin]: Good evening, everyone."]
    assert any(isinstance(event, events.AudioChunk) for event in told)
    assert (await scene.stage(Role.T2T)).prompts == []


async def test_the_prompt_holds_character_and_conversation(scene: Scene) -> None:
    await scene.run("context_add", kind="chat", user="Ana", content="I like tea.")
    await scene.run("context_add", kind="request", content="Be brief.")
    await scene.run("response", text="say Fine.")
    prompt = (await scene.stage(Role.T2T)).prompts[-1]
    assert prompt.persona.name == "Robin"
    assert "Robin" in prompt.system
    assert [(message.role, message.content) for message in prompt.messages] == [
        ("user", "[Ana]: I like tea."),
        ("user", "[REQUEST]: Be brief."),
        ("user", "say Fine."),
    ]


async def test_a_model_that_breaks_off_keeps_its_words_and_the_next_job_works(scene: Scene) -> None:
    end, told = await scene.run("response", text="fail One two three.")
    assert not end.success
    assert end.error is not None
    assert (end.error["code"], end.error["reason"]) == ("binding_failed", "the backend was cut off")
    assert scene.script()[-1] == "[Robin]: One two three."
    assert kinds(told)[-2:] == ["generation_error", "job_finished"]
    end, _ = await scene.run("response", text="say Better.")
    assert end.success


async def test_a_backends_own_bug_is_a_failed_job_not_a_broken_server(scene: Scene) -> None:
    end, _ = await scene.run("response", text="crash")
    assert end.error is not None
    assert end.error["code"] == "binding_failed"
    assert "the backend's own bug" in end.error["reason"]
    assert (await scene.run("response", text="say Fine."))[0].success


async def test_a_voice_that_breaks_keeps_what_was_heard(scene: Scene) -> None:
    await scene.run("operation_configure", ops=[{"role": "tts", "broken": True}])
    end, _ = await scene.run("response", text="say Hello there. And more.")
    assert end.error is not None
    assert end.error["code"] == "binding_failed"
    assert scene.script() == ["[User]: say Hello there. And more."]


async def test_an_unknown_role_of_the_session_says_what_to_load(scene: Scene) -> None:
    await scene.run("operation_unload", ops=[{"role": "t2t"}])
    end, _ = await scene.run("response", text="say Hello.")
    assert end.error is not None
    assert (end.error["code"], end.error["type"]) == ("unavailable", "operation_unloaded")


async def test_annotations_ride_on_the_sentence(scene: Scene) -> None:
    await scene.run("operation_load", ops=[{"role": "filter_text", "id": "scripted"}])
    _, told = await scene.run("response", text="say What a day, dear friends! Good night then.")
    loud = [event.extras["loud"] for event in told if isinstance(event, events.Sentence)]
    assert loud.count(True) == 1
    assert loud[-1] is False


@pytest.mark.parametrize("wants", [True, False])
async def test_a_voice_that_wants_it_is_told_what_filters_say(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, wants: bool
) -> None:
    monkeypatch.setattr(TextToSpeech, "wants_extras", wants)
    await scene.run("operation_load", ops=[{"role": "filter_text", "id": "scripted"}])
    await scene.run("response", text="say What a day! Good night then.")
    await scene.run("operation_use", role="tts", payload={"content": "Hm.", "loud": 7})
    told = [{"loud": True}, {"loud": False}, {"loud": 7}] if wants else [{}] * 3
    assert (await scene.stage(Role.TTS)).extras == told


# Cancelling and interrupting


async def test_cancelling_a_running_turn_ends_it_once_and_stops_the_backend(scene: Scene) -> None:
    job_id = await scene.job("response", text="hang")
    await scene.until(lambda told: any(isinstance(event, events.TextChunk) for event in told))
    assert (await scene.ask("cancel_job", job_id=job_id, reason="enough"))["success"]
    end = await scene.ended(job_id)
    assert end.error is not None
    assert (end.error["code"], end.error["type"]) == ("cancelled", "job_cancelled")
    assert end.error["reason"] == f"Setting job {job_id} to cancel because enough"
    assert (await scene.stage(Role.T2T)).cancelled == ["hang"]


async def test_cancelling_a_queued_job_ends_it_when_its_turn_comes(scene: Scene) -> None:
    first = await scene.job("response", text="hang")
    second = await scene.job("response", text="say Never.")
    await scene.ask("cancel_job", job_id=second)
    await scene.until(lambda told: any(isinstance(event, events.TextChunk) for event in told))
    assert scene.of(second) == []
    await scene.ask("cancel_job", job_id=first)
    end = await scene.ended(second)
    assert kinds(scene.of(second)) == ["job_started", "job_finished"]
    assert end.error is not None
    assert end.error["code"] == "cancelled"


async def test_cancelling_a_finished_or_unknown_job_says_so(scene: Scene) -> None:
    end, _ = await scene.run("say", text="Hi.")
    with pytest.raises(Exception, match="already finished") as ended:
        await scene.ask("cancel_job", job_id=end.job_id)
    assert getattr(ended.value, "code", "") == "conflict"
    with pytest.raises(NotFound):
        await scene.ask("cancel_job", job_id="nobody")


async def test_an_interrupted_turn_keeps_what_was_heard(scene: Scene) -> None:
    job_id = await scene.job("response", text="say One two three four five six. Seven eight nine ten. Eleven twelve.")
    await scene.until(lambda told: any(isinstance(event, events.AudioChunk) and event.last for event in told))
    reply = await scene.ask("interrupt", heard_text="One two three")
    assert reply["heard"] == "One two three"
    await scene.ended(job_id) if scene.session.jobs.running else None
    interrupted = next(event for event in scene.told if isinstance(event, events.Interrupted))
    assert interrupted.heard == "One two three"
    await scene.until(lambda _: scene.script()[-1] == "[Robin]: One two three")
    lines = (await scene.ask("history_get"))["lines"]
    assert lines[-1]["content"] == "One two three"


async def test_interrupting_after_the_job_has_ended_trims_the_stored_line(scene: Scene) -> None:
    end, told = await scene.run("response", text="say One two three four five six seven eight.")
    assert end.success
    line = [event for event in told if isinstance(event, events.ContextAdded)][-1]
    reply = await scene.ask("interrupt", heard_ms=180)
    assert reply["interrupted"]
    changed = [event for event in scene.told if isinstance(event, events.ContextChanged)][-1]
    assert (changed.line_id, changed.content) == (line.line_id, reply["heard"].strip())
    assert line.content.startswith(reply["heard"].strip())
    assert not (await scene.ask("interrupt"))["interrupted"], "it is interrupted only once"


async def test_nothing_heard_leaves_no_line(scene: Scene) -> None:
    end, _ = await scene.run("response", text="say One two three four.")
    await scene.ask("interrupt", job_id=end.job_id, heard_ms=0)
    changed = [event for event in scene.told if isinstance(event, events.ContextChanged)][-1]
    assert changed.removed
    assert scene.script() == ["[User]: say One two three four."]


async def test_an_interrupt_with_nothing_playing_does_nothing(scene: Scene) -> None:
    assert await scene.ask("interrupt") == {"success": True, "interrupted": False}


async def test_only_the_players_reports_count(scene: Scene) -> None:
    scene.session.join(scene.caller, plays=True)
    other = Somebody(client_id="c2")
    scene.session.join(other, plays=True)
    end, _ = await scene.run("response", text="say One two three four five six seven eight nine ten.")
    report: dict[str, Any] = {"job_id": end.job_id, "index": 0, "ms": 100}
    assert (await scene.ask("audio_heard", caller=other, **report))["counted"] is False
    assert (await scene.ask("audio_heard", **report))["counted"] is True
    heard = (await scene.ask("interrupt"))["heard"]
    assert heard
    assert len(heard) < len("One two three four five six seven eight nine ten.")


# Order


async def test_speech_is_recognised_early_and_committed_in_order(scene: Scene) -> None:
    first = await scene.job("response", text="hang")
    await scene.until(lambda told: any(isinstance(event, events.TextChunk) for event in told))
    stage = await scene.stage(Role.STT)
    second = await scene.job("context_add", kind="audio", user="Ana", audio=b"hello you ", sr=8000, sw=1, ch=1)
    third = await scene.job("context_add", kind="chat", user="Bo", content="me too")
    await asyncio.wait_for(stage.transcribed.wait(), 60)
    assert scene.of(second) == [], "nothing of it is told before its turn"
    await scene.ask("cancel_job", job_id=first)
    await scene.ended(third)
    transcript = next(event for event in scene.of(second) if isinstance(event, events.Transcript))
    assert (transcript.user, transcript.content, transcript.final) == ("Ana", "hello you", True)
    assert scene.script()[-2:] == ["[Ana]: hello you", "[Bo]: me too"]


async def test_early_work_waits_behind_a_job_that_changes_what_it_reads(scene: Scene) -> None:
    stage = await scene.stage(Role.STT)
    first = await scene.job("response", text="hang")
    loading = await scene.job("operation_load", ops=[{"role": "stt", "id": "scripted"}])
    hearing = await scene.job("context_add", kind="audio", user="Ana", audio=b"hello ", sr=8000, sw=1)
    await scene.until(lambda told: any(isinstance(event, events.TextChunk) for event in told))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not stage.transcribed.is_set()
    await scene.ask("cancel_job", job_id=first)
    await scene.ended(loading)
    assert (await scene.ended(hearing)).success


async def test_a_repeated_command_id_does_nothing_again(scene: Scene) -> None:
    one, two = await asyncio.gather(
        scene.ask("context_add", kind="chat", user="Ana", content="once", command_id="x"),
        scene.ask("context_add", kind="chat", user="Ana", content="once", command_id="x"),
    )
    assert one == two
    await scene.ended(one["job_id"])
    again = await scene.ask("context_add", kind="chat", user="Ana", content="once", command_id="x")
    assert again == one
    assert scene.script() == ["[Ana]: once"]


async def test_a_refused_command_may_be_tried_again_under_its_id(scene: Scene) -> None:
    with pytest.raises(NotFound):
        await scene.ask("select_binding", binding_name="nobody", command_id="y")
    with pytest.raises(NotFound):
        await scene.ask("select_binding", binding_name="nobody", command_id="y")


async def test_a_turn_that_is_cancelled_before_it_began_leaves_no_line(scene: Scene) -> None:
    job_id = await scene.job("response", text="say Hello.")
    scene.session.jobs.cancel(job_id, "a test")  # nothing has run since its acknowledgement
    end = await scene.ended(job_id)
    assert end.error is not None
    assert end.error["code"] == "cancelled"
    assert not any(isinstance(event, events.ContextAdded) for event in scene.told)
    assert scene.script() == []
    assert await scene.greenroom.store.lines("main", 10) == []


async def test_lines_are_stored_in_the_order_in_which_they_are_told(scene: Scene) -> None:
    jobs = [await scene.job("response", text=f"say Answer {number}.") for number in range(3)]
    for job_id in jobs:
        await scene.ended(job_id)
    stored = await scene.greenroom.store.lines("main", 10)
    assert [line.line_id for line in stored] == [line.line_id for line in scene.session.context.lines]
    assert [line.content for line in stored[::2]] == [f"say Answer {number}." for number in range(3)]


async def test_a_turn_that_has_ended_leaves_nothing_for_the_garbage_collector(scene: Scene) -> None:
    """Full collections are rare here: whatever needs one stays in memory for minutes."""
    await scene.run("response", text="say one two.", include_audio=False)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await scene.run("response", text="say one two. three four.", include_audio=False)
        turns = [found for found in gc.get_objects() if isinstance(found, Turn)]
        assert len(turns) == 1, "the last one's playback may still be asked for"
    finally:
        gc.enable()


async def test_who_asks_faster_than_anybody_listens(scene: Scene) -> None:
    for _ in range(70):
        await scene.run("say", text="Word after word after word after word.")
    answer = await scene.ask("interrupt")
    assert answer["interrupted"] is True
    interrupted = [event for event in scene.told if isinstance(event, events.Interrupted)]
    assert 0 < len(interrupted) <= 65
