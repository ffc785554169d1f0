"""What socketio.md promises of every turn, checked on what one client was told."""

import math
import struct
from collections.abc import Sequence
from itertools import groupby

import pytest

from e2e.visitor import ACKNOWLEDGED, Told, Visitor, end_of, text_of

_ROUNDING_MS = 0.02


def check_order(visitor: Visitor, job_id: str) -> None:
    """Acknowledged before its first event; started once, ended once, nothing after that; no number missing."""
    places = [at for at, told in enumerate(visitor.told) if told.job_id == job_id]
    first = visitor.told[places[0]]
    assert first.name == ACKNOWLEDGED and first.data == {"success": True, "job_id": job_id}
    names = [visitor.told[at].name for at in places[1:]]
    assert names[0] == "job_started" and names.count("job_started") == 1
    assert names.count("job_finished") == 1
    after = names[names.index("job_finished") + 1 :]
    assert set(after) <= {"interrupted", "context_changed"}, after
    check_numbers(visitor)


def check_numbers(visitor: Visitor) -> None:
    numbers = visitor.numbers()
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def check_turn(told: Sequence[Told]) -> None:
    """A whole turn: its text, its sentences and its sound fit together."""
    assert end_of(told)["success"], end_of(told)
    check_text(told)
    check_sound(told)
    check_sentences_come_before_their_sound(told)


def check_text(told: Sequence[Told]) -> None:
    generated = [each.data["text"] for each in told if each.name == "text_generated"]
    assert generated == [text_of(told)]
    sentences = [each.data for each in told if each.name == "sentence"]
    assert "".join(sentence["text"] for sentence in sentences).strip() == generated[0].strip()
    assert [sentence["index"] for sentence in sentences] == list(range(len(sentences)))
    indices = [each.data["index"] for each in told if each.name == "text_chunk" and each.data["type"] == 0]
    assert indices == sorted(indices)


def check_sound(told: Sequence[Told]) -> None:
    """Whole frames, in order, each where the one before it ended, each with its loudness."""
    chunks = [each.data for each in told if each.name == "audio_chunk"]
    places = [(chunk["index"], chunk["part"]) for chunk in chunks]
    assert places == sorted(places)
    at_ms = 0.0
    for _, parts in groupby(chunks, key=lambda chunk: chunk["index"]):
        sentence = list(parts)
        assert [chunk["part"] for chunk in sentence] == list(range(len(sentence)))
        assert [chunk["last"] for chunk in sentence] == [False] * (len(sentence) - 1) + [True]
        for chunk in sentence:
            assert isinstance(chunk["audio"], bytes)
            assert chunk["format"] == "pcm_s16le" and chunk["sw"] == 2
            frames, rest = divmod(len(chunk["audio"]), chunk["sw"] * chunk["ch"])
            assert rest == 0
            duration_ms = 1000 * frames / chunk["sr"]
            assert chunk["duration_ms"] == pytest.approx(duration_ms, abs=_ROUNDING_MS)
            assert chunk["t_ms"] == pytest.approx(at_ms, abs=_ROUNDING_MS)
            assert all(0 <= volume <= 1 for volume in chunk["volumes"])
            at_ms += duration_ms
        seconds = sum(len(chunk["audio"]) / (chunk["sr"] * chunk["sw"] * chunk["ch"]) for chunk in sentence)
        assert sum(len(chunk["volumes"]) for chunk in sentence) == math.ceil(round(50 * seconds, 6))


def check_sentences_come_before_their_sound(told: Sequence[Told]) -> None:
    """Each sentence, then its sound; every sentence that is spoken has some."""
    announced: set[int] = set()
    spoken: set[int] = set()
    heard: set[int] = set()
    for each in told:
        if each.name == "sentence":
            announced.add(each.data["index"])
            if each.data["speech"]:
                spoken.add(each.data["index"])
        elif each.name == "audio_chunk":
            assert each.data["index"] in announced
            heard.add(each.data["index"])
    assert heard == spoken


def loudness(pcm: bytes) -> float:
    """Root mean square of 16 bit samples, 0..1."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples)) / 32768
