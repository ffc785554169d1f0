"""Whatever crosses arrives as it was."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom import errors
from greenroom.bindings.isolation import codec
from greenroom.bindings.isolation.address import Address
from greenroom.errors import BadRequest, BindingFailed, GreenroomError
from greenroom.rpc.failures import ApiError, structure_of
from greenroom.values import (
    Audio,
    Ended,
    FinishReason,
    Image,
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
    Viseme,
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
    st.builds(Ended, st.none() | st.sampled_from(FinishReason), *[st.none() | st.integers(min_value=0)] * 4),
    st.builds(TextChunk, texts, extras),
    st.builds(SpeechText, texts, texts, texts, extras),
    st.builds(
        WordTime,
        texts,
        numbers,
        numbers,
        st.integers(),
        st.lists(st.builds(Viseme, st.integers(), numbers), max_size=2).map(tuple),
    ),
    st.builds(Transcript, texts, st.booleans()),
)
prompts = st.builds(
    Prompt,
    system=texts,
    messages=st.lists(
        st.builds(
            Message,
            texts,
            texts,
            texts,
            texts,
            st.lists(calls, max_size=2).map(tuple),
            st.lists(st.builds(Image, texts, st.binary(max_size=9), texts), max_size=2).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    tools=st.lists(st.builds(ToolSpec, texts, texts, extras), max_size=2).map(tuple),
    raw=st.none() | texts,
    sampling=st.builds(
        Sampling, max_tokens=st.none() | st.integers(), temperature=st.none() | numbers, stop=st.lists(texts).map(tuple)
    ),
    persona=st.builds(Persona, name=texts, greetings=st.lists(texts, max_size=2).map(tuple), extras=extras),
    must_call=st.booleans(),
    response_format=st.none() | extras,
)
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GreenroomError)]


@given(st.lists(small, max_size=5))
def test_small_items(items: list[codec.SmallItem]) -> None:
    message = codec.items_message([codec.pack(item) for item in items])
    assert codec.Unpacker().feed(message) == items


@given(st.binary(max_size=64), st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 255))
def test_sound(pcm: bytes, rate: int, width: int, channels: int) -> None:
    audio = Audio(pcm, rate, width, channels)
    assert codec.Unpacker().feed(codec.audio_message(audio)) == [audio]


@given(st.lists(small | st.builds(Audio, st.binary(max_size=64), st.just(8000)), max_size=6), st.integers(1, 30))
def test_messages_that_were_split_or_joined_on_their_way(items: list[codec.Item], size: int) -> None:
    stream = b"".join(
        codec.audio_message(item) if isinstance(item, Audio) else codec.items_message([codec.pack(item)])
        for item in items
    )
    unpacker = codec.Unpacker()
    pieces = [unpacker.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
    assert [item for piece in pieces for item in piece] == items


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x01\x09x", b"\x00\x00\x00\x01\x01x", b"\x00\x00\x00\x01\x02x"])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(BindingFailed, match="sent what cannot be read"):
        codec.Unpacker().feed(data)


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


def crossed(error: GreenroomError) -> GreenroomError:
    """As the calls of :mod:`greenroom.rpc` carry it."""
    return ApiError("", error=json.loads(json.dumps(structure_of(error), default=str))).restore()


@given(st.sampled_from(ERRORS), texts, st.none() | texts.filter(bool), st.booleans(), st.none() | extras.filter(bool))
def test_errors(
    kind: type[GreenroomError], message: str, name: str | None, retryable: bool, details: dict[str, Any] | None
) -> None:
    error = kind(message, kind=name, details=details)
    error.retryable = retryable
    back = crossed(error)
    assert type(back) is kind
    assert (back.message, back.kind, back.retryable, back.details) == (error.message, error.kind, retryable, details)


def test_a_bindings_own_error_class_arrives_as_the_one_that_it_derives_from() -> None:
    class OutOfPaper(BindingFailed):
        pass

    back = crossed(OutOfPaper("no paper", retryable=True, details={"tray": object}))
    assert type(back) is BindingFailed and back.retryable and back.details is not None


def test_half_a_surrogate_pair_survives() -> None:
    assert codec.Unpacker().feed(codec.items_message([codec.pack(TextDelta("a\ud83d"))])) == [TextDelta("a\ud83d")]


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
