"""Packets: what python-socketio writes we read, what we write it reads, and what nobody should write is refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from fakes.socketio_packets import decode, encode
from greenroom.doors.socketio import wire
from greenroom.errors import BadRequest, GreenroomError, TooLarge

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=20)


@given(
    name=NAMES, value=JSON, blobs=st.lists(st.binary(max_size=20), max_size=4), ack=st.none() | st.integers(0, 10**9)
)
def test_reads_what_python_socketio_writes(name: str, value: Any, blobs: list[bytes], ack: int | None) -> None:
    data = {"value": value, "blobs": blobs} if blobs else {"value": value}
    text, attachments = encode(name, data, ack)
    header = wire.read_header(text)
    wire.check_size(header)
    assert header.ack_id == ack
    assert header.attachments == len(blobs)
    assert wire.parse_event(header.body, attachments if blobs else None) == (name, [data])
    assert header.event == name


@given(name=NAMES, value=JSON, blobs=st.lists(st.binary(max_size=20), max_size=4))
def test_python_socketio_reads_what_we_write(name: str, value: Any, blobs: list[bytes]) -> None:
    data = {"value": value, "blobs": [{"deep": blob} for blob in blobs]}
    encoded = wire.event_packet(name, wire.encode_body(data))
    assert decode(encoded.text, list(encoded.attachments)) == (name, data)
    assert encoded.size == len(encoded.text) + sum(map(len, blobs))


@given(text=st.text(max_size=60))
@settings(max_examples=300)
def test_any_text_is_a_packet_or_refused(text: str) -> None:
    try:
        header = wire.read_header(text)
        wire.check_size(header)
        wire.parse_event(header.body, [])
    except (wire.Malformed, GreenroomError):
        pass


def test_numbers_that_json_does_not_know_become_null() -> None:
    body = wire.encode_body({"volumes": [0.5, float("nan"), float("inf")], "audio": b"x", "when": {1, 2}})
    assert json.loads(body.text) == {
        "volumes": [0.5, None, None],
        "audio": {"_placeholder": True, "num": 0},
        "when": [1, 2],
    }
    assert body.attachments == (b"x",)


def test_lone_surrogates_survive() -> None:
    text = wire.encode_body({"text": "\ud800 ü"}).text
    assert text.isascii()
    assert json.loads(text) == {"text": "\ud800 ü"}


def test_packets_for_websockets_are_shared_and_for_polling_are_not() -> None:
    encoded = wire.event_packet("a", wire.encode_body({"audio": b"\x00\x01"}))
    first, second = encoded.fresh(), encoded.fresh()
    assert [packet.encode(b64=True) for packet in first] == [packet.encode(b64=True) for packet in second]
    assert encoded.shared[1].encode(b64=True) == b"\x00\x01", "nobody can change what all are sent"


@pytest.mark.parametrize("text", ["", "9", "x", "5[]", "51[]", "21-[]", "²"])
def test_malformed(text: str) -> None:
    with pytest.raises(wire.Malformed):
        wire.read_header(text)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        "[1]",
        "[null]",
        '[""]',
        '["a"',
        '["a",NaN]',
        '["a",1e999]',
        '["a",Infinity]',
        "[" * 100_000,
        '["' + "n" * 200 + '"]',
        '["a"' + ",1" * 20 + "]",
        '["a",' + "9" * 5000 + "]",
        '["a",{"k":' + "9" * 100 + "}]",
        '["a",' + "[" * 40 + "]" * 40 + "]",
        '["a",{' + ",".join(f'"{i}":1' for i in range(2000)) + "}]",
    ],
)
def test_bad_events(body: str) -> None:
    with pytest.raises((BadRequest, TooLarge)):
        wire.parse_event(body)


@pytest.mark.parametrize("num", ["1", "-1", "0.5", "true", '"0"', "null", "[]"])
def test_placeholders_name_what_was_sent(num: str) -> None:
    with pytest.raises(BadRequest):
        wire.parse_event(f'["a",{{"_placeholder":true,"num":{num}}}]', [b"x"])
    # without attachments it is an object like any other
    assert wire.parse_event(f'["a",{{"_placeholder":true,"num":{num}}}]')[1][0]["_placeholder"] is True


def test_sizes() -> None:
    with pytest.raises(TooLarge):
        wire.check_size(wire.read_header('2["say","' + "x" * wire.MAX_EVENT_CHARS + '"]'))
    wire.check_size(wire.read_header('2["context_add","' + "x" * wire.MAX_EVENT_CHARS + '"]'))
    with pytest.raises(TooLarge):
        wire.check_size(wire.read_header('55-["context_add"]'))
    with pytest.raises(wire.Malformed):
        wire.read_header('599999999999-["context_add"]')


@given(text=st.text("ab", max_size=8), sizes=st.lists(st.sampled_from([0, 125, 126, 65_535, 65_536]), max_size=3))
def test_frames_are_what_a_websocket_server_writes(text: str, sizes: list[int]) -> None:
    encoded = wire.Encoded(text, tuple(bytes(size) for size in sizes))
    wanted = [Frame(Opcode.TEXT, f"4{text}".encode()), *(Frame(Opcode.BINARY, bytes(size)) for size in sizes)]
    assert b"".join(encoded.frames) == b"".join(frame.serialize(mask=False) for frame in wanted)
