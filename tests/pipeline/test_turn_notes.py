"""What filters say of a sentence, where both the display and the voice wait for it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

from greenroom.bindings.roles import Effect, Unit
from greenroom.pipeline.turn import Turn, TurnParts, TurnSettings
from greenroom.protocol import events
from greenroom.values import Audio, ModelOutput, SpeechText, TextChunk, TextDelta

SILENCE = Audio(b"\0\0" * 80, 8000)


async def test_an_audio_filter_that_gives_up_on_the_voice_leaves_the_notes_to_the_sentence() -> None:
    asked, gate = asyncio.Event(), asyncio.Event()
    told: list[events.Event] = []

    async def annotate(text: AsyncIterator[TextChunk]) -> AsyncGenerator[TextChunk, None]:
        async for chunk in text:
            asked.set()
            await gate.wait()
            yield TextChunk(chunk.text, {"mood": "fine"})

    async def speak(text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio, None]:
        async for _ in text:
            yield SILENCE

    async def give_up(sounds: AsyncGenerator[Audio, None]) -> AsyncGenerator[Audio, None]:
        waiting = asyncio.ensure_future(anext(sounds))
        await asked.wait()
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        gate.set()
        yield SILENCE

    async def deltas() -> AsyncGenerator[ModelOutput, None]:
        yield TextDelta("Hello.")

    async def on_text(text: str) -> None:
        assert text == "Hello."

    turn = Turn(
        job_id="j",
        emit=told.append,
        parts=TurnParts(
            voice=cast(Any, SimpleNamespace(wants_extras=True, speak=speak)),
            text_filters=[cast(Any, SimpleNamespace(effect=Effect.ANNOTATE, unit=Unit.SENTENCE, apply=annotate))],
            audio_filters=[cast(Any, SimpleNamespace(apply=give_up))],
        ),
        settings=TurnSettings(audio_lead_ms=0),
        on_text=on_text,
        on_sentence=lambda: None,
        started=0.0,
    )
    async with asyncio.timeout(10):
        await turn.run(deltas())
    assert [event.extras for event in told if isinstance(event, events.Sentence)] == [{"mood": "fine"}]
    assert [event.last for event in told if isinstance(event, events.AudioChunk)] == [True]
