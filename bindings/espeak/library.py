"""espeak-ng through ctypes, from the espeakng-loader wheel: text -> PCM and word times, as they are made.

The library keeps one state for the whole process, so every call holds :data:`greenroom.bindings.threads.NATIVE_STATE`,
and each utterance sets all that it depends on. It is never terminated: another server may be using it.
"""

import ctypes as c
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from greenroom.bindings.threads import NATIVE_STATE
from greenroom.errors import BindingFailed, Unavailable

BUFFER_MS = 200
FIRST_CHUNK_MS = 60

_SYNCHRONOUS = 2
_NO_EXIT_ON_BAD_DATA = 0x8000
_UTF8 = 1
_END_PAUSE = 0x1000
_BY_CHARACTER = 1
_EVENT_LIST_END, _WORD, _SENTENCE, _END = 0, 1, 2, 5
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7


class _EventId(c.Union):
    _fields_ = (("number", c.c_int), ("name", c.c_char_p), ("string", c.c_char * 8))


class _Event(c.Structure):
    _fields_ = (
        ("type", c.c_int),
        ("unique_identifier", c.c_uint),
        ("text_position", c.c_int),
        ("length", c.c_int),
        ("audio_position", c.c_int),
        ("sample", c.c_int),
        ("user_data", c.c_void_p),
        ("id", _EventId),
    )


class _Voice(c.Structure):
    _fields_ = (
        ("name", c.c_char_p),
        ("languages", c.c_void_p),
        ("identifier", c.c_char_p),
        ("gender", c.c_ubyte),
        ("age", c.c_ubyte),
        ("variant", c.c_ubyte),
        ("reserved", c.c_ubyte),
        ("score", c.c_int),
        ("spare", c.c_void_p),
    )


_DICTIONARY = re.compile(r"^dictionary\s+(\S+)", re.MULTILINE)
_Callback = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_short), c.c_int, c.POINTER(_Event))


@dataclass(frozen=True, slots=True)
class NativeVoice:
    identifier: str
    """what the library loads: a path below its data folder"""
    name: str
    languages: tuple[tuple[int, str], ...]
    """(priority, lower is better; language code), the voice's own language first"""
    gender: str


@dataclass(frozen=True, slots=True)
class Manner:
    """How an utterance is spoken. ``voice``: a native identifier, with ``+variant`` or without."""

    voice: str
    rate: int = 175
    """words a minute"""
    pitch: int = 50
    pitch_range: int = 50
    volume: int = 100
    word_gap_ms: int = 0
    end_pause: bool = True
    """followed by the pause that its last punctuation asks for"""


@dataclass(frozen=True, slots=True)
class Word:
    offset: int
    """index of its first character"""
    length: int
    start_ms: float
    end_ms: float


Emit = Callable[[bytes | Word], bool]


class _Utterance:
    """Cuts leading silence, keeps the first chunk short, and turns the library's events into words."""

    def __init__(self, emit: Emit, sample_rate: int) -> None:
        self._emit = emit
        self._samples_per_ms = sample_rate / 1000
        self._first_bytes = 2 * (sample_rate * FIRST_CHUNK_MS // 1000)
        self._cut = 0
        self._made = 0
        self._sound_end = 0
        self._word: tuple[int, int, float] | None = None
        self._word_end = 0

    def chunk(self, pcm: bytes, events: Iterator[_Event]) -> bool:
        going_on = self._audio(pcm) if pcm else True
        for event in events:
            if event.type == _WORD:
                going_on = self._word_starts(event) and going_on
            elif event.type in (_SENTENCE, _END):
                going_on = self._word_ends(self._at(event)) and going_on
        return going_on

    def finish(self) -> None:
        self._word_ends(self._sound_end / self._samples_per_ms)

    def _audio(self, pcm: bytes) -> bool:
        first = self._made == 0
        if first:
            kept = pcm.lstrip(b"\0")
            silent_bytes = len(pcm) - len(kept)
            silent_bytes -= silent_bytes % 2
            pcm = pcm[silent_bytes:]
            self._cut += silent_bytes // 2
        sounding = (len(pcm.rstrip(b"\0")) + 1) // 2
        if sounding:
            self._sound_end = self._made + sounding
        self._made += len(pcm) // 2
        if not pcm:
            return True
        if not first:
            return self._emit(pcm)
        rest = pcm[self._first_bytes :]
        return self._emit(pcm[: self._first_bytes]) and (not rest or self._emit(rest))

    def _at(self, event: _Event) -> float:
        return float(max(0, event.sample - self._cut) / self._samples_per_ms)

    def _word_starts(self, event: _Event) -> bool:
        offset = event.text_position - 1
        if offset < self._word_end:  # another part of the same word: a number's digits, a foreign script's name
            return True
        at = self._at(event)
        going_on = self._word_ends(at)
        self._word = (offset, event.length, at)
        self._word_end = offset + max(1, event.length)
        return going_on

    def _word_ends(self, at: float) -> bool:
        if self._word is None:
            return True
        offset, length, start = self._word
        self._word = None
        end = max(start, min(at, self._sound_end / self._samples_per_ms))
        return self._emit(Word(offset, length, start, end))


class Library:
    """One loaded espeak-ng. Every method may block for the time of another's utterance: call it in a thread."""

    def __init__(self) -> None:
        """:raises Unavailable: without the wheel. :raises BindingFailed: if the library does not start."""
        library_path, data_path = _wheel_paths()
        try:
            self._native = c.CDLL(library_path)
        except OSError as error:
            raise BindingFailed(f"espeak-ng could not be loaded: {error}") from error
        self._data = Path(data_path)
        self._declare()
        self._callback = _Callback(self._on_chunk)
        self._utterance: _Utterance | None = None
        with NATIVE_STATE:
            self.sample_rate: int = self._native.espeak_Initialize(
                _SYNCHRONOUS, BUFFER_MS, data_path.encode(), _NO_EXIT_ON_BAD_DATA
            )
        if self.sample_rate <= 0:
            raise BindingFailed(
                f"espeak-ng does not start with its data in {data_path}; reinstall it: pip install -U espeakng-loader"
            )

    def voices(self) -> list[NativeVoice]:
        """Those that need no more than the wheel holds: no MBROLA voice, none whose dictionary was left out."""
        return [voice for voice in self._list(None) if not voice.identifier.startswith("mb") and self._speaks(voice)]

    def variants(self) -> list[NativeVoice]:
        """Timbres that any voice can be given."""
        wanted = c.create_string_buffer(b"variant")
        return self._list(_Voice(languages=c.cast(wanted, c.c_void_p)))

    def synthesize(self, text: str, manner: Manner, emit: Emit) -> None:
        """PCM (16 bit, mono) and words, in order, until done or ``emit`` returns ``False``. Text holds no NUL.

        :raises BindingFailed: if the voice does not load or the library refuses.
        """
        data = text.encode()
        flags = _UTF8 | (_END_PAUSE if manner.end_pause else 0)
        with NATIVE_STATE:
            self._set(manner)
            utterance = self._utterance = _Utterance(emit, self.sample_rate)
            self._native.espeak_SetSynthCallback(self._callback)
            try:
                status = self._native.espeak_Synth(data, len(data) + 1, 0, _BY_CHARACTER, 0, flags, None, None)
            finally:
                self._utterance = None
        if status != 0:
            raise BindingFailed(f"espeak-ng refused a text of {len(text)} characters (status {status})")
        utterance.finish()

    def _set(self, manner: Manner) -> None:
        if self._native.espeak_SetVoiceByName(manner.voice.encode()) != 0:
            raise BindingFailed(f"espeak-ng could not load its voice {manner.voice}")
        for parameter, value in (
            (_RATE, manner.rate),
            (_VOLUME, manner.volume),
            (_PITCH, manner.pitch),
            (_RANGE, manner.pitch_range),
            (_WORD_GAP, manner.word_gap_ms // 10),
        ):
            self._native.espeak_SetParameter(parameter, value, 0)

    def _on_chunk(self, samples: "c._Pointer[c.c_short]", count: int, events: "c._Pointer[_Event]") -> int:
        """Called by the library; other than 0 stops the synthesis."""
        if self._utterance is None:
            return 1
        pcm = c.string_at(samples, count * 2) if samples and count > 0 else b""
        return 0 if self._utterance.chunk(pcm, _until_end(events)) else 1

    def _speaks(self, voice: NativeVoice) -> bool:
        language = voice.languages[0][1].partition("-")[0] if voice.languages else ""
        if (self._data / f"{language}_dict").is_file():
            return True
        description = self._data / "lang" / voice.identifier
        named = _DICTIONARY.search(description.read_text(encoding="utf-8")) if description.is_file() else None
        return named is not None and (self._data / f"{named[1]}_dict").is_file()

    def _declare(self) -> None:
        native = self._native
        native.espeak_Initialize.argtypes = (c.c_int, c.c_int, c.c_char_p, c.c_int)
        native.espeak_SetSynthCallback.argtypes = (_Callback,)
        native.espeak_SetSynthCallback.restype = None
        native.espeak_SetVoiceByName.argtypes = (c.c_char_p,)
        native.espeak_SetParameter.argtypes = (c.c_int, c.c_int, c.c_int)
        native.espeak_Synth.argtypes = (
            c.c_char_p, c.c_size_t, c.c_uint, c.c_int, c.c_uint, c.c_uint, c.POINTER(c.c_uint), c.c_void_p,
        )  # fmt: skip
        native.espeak_ListVoices.argtypes = (c.POINTER(_Voice),)
        native.espeak_ListVoices.restype = c.POINTER(c.POINTER(_Voice))

    def _list(self, like: _Voice | None) -> list[NativeVoice]:
        found = []
        with NATIVE_STATE:
            listed = self._native.espeak_ListVoices(None if like is None else c.byref(like))
            index = 0
            while listed[index]:
                found.append(_native_voice(listed[index].contents))
                index += 1
        return found


def _wheel_paths() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise Unavailable(
            "espeak needs the package espeakng-loader, which has wheels for Linux, macOS and Windows on x86-64 and "
            "arm64; install with: pip install espeakng-loader"
        ) from error
    try:
        return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())
    except RuntimeError as error:
        raise BindingFailed(f"espeakng-loader is incomplete: {error}; reinstall it") from error


def _until_end(events: "c._Pointer[_Event]") -> Iterator[_Event]:
    index = 0
    while events and events[index].type != _EVENT_LIST_END:
        yield events[index]
        index += 1


def _native_voice(voice: _Voice) -> NativeVoice:
    gender = {1: "male", 2: "female"}.get(voice.gender, "")
    identifier = (voice.identifier or b"").decode(errors="replace")
    return NativeVoice(identifier, (voice.name or b"").decode(errors="replace").strip(), _languages(voice), gender)


def _languages(voice: _Voice) -> tuple[tuple[int, str], ...]:
    """A list of one priority byte and a C string each, ended by a priority of zero."""
    found: list[tuple[int, str]] = []
    at = voice.languages
    while at and (priority := c.string_at(at, 1)[0]):
        code = c.string_at(at + 1)
        found.append((priority, code.decode(errors="replace")))
        at += len(code) + 2
    return tuple(found)
