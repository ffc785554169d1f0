"""A whole answer, gathered from its events: text and voice."""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from greenroom.client.received import Missed, Received
from greenroom.client.wav import WavWriter
from greenroom.protocol import events
from greenroom.values import Audio


@dataclass(slots=True)
class Answer:
    text: str = ""
    sentences: list[events.Sentence] = field(default_factory=list)
    transcript: str = ""
    """what was understood of speech that was sent"""
    results: list[dict[str, object]] = field(default_factory=list)
    """of a job that has no events of its own"""
    interrupted: events.Interrupted | None = None
    timing: dict[str, float] = field(default_factory=dict)
    finish_reason: str = ""
    """why the model stopped (``stop``, ``length`` ...); empty where its backend does not tell"""
    usage: dict[str, int] = field(default_factory=dict)
    """``prompt_tokens``, ``completion_tokens`` and more, as far as the backend tells"""
    complete: bool = True
    """False: some of the voice (or more) did not come through"""
    _pcm: bytearray = field(default_factory=bytearray)
    _format: tuple[int, int, int] | None = None

    def add(self, received: Received) -> None:
        self.text += received.text
        if (voice := received.voice) is not None:
            self._add_voice(voice)
        if isinstance(received.event, events.TextGenerated | events.JobFinished):
            self.finish_reason = received.event.finish_reason or self.finish_reason
            self.usage = dict(received.event.usage or self.usage)
        match received.event:
            case events.TextGenerated(text=text):
                self.text = text
            case events.Sentence() as sentence:
                self.sentences.append(sentence)
            case events.Transcript(content=content, final=True):
                self.transcript = f"{self.transcript} {content}".strip()
            case events.JobProgress(result=result):
                self.results.append(dict(result))
            case events.Interrupted() as interrupted:
                self.interrupted = interrupted
            case events.JobFinished(timing=timing) if timing:
                self.timing = dict(timing)
            case events.AudioDropped() | Missed():
                self.complete = False

    @property
    def voice(self) -> Audio | None:
        """All that was sent, as one piece; ``None`` if it was silent."""
        if self._format is None:
            return None
        rate, width, channels = self._format
        return Audio(bytes(self._pcm), rate, width, channels)

    @property
    def wav(self) -> bytes:
        """The voice as a WAV file; empty if it was silent."""
        target = BytesIO()
        voice = self.voice
        if voice is None:
            return b""
        with WavWriter(target) as writer:
            writer.write(voice)
        return target.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the voice as a WAV file (an empty file if it was silent). :raises OSError: as writing does."""
        Path(path).write_bytes(self.wav)

    def _add_voice(self, voice: Audio) -> None:
        form = (voice.sample_rate, voice.sample_width, voice.channels)
        if self._format is None:
            self._format = form
        if self._format == form:
            self._pcm += voice.pcm
        else:  # a second voice spoke in another format: one piece can hold only the first
            self.complete = False
