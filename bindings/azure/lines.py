"""Synthesisers of the SDK, each a line to the service that stays open between utterances.

ssml --Utterance in a thread--> bytes of PCM, Word, Viseme, in the order in which they come
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenroom.bindings.threads import Emit
from greenroom.errors import BindingFailed
from greenroom.values import Viseme

from .failures import Failures

if TYPE_CHECKING:
    from azure.cognitiveservices.speech import SpeechConfig

_TICKS_A_MS = 10_000
_MOST_IDLE = 4
_LAST_WORD_S = 10.0
"""the SDK's last callback comes within milliseconds; this only bounds a defect of it"""


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start_ms: float
    duration_ms: float


Item = bytes | Word | Viseme


class Line:
    """One at a time. Its callbacks run in the SDK's threads."""

    def __init__(self, config: "SpeechConfig", failures: Failures) -> None:
        import azure.cognitiveservices.speech as sdk

        self._sdk = sdk
        self._failures = failures
        self._emit: Emit[Item] | None = None
        self._speaking: Any = None
        self._stopping: Any = None
        self._over = threading.Event()
        self._failure: BindingFailed | None = None
        self.connected = threading.Event()
        self._synthesizer = sdk.SpeechSynthesizer(config, audio_config=None)
        self._connection = sdk.Connection.from_speech_synthesizer(self._synthesizer)
        self._signals: tuple[tuple[Any, Callable[[Any], None]], ...] = (
            (self._connection.connected, self._opened),
            (self._connection.disconnected, self._closed),
            (self._synthesizer.synthesizing, self._sounded),
            (self._synthesizer.synthesis_word_boundary, self._said),
            (self._synthesizer.viseme_received, self._shaped),
            (self._synthesizer.synthesis_completed, self._completed),
            (self._synthesizer.synthesis_canceled, self._canceled),
        )
        for signal, callback in self._signals:
            signal.connect(callback)

    def open(self) -> None:
        """Begin to connect; what goes wrong is said by the first utterance."""
        self._connection.open(True)

    def begin(self, ssml: str, emit: Emit[Item]) -> None:
        self._emit, self._failure, self._stopping = emit, None, None
        self._over.clear()
        self._speaking = self._synthesizer.speak_ssml_async(ssml)

    def stop(self) -> None:
        """At once, from any thread; the SDK closes the connection."""
        self._stopping = self._synthesizer.stop_speaking_async()

    def finish(self) -> None:
        """Blocks until nothing more comes. :raises BindingFailed: for what the service said."""
        self._speaking.get()
        if self._stopping is not None:
            self._stopping.get()
        self._over.wait(_LAST_WORD_S)
        self._emit = self._speaking = None
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Blocks until the connection is closed."""
        for signal, _ in self._signals:
            signal.disconnect_all()
        self._signals = ()
        # Freeing them closes the connection and waits for the service to agree: here, not on the event loop.
        del self._synthesizer, self._connection

    # callbacks

    def _opened(self, _: Any) -> None:
        self.connected.set()

    def _closed(self, _: Any) -> None:
        self.connected.clear()

    def _sounded(self, event: Any) -> None:
        if self._emit is not None and event.result.audio_data:
            self._emit(event.result.audio_data)

    def _said(self, event: Any) -> None:
        if self._emit is not None and event.boundary_type is self._sdk.SpeechSynthesisBoundaryType.Word:
            duration_ms = event.duration.total_seconds() * 1000
            self._emit(Word(event.text, event.audio_offset / _TICKS_A_MS, duration_ms))

    def _shaped(self, event: Any) -> None:
        if self._emit is not None:
            self._emit(Viseme(event.viseme_id, event.audio_offset / _TICKS_A_MS))

    def _completed(self, _: Any) -> None:
        self._over.set()

    def _canceled(self, event: Any) -> None:
        details = event.result.cancellation_details
        if details.reason is self._sdk.CancellationReason.Error:
            self._failure = self._failures.of_canceled(details)
        self._over.set()


class Lines:
    """As many as speak at once; a few stay open for the next utterance."""

    def __init__(self, make: Callable[[], Line]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Line] = []
        self._is_closed = False

    def warm(self, wait_s: float) -> None:
        """Open the first line, and wait a little for it."""
        line = self._make()
        line.open()
        line.connected.wait(wait_s)
        self.put(line)

    def take(self) -> Line:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._make()

    def put(self, line: Line) -> None:
        with self._lock:
            keep = not self._is_closed and len(self._idle) < _MOST_IDLE
            if keep:
                self._idle.append(line)
        if not keep:
            line.close()

    def close(self, wait_s: float) -> None:
        """Blocks up to ``wait_s`` until the idle ones are closed; those in use close themselves."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []

        def close_all() -> None:
            for line in idle:
                line.close()

        closing = threading.Thread(target=close_all, name="greenroom-azure-closing", daemon=True)
        closing.start()
        closing.join(wait_s)


class Utterance:
    """One text on one line: :meth:`run` in a thread, :meth:`stop` from anywhere."""

    def __init__(self, lines: Lines, ssml: str) -> None:
        self._lines = lines
        self._ssml = ssml
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._is_stopped = False

    def run(self, emit: Emit[Item]) -> None:
        """:raises BindingFailed: for what the service said."""
        line = self._lines.take()
        with self._lock:
            if not self._is_stopped:
                line.begin(self._ssml, emit)
                self._line = line
        try:
            if self._line is not None:
                line.finish()
        finally:
            with self._lock:
                self._line = None
                if self._is_stopped:
                    line.open()  # the next one finds it ready again
            self._lines.put(line)

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            if self._line is not None:
                self._line.stop()
