"""One live recording -> the text so far, again and again, at a bounded cost.

    sound ... | settled: heard for good | unsettled: at most one window, heard anew whenever the model is idle |

The window of Whisper is 30 s, and a shorter one costs as much. So what was said is heard in stretches that fill up most
of a window: once speech has begun that no longer fits into it, the stretch before is settled. Cuts are made in pauses,
and where voice activity is not looked for, between the model's own phrases.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from greenroom.bindings.pcm import MonoConverter
from greenroom.values import Audio

from .recognizer import SAMPLE_RATE, How, Phrase, Recognizer, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BYTES: Final = 2
_SHORTEST: Final = SAMPLE_RATE // 10
_KEPT_SILENCE: Final = SAMPLE_RATE
_VAD_FRAME: Final = 512
"""what is dropped in whole frames leaves the cuts where they were"""
_LONG_PAUSE: Final = SAMPLE_RATE
_LOOK: Final = 2
"""windows looked at for pauses at once"""
_SURE: Final = 0.6
_SURE_AFTER: Final = 2 * SAMPLE_RATE
_FULL_SCALE: Final = 32768


@dataclass(frozen=True, slots=True)
class _Stretch:
    span: Span
    rest: int
    """sample from which on the sound comes after it"""
    is_settled: bool


class Listening:
    """:param window_s: the longest stretch; :param finds_speech: look for voice activity before the model listens"""

    def __init__(self, recognizer: Recognizer, how: How, *, window_s: float, finds_speech: bool) -> None:
        self._recognizer = recognizer
        self._how = how
        self._window = round(window_s * SAMPLE_RATE)
        self._finds_speech = finds_speech
        self._converter = MonoConverter(SAMPLE_RATE)
        self._pcm = bytearray()
        """16 bit mono that is not settled yet"""
        self._settled: list[str] = []
        self._looked_at = 0
        self._dropped = 0
        """samples before the unsettled ones"""
        self._heard: tuple[Span, str] | None = None
        """the last stretch that was heard but not settled, in samples of the whole recording"""
        self._arrival = asyncio.Event()
        self.has_ended = False

    async def collect(self, audio: AsyncIterator[Audio]) -> None:
        """Take in everything. :raises BadRequest: for what is no sound."""
        try:
            async for piece in audio:
                self._pcm += await asyncio.to_thread(self._converter.feed, piece)
                self._arrival.set()
        finally:
            self.has_ended = True
            self._arrival.set()

    async def more(self, every_s: float) -> bool:
        """Wait until there is something new to listen to and nobody else is waiting for the model.

        Not before ``every_s`` have passed; 0: not before the window is full. ``False``: all sound is there.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + every_s
        while not self.has_ended:
            fresh, wait_s = self._total - self._looked_at, due - loop.time()
            is_due = bool(every_s) and wait_s <= 0 and fresh >= _SHORTEST and not self._recognizer.is_busy
            if is_due or (len(self._pcm) // _BYTES > self._window and fresh >= SAMPLE_RATE):
                return True
            self._arrival.clear()
            try:
                async with asyncio.timeout(wait_s if every_s and wait_s > 0 else None):
                    await self._arrival.wait()
            except TimeoutError:
                continue
        return False

    @property
    def _total(self) -> int:
        return self._dropped + len(self._pcm) // _BYTES

    async def listen(self) -> str:
        """Hear the next stretch, settle it if that can be. -> all of the text so far"""
        self._looked_at = self._total
        stretch = await self._next_stretch()
        if stretch is None:
            return self._text()
        text = await self._hear(stretch)
        if stretch.is_settled:
            self._settled.append(text)
            return self._text()
        return self._text(text)

    @property
    def is_done(self) -> bool:
        """All is settled."""
        return self.has_ended and len(self._pcm) < _BYTES

    def _text(self, unsettled: str = "") -> str:
        return " ".join(filter(None, (*self._settled, unsettled)))

    def _samples(self) -> "NDArray[np.float32]":
        import numpy as np

        looked_at = self._pcm[: _LOOK * self._window * _BYTES]
        return np.frombuffer(bytes(looked_at), "<i2").astype(np.float32) / np.float32(_FULL_SCALE)

    async def _next_stretch(self) -> _Stretch | None:
        """``None``: there is nothing to hear in the sound that has come."""
        samples = self._samples()
        is_all = self.has_ended and len(samples) == len(self._pcm) // _BYTES
        if len(samples) < _SHORTEST or not samples.any():
            self._drop(len(samples) if is_all or len(samples) > _KEPT_SILENCE else 0)
            return None
        if not self._finds_speech:
            end = min(len(samples), self._window)
            return _Stretch(Span(0, end), end, is_all and end == len(samples))
        spans = await self._recognizer.speech(samples, self._window / SAMPLE_RATE)
        if not spans:
            self._drop(len(samples) if is_all else max(0, len(samples) - _KEPT_SILENCE))
            return None
        quiet = max(0, spans[0].start - _KEPT_SILENCE) // _VAD_FRAME * _VAD_FRAME
        self._drop(quiet)
        spans = [Span(span.start - quiet, span.end - quiet) for span in spans]
        samples = samples[quiet:]
        start, end, rest = spans[0].start, spans[0].end, len(samples)
        for span in spans[1:]:
            if span.end - start > self._window:
                rest = (end + span.start) // 2
                break
            end = span.end
        if rest == len(samples) > start + self._window and len(samples) - end > _LONG_PAUSE:
            rest = end + _LONG_PAUSE // 2
        return _Stretch(Span(start, end), rest, rest < len(samples) or is_all)

    async def _hear(self, stretch: _Stretch) -> str:
        """Its text; of one that is settled the sound is let go."""
        place = Span(self._dropped + stretch.span.start, self._dropped + stretch.span.end)
        if self._heard is not None and self._heard[0] == place and stretch.is_settled:
            self._drop(stretch.rest)
            return self._heard[1]
        samples = self._samples()[stretch.span.start : stretch.span.end]
        phrases: list[Phrase] = []
        async with aclosing(self._recognizer.hear(samples, self._how)) as heard:
            async for phrase in heard:
                phrases.append(phrase)
        self._learn_language(phrases, len(samples))
        if stretch.is_settled:
            self._drop(stretch.rest)
        elif not self._finds_speech and len(samples) >= self._window:
            phrases = self._settle_phrases(phrases, len(samples))
        text = _joined(phrases)
        self._heard = None if stretch.is_settled else (place, text)
        return text

    def _settle_phrases(self, phrases: list[Phrase], count: int) -> list[Phrase]:
        """Of a full window in which no pause was looked for, all but the last phrase is settled. -> what is left"""
        last = phrases[-1:] if len(phrases) > 1 else []
        begins = round(last[0].start_s * SAMPLE_RATE) if last else count
        if not count // 2 < begins < count:
            last, begins = [], count
        self._settled.append(_joined(phrases[: len(phrases) - len(last)]))
        self._drop(begins)
        return last

    def _learn_language(self, phrases: list[Phrase], samples: int) -> None:
        """Finding it out takes as long as hearing: once a recording is enough."""
        if phrases and not self._how.language and samples >= _SURE_AFTER and phrases[0].language_probability >= _SURE:
            self._how = replace(self._how, language=phrases[0].language)

    def _drop(self, samples: int) -> None:
        del self._pcm[: samples * _BYTES]
        self._dropped += samples


def _joined(phrases: list[Phrase]) -> str:
    return " ".join(text for phrase in phrases if (text := phrase.text.strip()))
