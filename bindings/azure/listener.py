"""One recogniser of the SDK over one push stream; its events, from the SDK's threads, arrive on the event loop.

PCM at 16 kHz --Listener--> Heard ..., then Ended or BindingFailed
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from greenroom.errors import BindingFailed

from .failures import Failures

if TYPE_CHECKING:
    from azure.cognitiveservices.speech import SpeechConfig

SAMPLE_RATE = 16_000
_WHOLE_BYTES = SAMPLE_RATE * 2 // 100
"""the SDK waits for ever for the rest of a last millisecond that is not whole; ten of them are a frame"""


@dataclass(frozen=True, slots=True)
class Heard:
    """Text of the phrase that is being said; ``settled``: it will not change any more."""

    text: str
    settled: bool


class Ended:
    """Nothing more will be heard."""


Event = Heard | Ended | BindingFailed


class Listener:
    """Made ahead and connected, used once."""

    def __init__(self, config: "SpeechConfig", language: str, failures: Failures) -> None:
        import azure.cognitiveservices.speech as sdk

        self._sdk = sdk
        self._failures = failures
        self._stream = sdk.audio.PushAudioInputStream(sdk.audio.AudioStreamFormat(SAMPLE_RATE, 16, 1))
        self._recognizer = sdk.SpeechRecognizer(
            config, sdk.audio.AudioConfig(stream=self._stream), language=language or None
        )
        self._connection = sdk.Connection.from_recognizer(self._recognizer)
        self._tell: Callable[[Event], None] | None = None
        self._is_started = self._is_ended = False
        self.connected = threading.Event()
        self.is_broken = False
        """its connection was refused or is gone: the SDK would not start it any more"""
        self._bytes = 0
        self._signals: tuple[tuple[Any, Callable[[Any], None]], ...] = (
            (self._connection.connected, self._opened),
            (self._connection.disconnected, self._lost),
            (self._recognizer.recognizing, self._recognizing),
            (self._recognizer.recognized, self._recognized),
            (self._recognizer.canceled, self._canceled),
            (self._recognizer.session_stopped, self._stopped),
        )
        for signal, callback in self._signals:
            signal.connect(callback)

    def open(self) -> None:
        """Begin to connect."""
        self._connection.open(True)

    def start(self, phrases: Sequence[str], tell: Callable[[Event], None]) -> None:
        """Blocks a moment. ``phrases``: names and words that are likely to be said. ``tell`` is called by a thread."""
        if phrases:
            grammar = self._sdk.PhraseListGrammar.from_recognizer(self._recognizer)
            for phrase in phrases:
                grammar.addPhrase(phrase)
        self._tell = tell
        self._is_started = True
        self._recognizer.start_continuous_recognition_async().get()

    def write(self, pcm: bytes) -> None:
        """Hands it to the SDK's own queue: no waiting."""
        self._bytes += len(pcm)
        self._stream.write(pcm)

    def end(self) -> None:
        """No more sound comes; the last phrase follows."""
        if self._is_ended:
            return
        self._is_ended = True
        if rest := self._bytes % _WHOLE_BYTES:
            self._stream.write(bytes(_WHOLE_BYTES - rest))
        self._stream.close()

    def close(self) -> None:
        """Blocks until the connection is closed: many seconds, if the service has fallen silent."""
        self._tell = None
        if self._is_started:
            self.end()  # a service that waits for sound would keep the SDK waiting for ten seconds
            self._recognizer.stop_continuous_recognition_async().get()
        for signal, _ in self._signals:
            signal.disconnect_all()
        self._signals = ()
        # Freeing them closes the connection and waits for the service to agree: here, not on the event loop.
        del self._recognizer, self._connection, self._stream

    # callbacks

    def _opened(self, _: Any) -> None:
        self.connected.set()

    def _lost(self, _: Any) -> None:
        self.is_broken = True
        self.connected.clear()

    def _recognizing(self, event: Any) -> None:
        self._pass(Heard(event.result.text, settled=False))

    def _recognized(self, event: Any) -> None:
        if event.result.reason is self._sdk.ResultReason.RecognizedSpeech:  # else it heard no words
            self._pass(Heard(event.result.text, settled=True))

    def _canceled(self, event: Any) -> None:
        self.is_broken = True
        details = event.cancellation_details
        if details.reason is self._sdk.CancellationReason.Error:
            self._pass(self._failures.of_canceled(details))

    def _stopped(self, _: Any) -> None:
        self._pass(Ended())

    def _pass(self, event: Event) -> None:
        tell = self._tell
        if tell is not None:
            tell(event)


class Listeners:
    """Makes them, keeps one that is connected already for whoever speaks next, and closes them in the background."""

    def __init__(self, make: Callable[[], Listener]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._spare: Listener | None = None
        self._is_closed = False
        self._closing: set[threading.Thread] = set()

    def prepare(self, wait_s: float = 0.0) -> None:
        """Blocks a moment, and up to ``wait_s`` until the spare one is connected."""
        with self._lock:
            spare = self._spare
            if spare is None and not self._is_closed:
                spare = self._spare = self._make()
                spare.open()
        if wait_s and spare is not None:
            spare.connected.wait(wait_s)

    def take(self) -> Listener:
        """Blocks a moment. The spare one, if its connection stands; one that still connects is left to the next."""
        broken = None
        with self._lock:
            spare = self._spare
            if spare is not None and spare.is_broken:
                self._spare, broken = None, spare
            elif spare is not None and spare.connected.is_set():
                self._spare = None
                return spare
        if broken is not None:
            self.discard(broken)
        return self._make()

    def discard(self, listener: Listener) -> None:
        """Close it, without anybody waiting for that."""

        def close() -> None:
            listener.close()
            with self._lock:
                self._closing.discard(thread)

        thread = threading.Thread(target=close, name="greenroom-azure-closing", daemon=True)
        with self._lock:
            self._closing.add(thread)
        thread.start()

    def close(self, wait_s: float) -> None:
        """Blocks up to ``wait_s`` until all connections are closed."""
        with self._lock:
            self._is_closed = True
            spare, self._spare = self._spare, None
        if spare is not None:
            self.discard(spare)
        until = monotonic() + wait_s
        with self._lock:
            closing = list(self._closing)
        for thread in closing:
            thread.join(max(0.0, until - monotonic()))


class Mailbox:
    """From the SDK's threads to the one who listens on the event loop. At most a few events a second pass."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def tell(self, event: Event) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody listens
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next(self) -> Heard | Ended:
        """:raises BindingFailed: that was told."""
        event = await self._events.get()
        if isinstance(event, BindingFailed):
            raise event
        return event
