"""The recogniser as a program of its own: sound on standard input -> words on standard output.

pocketsphinx keeps Python's interpreter lock while it searches (60 ms for 400 ms of speech, and half a second at the end
of a long utterance), which would stop a server; and a fault in its C code would end one. One request, one answer:

    S                            start an utterance, forgetting an unfinished one -> ""
    A <rate, width, channels> PCM    -> what has been understood so far
    E                            end it -> the final text

Each is framed as one letter, the length (4 bytes, little-endian) and the payload; an answer's letter is T (text, UTF-8)
or X (a sentence that says what failed). The first answer comes unasked, when the model is loaded.
"""

import json
import math
import os
import signal
import struct
import sys
from array import array
from typing import IO, Any

from greenroom.bindings.pcm import MonoConverter
from greenroom.errors import GreenroomError
from greenroom.values import Audio

FRAME = struct.Struct("<cI")
AUDIO = struct.Struct("<IBB")
START, SOUND, END, TEXT, FAILED = b"S", b"A", b"E", b"T", b"X"

SAMPLE_RATE = 16_000
CUT_AFTER_S = 15
CUT_PAUSE_S = 0.3
LONGEST_S = 40
VAD_LOOSE = 1
AUDIBLE_SHARE = 0.1
STEADY_FRAMES = 10
STEADY_RANGE = 1.2
"""loudest tenth to softest tenth, in frames of 30 ms: white noise has 1.1, a hum 1.04, speech 1.35 and more"""


def write_frame(stream: IO[bytes], kind: bytes, payload: bytes = b"") -> None:
    stream.write(FRAME.pack(kind, len(payload)) + payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[bytes, bytes] | None:
    """``None``: the other side has gone."""
    head = stream.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    kind, length = FRAME.unpack(head)
    payload = stream.read(length)
    return None if len(payload) < length else (kind, payload)


class Listener:
    """One utterance at a time. A long one is cut at a pause, so that its search and its memory stay bounded.

    What the decoder learns of the voice and the room (the cepstral mean) is kept from one utterance to the next: it
    saves a third of the errors.
    """

    def __init__(self, model: dict[str, str]) -> None:
        import pocketsphinx

        self._decoder: Any = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL", **model)
        self._vad: Any = pocketsphinx.Vad(VAD_LOOSE, SAMPLE_RATE)
        self._running = False
        self.start()

    def start(self) -> None:
        if self._running:
            self._decoder.end_utt()
            self._running = False
        self._converter = MonoConverter(SAMPLE_RATE)
        self._heard: list[str] = []
        self._segment_bytes = 0
        self._unjudged = b""
        self._quiet_frames = 0
        self._levels: list[float] = []

    def feed(self, audio: Audio) -> str:
        pcm = self._converter.feed(audio)
        if pcm:
            if not self._running:
                self._decoder.start_utt()
                self._running = True
            self._decoder.process_raw(pcm)
            self._segment_bytes += len(pcm)
            self._judge(pcm)
            if self._should_cut():
                self._end_segment()
        return self._text(self._partial())

    def finish(self) -> str:
        self._end_segment()
        return self._text("")

    def _judge(self, pcm: bytes) -> None:
        data, size = self._unjudged + pcm, self._vad.frame_bytes
        whole = len(data) - len(data) % size
        for at in range(0, whole, size):
            frame = data[at : at + size]
            self._quiet_frames = 0 if self._vad.is_speech(frame) else self._quiet_frames + 1
            self._levels.append(_level(frame))
        self._unjudged = data[whole:]

    def _should_cut(self) -> bool:
        seconds = self._segment_bytes / (2 * SAMPLE_RATE)
        paused = self._quiet_frames * self._vad.frame_length >= CUT_PAUSE_S
        return seconds >= LONGEST_S or (seconds >= CUT_AFTER_S and paused)

    def _end_segment(self) -> None:
        if self._running:
            self._decoder.end_utt()
            self._running = False
            self._heard.append(self._hypothesis())
        self._segment_bytes = self._quiet_frames = 0
        self._levels.clear()

    def _partial(self) -> str:
        return self._hypothesis() if self._running else ""

    def _hypothesis(self) -> str:
        found = self._decoder.hyp()
        return found.hypstr if found and not is_steady(self._levels) else ""

    def _text(self, last: str) -> str:
        return " ".join(part for part in (*self._heard, last) if part)


def _level(frame: bytes) -> float:
    """Root mean square of 16 bit samples."""
    samples = array("h", frame)
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples))


def is_steady(levels: list[float]) -> bool:
    """Whether a sound's level stays the same wherever it can be heard, as a fan's does and speech's never."""
    threshold = max(levels, default=0) * AUDIBLE_SHARE
    audible = sorted(level for level in levels if level > threshold)
    tenth = len(audible) // 10
    return len(audible) >= STEADY_FRAMES and audible[-1 - tenth] < audible[tenth] * STEADY_RANGE


def answer(listener: Listener, kind: bytes, payload: bytes) -> str:
    if kind == START:
        listener.start()
        return ""
    if kind == SOUND:
        rate, width, channels = AUDIO.unpack_from(payload)
        return listener.feed(Audio(payload[AUDIO.size :], rate, width, channels))
    return listener.finish()


def serve(model: dict[str, str], requests: IO[bytes], answers: IO[bytes]) -> None:
    """Until the requests end."""
    try:
        listener = Listener(model)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        write_frame(answers, FAILED, f"pocketsphinx could not load its model: {error}".encode())
        return
    write_frame(answers, TEXT)
    while (request := read_frame(requests)) is not None:
        try:
            text = answer(listener, *request)
        except (GreenroomError, RuntimeError, ValueError) as error:
            write_frame(answers, FAILED, f"pocketsphinx could not go on: {error}".encode())
        else:
            write_frame(answers, TEXT, text.encode())


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the server ends this one itself
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what the library prints must not mix with the answers
        serve(json.loads(sys.argv[1]), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
