"""What one frame may be, whatever stands in an event."""

import base64
import json
from typing import Any

import pytest

from greenroom.doors.broadcast import frames
from greenroom.doors.broadcast.frames import MAX_FRAME_CHARS, Frame, Part
from greenroom.doors.broadcast.translation import Translation
from greenroom.protocol import events
from greenroom.values import Access


def told(found: list[Frame]) -> list[dict[str, Any]]:
    assert all(len(frame.text) <= MAX_FRAME_CHARS for frame in found)
    return [json.loads(frame.text)[0]["response"] for frame in found]


@pytest.mark.parametrize(("sw", "ch"), [(1, 1), (2, 1), (2, 2), (3, 1), (4, 2), (2, 5), (3, 7)])
def test_each_piece_of_sound_is_whole_frames_and_decodes_alone(sw: int, ch: int) -> None:
    pcm = bytes(range(256)) * 35 * sw * ch
    pieces = list(frames.spoken("response", "j", pcm, 24_000, sw, ch))
    heard = b""
    for response in told(pieces):
        result = response["result"]
        assert list(response) == ["job_id", "finished", "result"]
        assert list(result) == ["audio_bytes", "sr", "sw", "ch"]
        assert (result["sr"], result["sw"], result["ch"]) == (24_000, sw, ch)
        piece = base64.b64decode(result["audio_bytes"], validate=True)
        assert len(result["audio_bytes"]) <= 4096 and len(piece) % (sw * ch) == 0
        heard += piece
    assert heard == pcm
    for frame in pieces:
        assert frame.text == json.dumps(json.loads(frame.text))


def test_sound_is_cut_every_4096_characters() -> None:
    lengths = [
        len(response["result"]["audio_bytes"])
        for response in told(list(frames.spoken("response", "j", bytes(3072 * 2 + 6), 24_000, 2, 1)))
    ]
    assert lengths == [4096, 4096, 8]


def chunk(pcm: bytes, index: int = 0, *, last: bool = False, sr: int = 24_000) -> events.AudioChunk:
    return events.AudioChunk(
        job_id="j", index=index, part=0, audio=pcm, sr=sr, sw=2, ch=1, t_ms=0, duration_ms=0, volumes=[], last=last
    )


def lengths(translation: Translation, *said: events.Event) -> list[int]:
    """Bytes of each piece of sound, -1 for any other frame."""
    found = told([frame for event in said for frame in translation.frames(event)])
    sounds = [response.get("result", {}).get("audio_bytes") for response in found]
    return [-1 if sound is None else len(base64.b64decode(sound)) for sound in sounds]


SENTENCE = events.Sentence(job_id="j", index=1, text="Two.", speech="Two.")
END = events.JobFinished(job_id="j", job_type="response", success=True)
FAILURE = events.JobFinished(job_id="j", job_type="response", success=False, error={"type": "x", "reason": "y"})


def test_pieces_are_whole_and_nothing_is_kept_behind_a_sentence() -> None:
    translation = Translation()
    assert lengths(translation, chunk(bytes(9600))) == [3072, 3072, 3072, 384], "the first leaves at once"
    assert lengths(translation, chunk(bytes(9600)), chunk(bytes(9600))) == [3072] * 6
    assert lengths(translation, chunk(bytes(100), last=True)) == [868]
    assert lengths(translation, SENTENCE, chunk(bytes(400), 1)) == [-1, 400]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (SENTENCE, [400, -1]),
        (END, [400, -1]),
        (FAILURE, [-1]),
        (chunk(bytes(10), 1), [400, 10]),
        (chunk(bytes(10), sr=8000), [400, 10]),
        (chunk(b"", last=True), [400]),
    ],
)
def test_a_sentence_that_ends_without_saying_so(after: events.Event, expected: list[int]) -> None:
    translation = Translation()
    assert lengths(translation, chunk(bytes(10)), chunk(bytes(400))) == [10]
    assert lengths(translation, after) == expected


def test_a_large_use_of_a_voice_is_cut_below_the_limit() -> None:
    translation = Translation()
    start = events.JobStarted(job_id="j", job_type="operation_use", args={"role": "tts"})
    assert told(list(translation.frames(start)))
    result = {"audio_bytes": bytes(3_000_000), "sr": 48_000, "sw": 2, "ch": 2}
    found = told(list(translation.frames(events.JobProgress(job_id="j", result=result))))
    assert len(found) > 1
    assert b"".join(base64.b64decode(one["result"]["audio_bytes"]) for one in found) == bytes(3_000_000)


def test_a_long_text_is_shared_out_and_nothing_is_lost() -> None:
    content = "\U0001f600" * 300_000
    found = told(list(frames.progress("response", "j", {"content": content, "emotion": "joy"}, Part.SPOKEN)))
    assert "".join(one["result"]["content"] for one in found) == content
    assert [one["result"].get("emotion") for one in found] == ["joy"] + [None] * (len(found) - 1)


def test_what_a_filter_removed_is_not_for_viewers() -> None:
    sentence = events.Sentence(
        job_id="j",
        index=0,
        text="Filtered.",
        speech="Filtered.",
        extras={"filtered": True, "original_content": "what was said", "emotion": "anger"},
    )
    (frame,) = Translation().frames(sentence)
    assert "what was said" in frame.heard_by(Access.PERFORMER)
    seen = json.loads(frame.heard_by(Access.VIEWER))[0]["response"]["result"]
    assert seen == {"content": "Filtered.", "filtered": True, "emotion": "anger"}
    long = {"content": "x" * 200_000, "original_content": "y" * 900_000}
    for access, expected in ((Access.VIEWER, 200_000), (Access.OWNER, 200_000)):
        heard = [frame.heard_by(access) for frame in frames.progress("response", "j", long, Part.SPOKEN)]
        contents = [json.loads(text)[0]["response"]["result"]["content"] for text in heard if text]
        assert sum(map(len, contents)) == expected


def test_of_a_long_history_the_end_is_told() -> None:
    history = [{"type": "request", "time": float(n), "message": "\xe4" * 1000} for n in range(1000)]
    (found,) = told(list(frames.progress("response", "j", {"history": history}, Part.PROMPT)))
    assert 100 < len(found["result"]["history"]) < 1000
    assert found["result"]["history"] == history[-len(found["result"]["history"]) :]


def test_of_anything_else_that_is_too_long_the_beginning_is_told() -> None:
    found = told(list(frames.progress("response", "j", {"raw_content": "\xe4" * 1_000_000}, Part.RAW)))
    assert found[0]["result"]["raw_content"].startswith("\xe4\xe4")
    nested = {"extras": [{"text": "x" * 100_000}] * 100}
    assert told(list(frames.progress("response", "j", nested)))


def test_large_arguments_are_told_as_true() -> None:
    frame = frames.started("config_update", "j", {"config_d": {"x": "y" * 100_000}, "small": 1})
    assert told([frame]) == [{"job_id": "j", "start": {"config_d": True, "small": 1}}]


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (b"\0\1", "AAE="),
        ({"deep": [b"\0"]}, {"deep": ["AA=="]}),
        (float("nan"), None),
        ({"deep": (float("inf"), 1.5, b"\0")}, {"deep": [None, 1.5, "AA=="]}),
        ({1}, [1]),
        (Part.RAW, "Part.RAW"),
    ],
)
def test_no_value_stops_the_stream(value: object, wire: object) -> None:
    """The original's only event task died of raw bytes in a result."""
    assert told(list(frames.progress("operation_use", "j", {"value": value}))) == [
        {"job_id": "j", "finished": False, "result": {"value": wire}}
    ]


def test_a_job_whose_beginning_nobody_heard_still_ends() -> None:
    end = events.JobFinished(
        job_id="j", job_type="context_add", success=False, error={"code": "x", "type": "unknown", "reason": "why"}
    )
    assert told(list(Translation().frames(end))) == [
        {"job_id": "j", "finished": True, "success": False, "result": {"type": "unknown", "reason": "why"}}
    ]


def test_what_jaison_has_no_event_for_is_not_told() -> None:
    translation = Translation()
    for event in (
        events.TextChunk(job_id="j", chunk="Hel"),
        events.TextGenerated(job_id="j", text="Hello"),
        events.Transcript(job_id="j", user="Ana", content="hi", final=True),
        events.GenerationError(job_id="j", error="x"),
        events.Interrupted(job_id="j", heard="", unheard=""),
        events.ContextChanged(job_id="j", line_id="l", removed=True),
        events.StateChanged(changed={"operations": {"tts": None}}, by="x"),
        events.AudioDropped(from_seq=1, to_seq=2),
    ):
        assert list(translation.frames(event)) == []
