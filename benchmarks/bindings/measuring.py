"""One voice or one ear, measured in a process of its own: so that its memory is its own, and a crash too."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import psutil

from benchmarks.figures import percentile
from greenroom.bindings.engines import LoadedOperation
from greenroom.bindings.programs import Programs
from greenroom.commandline.local import Local
from greenroom.values import Audio, Role, SpeechText

SENTENCE: Final = "The kettle sings, and somebody opens the door to the garden."
STORY: Final = (
    "Once there was a lamp that nobody had lit for years. It stood in a window above the sea, and the gulls knew it "
    "well. One evening a child came up the stairs with a match in her hand, and the whole bay turned to look."
)
HEARD: Final = (
    "the quick brown fox jumps over the lazy dog",
    "she opened the door and looked into the garden",
    "please turn on the light in the kitchen",
    "there is nothing to be afraid of",
)
CALLS: Final = 10
PIECE_MS: Final = 100
PATIENCE_S: Final = 300


@dataclass(slots=True)
class Measured:
    """Times in milliseconds, memory in MiB, ``realtime`` seconds of work for one second of sound."""

    binding: str
    role: str
    problem: str = ""
    load_ms: float = 0
    first_ms: float = 0
    """tts: from the text to the first sound; stt: from the first sound to the first word"""
    warm: float = 0
    """the first call after loading, as a multiple of the tenth"""
    final_ms: float = 0
    """stt: from the last sound to the transcript"""
    realtime: float = 0
    memory_mib: float = 0
    word_errors: float = 0
    """stt: share of the words that came out wrong"""
    details: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        return asdict(self)


async def measure(local: Local, role: Role, binding_id: str, options: dict[str, Any], speech: list[Audio]) -> Measured:
    """:raises GreenroomError: if it cannot be opened or fails. ``speech``: what an ear is to hear, as ``HEARD``."""
    from greenroom.bindings.engines import Engines

    programs = Programs(local.home.logs)
    engines = Engines(local.bindings_here(), local.places(lambda: programs))
    before = _memory()
    try:
        begin = time.perf_counter()
        loaded = await engines.load(binding_id, role, options)
        found = Measured(binding_id, str(role), load_ms=_since(begin))
        async with asyncio.timeout(PATIENCE_S):
            if role is Role.TTS:
                await _speak(loaded, found)
            else:
                await _listen(loaded, found, speech)
        found.memory_mib = (_memory() - before) / 1048576
        await loaded.release()
        return found
    finally:
        await engines.close()
        await programs.close()


def _memory() -> int:
    """Bytes resident, with all that it started."""
    process = psutil.Process()
    total = process.memory_info().rss
    for child in process.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return int(total)


def _since(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000


async def _one(text: str) -> AsyncIterator[SpeechText]:
    yield SpeechText(text)


async def _said(operation: Any, text: str) -> tuple[float, float, float]:
    """-> milliseconds to the first sound and to the last, seconds of sound"""
    begin = time.perf_counter()
    first, seconds = 0.0, 0.0
    async with aclosing(operation.speak(_one(text))) as sounds:
        async for sound in sounds:
            if isinstance(sound, Audio):
                first = first or _since(begin)
                seconds += sound.duration_ms / 1000
    return first, _since(begin), seconds


async def _speak(loaded: LoadedOperation, found: Measured) -> None:
    firsts = [(await _said(loaded.operation, SENTENCE))[0] for _ in range(CALLS)]
    found.first_ms = percentile(firsts, 0.5)
    found.warm = firsts[0] / firsts[-1] if firsts[-1] else 0
    _, whole, seconds = await _said(loaded.operation, STORY)
    found.realtime = whole / 1000 / seconds if seconds else 0


async def _pieces(sound: Audio, *, live: bool, ended: list[float]) -> AsyncIterator[Audio]:
    size = sound.sample_rate * PIECE_MS // 1000 * sound.frame_bytes
    begin = time.perf_counter()
    for number, start in enumerate(range(0, len(sound.pcm), size)):
        if live:  # a piece is there when it has been said
            await asyncio.sleep(max(0.0, begin + (number + 1) * PIECE_MS / 1000 - time.perf_counter()))
        yield Audio(sound.pcm[start : start + size], sound.sample_rate)
    ended.append(time.perf_counter())


async def _listen(loaded: LoadedOperation, found: Measured, speech: list[Audio]) -> None:
    operation: Any = loaded.operation
    ended: list[float] = []
    begin = time.perf_counter()
    async with aclosing(operation.transcribe(_pieces(speech[0], live=True, ended=ended), "")) as heard:
        async for transcript in heard:
            if transcript.text and not found.first_ms:
                found.first_ms = _since(begin)
    found.final_ms = (time.perf_counter() - ended[0]) * 1000
    wrong, words, worked, seconds = 0, 0, 0.0, 0.0
    for text, sound in zip(HEARD, speech, strict=True):
        begin = time.perf_counter()
        last = ""
        async with aclosing(operation.transcribe(_pieces(sound, live=False, ended=[]), "")) as heard:
            async for transcript in heard:
                last = transcript.text
        worked += time.perf_counter() - begin
        seconds += sound.duration_ms / 1000
        wrong += _word_errors(text, "".join(c for c in last.lower() if c.isalnum() or c.isspace()))
        words += len(text.split())
    found.realtime = worked / seconds
    found.word_errors = wrong / words


def _word_errors(said: str, heard: str) -> int:
    reference, hypothesis = said.split(), heard.split()
    row = list(range(len(hypothesis) + 1))
    for count, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], count
        for index, other in enumerate(hypothesis, 1):
            diagonal, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, diagonal + (word != other))
    return row[-1]
