"""Decoders of streams under every way of cutting what they read."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.openai_script import speech_pcm, wav_header
from greenroom.bindings import server_events
from greenroom.bindings.wav import SoundFramer, WavReader
from greenroom.errors import BindingFailed

STREAM = (
    b": hello\n\nevent: x\ndata: one\n\ndata:two\r\n\r\nid: 3\rdata: three\rdata: more\r\r\n"
    b"data: f\xc3\xbcnf\n\n\n\ndata\n\nretry: 4\n\ndata:  six\n\n"
)
EVENTS = [b"one", b"two", b"three\nmore", b"f\xc3\xbcnf", b" six"]
cuts = st.lists(st.integers(0, 20_000), max_size=30)


def cut(data: bytes, at: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return (data[begin:end] for begin, end in itertools.pairwise(places))


@given(cuts)
def test_events_are_the_same_however_they_are_cut(at: list[int]) -> None:
    decoder = server_events.EventDecoder()
    found = [event for piece in cut(STREAM, at) for event in decoder.feed(piece)]
    assert found + decoder.end() == EVENTS


def test_an_event_without_its_last_line_end() -> None:
    decoder = server_events.EventDecoder()
    assert decoder.feed(b"data: [DONE]") == [] and decoder.end() == [b"[DONE]"]


def test_an_event_without_end_is_refused() -> None:
    decoder = server_events.EventDecoder()
    decoder.feed(b"data: " + b"x" * server_events.MAX_EVENT_BYTES)
    with pytest.raises(BindingFailed, match="too large"):
        decoder.feed(b"x")


PCM = speech_pcm("Cut me.")


@given(cuts)
def test_speech_is_the_same_however_it_is_cut(at: list[int]) -> None:
    framer = SoundFramer(False, 24_000)
    sounds = [sound for piece in cut(PCM, at) for sound in framer.feed(piece)] + framer.end()
    assert b"".join(sound.pcm for sound in sounds) == PCM
    assert all(len(sound.pcm) % 2 == 0 for sound in sounds)


@given(cuts, st.booleans())
def test_a_wav_is_the_same_however_it_is_cut(at: list[int], says_its_length: bool) -> None:
    header = wav_header(len(PCM)) if says_its_length else wav_header()
    file = header + PCM + (b"LIST\4\0\0\0more" if says_its_length else b"")
    framer = SoundFramer(True, 8_000)
    sounds = [sound for piece in cut(file, at) for sound in framer.feed(piece)] + framer.end()
    assert b"".join(sound.pcm for sound in sounds) == PCM
    assert {sound.sample_rate for sound in sounds} == {24_000}


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (b"ID3\4" + bytes(20), "no WAV"),
        (wav_header()[:12] + b"data\0\0\0\0", "does not say its format"),
        (wav_header()[:12] + b"junk\xff\xff\xff\x7f", "broken header"),
        (wav_header()[:12] + b"fmt \4\0\0\0\1\0\1\0" + bytes(8), "broken header"),
        (wav_header().replace(b"fmt \x10\0\0\0\1\0", b"fmt \x10\0\0\0\3\0") + bytes(8), "unknown kind"),
    ],
)
def test_headers_that_cannot_be_read(header: bytes, sentence: str) -> None:
    with pytest.raises(BindingFailed, match=sentence):
        WavReader().feed(header)
