"""Whatever crosses arrives as it was."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom import errors
from greenroom.bindings.isolation import codec
from greenroom.bindings.isolation.handshake import Address
from greenroom.errors import BadRequest, BindingFailed, GreenroomError
from greenroom.values import (
    Audio,
    Message,
    Persona,
    Prompt,
    Sampling,
    SpeechText,
    TextChunk,
    TextDelta,
    ToolCall,
    ToolSpec,
    Transcript,
    WordTime,
)

texts = st.text(max_size=20)
numbers = st.floats(allow_nan=False) | st.integers()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
extras = st.dictionaries(texts, values, max_size=3)
calls = st.builds(ToolCall, texts, texts, extras)
small = st.one_of(
    st.builds(TextDelta, texts, st.booleans()),
    calls,
    st.builds(TextChunk, texts, extras),
    st.builds(SpeechText, texts, texts, texts),
    st.builds(WordTime, texts, numbers, numbers, st.integers()),
    st.builds(Transcript, texts, st.booleans()),
)
prompts = st.builds(
    Prompt,
    system=texts,
    messages=st.lists(
        st.builds(Message, texts, texts, texts, texts, st.lists(calls, max_size=2).map(tuple)), max_size=3
    ).map(tuple),
    tools=st.lists(st.builds(ToolSpec, texts, texts, extras), max_size=2).map(tuple),
    raw=st.none() | texts,
    sampling=st.builds(
        Sampling, max_tokens=st.none() | st.integers(), temperature=st.none() | numbers, stop=st.lists(texts).map(tuple)
    ),
    persona=st.builds(Persona, name=texts, greetings=st.lists(texts, max_size=2).map(tuple), extras=extras),
)
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GreenroomError)]


@given(st.lists(small, max_size=5))
def test_small_items(items: list[codec.SmallItem]) -> None:
    assert codec.decode_items(codec.encode_items(items)) == items


@given(st.binary(max_size=64), st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 255))
def test_sound(pcm: bytes, rate: int, width: int, channels: int) -> None:
    audio = Audio(pcm, rate, width, channels)
    assert codec.decode_audio(memoryview(codec.audio_head(audio) + audio.pcm)) == audio


@given(prompts)
def test_prompts(prompt: Prompt) -> None:
    assert codec.prompt_of(codec.decode_json(codec.encode_json(codec.prompt_fields(prompt)))) == prompt


@given(st.integers(0, 4), st.integers(1, 5), st.randoms(use_true_random=False))
def test_arrays(rows: int, columns: int, random: Any) -> None:
    array = np.array([[random.random() for _ in range(columns)] for _ in range(rows)], np.float32).reshape(
        rows, columns
    )
    back = codec.decode_array(memoryview(codec.encode_array(array)))
    assert back.dtype == np.float32 and back.shape == array.shape and (back == array).all()


@given(st.sampled_from(ERRORS), texts, st.none() | texts.filter(bool), st.booleans(), st.none() | extras.filter(bool))
def test_errors(
    kind: type[GreenroomError], message: str, name: str | None, retryable: bool, details: dict[str, Any] | None
) -> None:
    error = kind(message, kind=name, details=details)
    error.retryable = retryable
    back = codec.decode_error(codec.encode_error(error))
    assert type(back) is kind
    assert (back.message, back.kind, back.retryable, back.details) == (error.message, error.kind, retryable, details)


def test_a_bindings_own_error_class_arrives_as_the_one_that_it_derives_from() -> None:
    class OutOfPaper(BindingFailed):
        pass

    back = codec.decode_error(codec.encode_error(OutOfPaper("no paper", retryable=True, details={"tray": object})))
    assert type(back) is BindingFailed and back.retryable and back.details is not None


def test_half_a_surrogate_pair_survives() -> None:
    assert codec.decode_items(codec.encode_items([TextDelta("a\ud83d")])) == [TextDelta("a\ud83d")]


def test_what_no_stream_carries_is_refused() -> None:
    with pytest.raises(TypeError, match="a dict is nothing"):
        codec.pack({})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["unix:/run/x", "http://127.0.0.1:80", "https://[::1]:9610"])
def test_addresses(text: str) -> None:
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["", "process", "unix:", "ftp://host:1", "http://", "http://host:port"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(BadRequest, match=r"wanted http\(s\)"):
        Address.parse(text)
