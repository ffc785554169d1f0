"""A binding in a process of its own does what it would do in ours."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from fakes.binding_rig import Places
from fakes.isolation_rig import Rig, answer, asked, isolated, stream
from greenroom.bindings.roles import Effect, Unit
from greenroom.errors import BadRequest, BindingFailed, Busy, GreenroomError
from greenroom.session.access import reserved
from greenroom.values import (
    Audio,
    Ended,
    FinishReason,
    Role,
    SpeechText,
    TextChunk,
    TextDelta,
    ToolCall,
    Transcript,
    WordTime,
)


@pytest.fixture
async def rig() -> AsyncGenerator[Rig, None]:
    async with isolated(places=Places(secrets={("NAME", "http://host"): "s3cret"})) as rig:
        yield rig


async def test_every_role_in_one_child(rig: Rig) -> None:
    text = await rig.text()
    pid = int(await answer(text, "pid"))
    assert pid == rig.child().pid != os.getpid()
    assert await answer(text, "say one two") == "one two "
    assert text.keeps_formats
    async with aclosing(text.generate(asked("tool"))) as deltas:
        told = [delta async for delta in deltas]
    assert told == [
        TextDelta("thinking", thought=True),
        ToolCall("1", "look", {"where": ["up", 2.5, None]}),
        Ended(FinishReason.TOOL_CALLS, 30, 5, None, 2),
    ]
    assert await text.detokenize(await text.tokenize("héé")) == "héé"
    models = await type(text).models(text.options, rig.engines.place(rig.engines._shelf.get("apart")))
    assert [(model.name, model.description, model.size_bytes) for model in models] == [
        ("small", f"of process {pid}", 3)
    ]

    voice = (await rig.load(Role.TTS)).operation
    spoken = [item async for item in voice.speak(stream(SpeechText("hi"), SpeechText("ho")))]  # type: ignore[attr-defined]
    assert spoken[0] == WordTime("hi", 0.0, 1.5)
    assert spoken[3] == Audio("ho".encode("utf-16-le"), 8000)
    assert [one.name for one in await voice.voices()] == ["Anna"]  # type: ignore[attr-defined]

    upper = (await rig.load(Role.FILTER_TEXT)).operation
    assert (upper.unit, upper.effect) == (Unit.SENTENCE, Effect.ANNOTATE)  # type: ignore[attr-defined]
    chunks = [chunk async for chunk in upper.apply(stream(TextChunk("a", {"mood": 1}), TextChunk("bc")))]  # type: ignore[attr-defined]
    assert chunks == [TextChunk("A", {"mood": 1, "length": 1}), TextChunk("BC", {"length": 2})]

    backwards = (await rig.load(Role.FILTER_AUDIO)).operation
    assert [item async for item in backwards.apply(stream(Audio(b"abcd", 8000)))] == [Audio(b"dcba", 8000, 1)]  # type: ignore[attr-defined]

    vectors = await (await rig.load(Role.EMBEDDING)).operation.embed(["abc", ""])  # type: ignore[attr-defined]
    assert vectors.dtype == np.float32 and vectors.tolist() == [[3.0, 0.5], [0.0, 0.5]]
    assert rig.child().pid == pid


async def test_both_directions_at_once(rig: Rig) -> None:
    ear = (await rig.load(Role.STT)).operation
    assert ear.partials_grow  # type: ignore[attr-defined]
    pieces: asyncio.Queue[Audio | None] = asyncio.Queue()

    async def microphone() -> AsyncGenerator[Audio, None]:
        while (piece := await pieces.get()) is not None:
            yield piece

    heard = []
    pieces.put_nowait(Audio(bytes(10), 8000))
    async with aclosing(ear.transcribe(microphone(), "#")) as transcripts:  # type: ignore[attr-defined]
        async for transcript in transcripts:
            heard.append(transcript)
            if len(heard) < 3:
                pieces.put_nowait(Audio(bytes(10), 8000))
            elif len(heard) == 3:
                pieces.put_nowait(None)
    assert heard == [*(Transcript(f"#{10 * n}", final=False) for n in (1, 2, 3)), Transcript("#30")]


async def test_a_large_piece_of_sound(rig: Rig) -> None:
    backwards = (await rig.load(Role.FILTER_AUDIO)).operation
    pcm = os.urandom(3_000_001)
    for _ in range(2):
        (back,) = [item async for item in backwards.apply(stream(Audio(pcm, 8000)))]  # type: ignore[attr-defined]
        assert back.pcm == pcm[::-1]


async def test_a_filter_that_has_heard_enough(rig: Rig) -> None:
    """What it does not take is dropped, and the next stream begins clean on the same connection."""
    upper = (await rig.load(Role.FILTER_TEXT)).operation
    for _ in range(3):
        chunks = [TextChunk("a"), TextChunk("enough"), *(TextChunk("x" * 1000) for _ in range(2000))]
        told = [chunk.text async for chunk in upper.apply(stream(*chunks))]  # type: ignore[attr-defined]
        assert told == ["A", "ENOUGH"]


async def test_errors_keep_what_they_are(rig: Rig) -> None:
    text = await rig.text()
    with pytest.raises(Busy, match="come later") as busy:
        await answer(text, "busy")
    assert (busy.value.kind, busy.value.details, busy.value.retryable) == ("all_taken", {"places": 2}, True)
    with pytest.raises(BindingFailed, match="cut off") as cut:
        await answer(text, "cut")
    assert cut.value.retryable
    with pytest.raises(BindingFailed, match="apart failed: RuntimeError: the backend's own bug") as crash:
        await answer(text, "crash")
    assert not crash.value.retryable
    assert await answer(text, "say on") == "on "


async def test_half_a_surrogate_pair_crosses_both_ways(rig: Rig) -> None:
    """Clients send such text; JSON has a form for it, UTF-8 has none."""
    text = await rig.text()
    assert await answer(text, "say a\ud83d") == "a\ud83d "
    assert await text.detokenize(await text.tokenize("\udc00b")) == "\udc00b"
    with pytest.raises(BindingFailed, match="\ud83d"):
        await answer(text, "fail \ud83d")


async def test_options_are_checked_here_and_there(rig: Rig) -> None:
    with pytest.raises(BadRequest, match="option nonsense"):
        await rig.text(nonsense=1)
    with pytest.raises(BadRequest, match="there is no style 'odd'") as refused:
        await rig.text(style="odd")
    assert refused.value.details == {"field": "style"}
    assert await answer(await rig.text(style="loud"), "say on") == "ON "


async def test_the_inputs_own_failure_is_raised_to_the_consumer(rig: Rig) -> None:
    async def broken() -> AsyncGenerator[TextChunk, None]:
        yield TextChunk("a")
        raise LookupError("upstream")

    upper = (await rig.load(Role.FILTER_TEXT)).operation
    with pytest.raises(LookupError, match="upstream"):
        async for _ in upper.apply(broken()):  # type: ignore[attr-defined]
            pass
    assert [chunk.text async for chunk in upper.apply(stream(TextChunk("b")))] == ["B"]  # type: ignore[attr-defined]


async def test_a_secret_is_asked_of_the_parent(rig: Rig) -> None:
    assert await answer(await rig.text(), "secret") == "s3cret"


async def test_closing_a_stream_cancels_the_backend(rig: Rig) -> None:
    text = await rig.text()
    async with aclosing(text.generate(asked("hang"))) as deltas:
        assert await anext(deltas) == TextDelta("hanging ")
    await rig.heard("cancelled")


async def test_cancelling_the_consumers_task_cancels_the_backend(rig: Rig) -> None:
    text = await rig.text()
    began = asyncio.Event()

    async def consume() -> None:
        async with aclosing(text.generate(asked("hang"))) as deltas:
            async for _ in deltas:
                began.set()

    task = asyncio.create_task(consume())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rig.heard("cancelled")


async def test_cancelling_reaches_a_backend_that_takes_no_input(rig: Rig) -> None:
    ear = (await rig.load(Role.STT)).operation
    pieces = [Audio(bytes(100_000), 8000) for _ in range(50)]
    async with aclosing(ear.transcribe(stream(*pieces), "deaf")) as transcripts:  # type: ignore[attr-defined]
        await anext(transcripts)
    await rig.heard("cancelled")


async def test_a_stalled_reader_holds_up_the_backend_and_nobody_else(rig: Rig) -> None:
    text, voice = await rig.text(), (await rig.load(Role.TTS)).operation
    wanted = 6400  # 400 MiB
    async with aclosing(voice.speak(stream(SpeechText(str(wanted))))) as sounds:  # type: ignore[attr-defined]
        await anext(sounds)
        assert await answer(text, "say " + "word " * 5000) == "word " * 5000
        assert int(await answer(text, "produced")) * 65_536 <= 16 << 20
        assert sum([1 async for _ in sounds]) == wanted - 1


async def test_two_sessions_share_a_child_and_its_engine(rig: Rig) -> None:
    plain, loud = await rig.load(Role.T2T), await rig.load(Role.T2T, style="loud")
    async with (
        aclosing(plain.operation.generate(asked("hang"))) as hanging,  # type: ignore[attr-defined]
    ):
        await anext(hanging)
        said = await asyncio.gather(*(answer(one.operation, "say on") for one in (plain, loud) for _ in range(5)))
    assert said == ["on "] * 5 + ["ON "] * 5
    await plain.release()
    assert await answer(loud.operation, "say on") == "ON "
    await loud.release()
    await rig.heard("closed")
    assert rig._told.count("opened") == 1


async def test_a_binding_that_cannot_be_imported_here_is_described_by_its_process(rig: Rig) -> None:
    shelf = rig.engines._shelf
    assert shelf.get("heavy").operation(Role.T2T).Options.model_json_schema()["properties"]["size"]["maximum"] == 9
    fields = shelf.get("heavy").operation(Role.T2T).Options.model_fields
    assert fields["base_url"].json_schema_extra == {"access": "owner"}
    heavy = await rig.load(Role.T2T, "heavy", size=4)
    assert await answer(heavy.operation, "") == "large 4"
    with pytest.raises(BadRequest, match="size"):
        await rig.load(Role.T2T, "heavy", size=40)
    with pytest.raises(BadRequest, match="option nonsense"):
        await rig.load(Role.T2T, "heavy", nonsense=1)


async def test_a_jaison_operation_that_cannot_be_imported_here_has_its_settings_and_what_filters_said(rig: Rig) -> None:
    operation = rig.engines._shelf.get("jaison_apart").operation(Role.TTS)
    assert reserved(operation, {"tone": "high"}) == ["tone"]
    voice: Any = (await rig.load(Role.TTS, "jaison_apart", tone="high")).operation
    assert voice.wants_extras
    speech = SpeechText("hi", extras={"emotion": "joy"})
    assert [sound.pcm.decode("utf-16-le") async for sound in voice.speak(stream(speech))] == ["high joy hi "]
    with pytest.raises(BadRequest, match="refuses these settings"):
        await rig.load(Role.TTS, "jaison_apart", tone="shrill")


async def test_a_binding_that_is_not_isolated_stays_here() -> None:
    async with isolated({"apart": "none"}) as rig:
        assert await answer(await rig.text(), "pid") == str(os.getpid())
        assert rig.isolation.peers() == {}


async def test_what_does_not_load_says_so_in_both_places() -> None:
    async with isolated({"eliza": "process"}) as rig:
        with pytest.raises(GreenroomError, match="no role tts"):
            await rig.load(Role.TTS, "eliza")
