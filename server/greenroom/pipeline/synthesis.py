"""One sentence to sound: the voice, then the audio filters, into a channel that the sender reads.

    SpeechText -> TextToSpeech -> AudioFilter, ... -> Audio, ...      (word times go to the sentence's record)

Synthesis never waits for the sender: how much may lie ready is bounded by the number of sentences that are made ahead
and by their length, and a voice that holds a lock while it speaks must not be held up by a listener.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Any

from greenroom.bindings.roles import AudioFilter, TextToSpeech
from greenroom.pipeline.chain import closable, one, stacked, unstalled
from greenroom.pipeline.channel import Channel
from greenroom.pipeline.playback import SpokenSentence
from greenroom.values import Audio, SpeechText, WordTime

Extras = Callable[[], Awaitable[Mapping[str, Any]]]


class Synthesis:
    """One sentence on its way."""

    def __init__(self, sentence: SpokenSentence) -> None:
        self.sentence = sentence
        self.audio: Channel[Audio] = Channel()
        self.started_at = 0.0
        self.first_at = 0.0
        self.broken = False
        """it ended early: the sentence was not spoken to its end"""

    async def run(
        self, voice: TextToSpeech[Any], filters: Sequence[AudioFilter[Any]], stall_s: float, extras: Extras
    ) -> None:
        """:param extras: what filters say of the sentence, for a voice that wants it.

        :raises BindingFailed: if the voice goes silent for ``stall_s`` seconds or breaks.
        """
        self.started_at = monotonic()
        try:
            async with stacked(self._speak(voice, stall_s, extras), [item.apply for item in filters]) as stream:
                async for audio in stream:
                    if audio.pcm:
                        self.first_at = self.first_at or monotonic()
                        self.audio.send_nowait(audio)
        except BaseException:
            self.broken = True
            raise
        finally:
            self.audio.close()

    async def _speak(self, voice: TextToSpeech[Any], stall_s: float, extras: Extras) -> AsyncGenerator[Audio, None]:
        said = await extras() if voice.wants_extras else {}
        spoken = voice.speak(one(SpeechText(self.sentence.speech, extras=said)))
        async with aclosing(closable(spoken)) as stream:
            async for item in unstalled(stream, stall_s, "the voice"):
                if isinstance(item, WordTime):
                    self.sentence.words.append(item)
                else:
                    yield item
