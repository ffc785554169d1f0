"""How late the chunks of a metronome's answer come."""

from benchmarks.plan import SPEED
from benchmarks.wire import Received

_LEAD_MS = 3000.0


class Lateness:
    """One listener's account, in milliseconds.

    Text is late against the time at which its word was due at the backend. Sound is late against the time at which the
    playback clock, counted from its first chunk, lets it go; what is sent ahead at the beginning cannot be late.
    """

    def __init__(self) -> None:
        self.text: list[float] = []
        self.sound: list[float] = []
        self.events = 0
        self._begin = 0.0
        self._words = 0
        self._first_audio = 0.0

    def heard(self, event: Received) -> None:
        self.events += 1
        if event.name == "text_chunk":
            chunk: str = event.data["chunk"]
            if not self._begin:
                self._begin = float(chunk.split(" ", 1)[0])
                self._take(event.at)
            for _ in range(chunk.count(" ")):
                self._take(event.at)
        elif event.name == "audio_chunk":
            if not self._first_audio:
                self._first_audio = event.at
            ahead_ms = event.data["t_ms"] - _LEAD_MS
            if ahead_ms > 0:
                self.sound.append((event.at - self._first_audio) * 1000 - ahead_ms)

    def _take(self, at: float) -> None:
        self.text.append((at - self._begin - self._words / SPEED) * 1000)
        self._words += 1
