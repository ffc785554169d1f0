"""Words and mouth shapes leave with the sound, on the turn's own clock, each once."""

from greenroom.pipeline.voice_parts import VoiceParts
from greenroom.values import Audio, Viseme, WordTime

SILENCE = Audio(bytes(2 * 1600), 16_000)


def test_words_are_told_once_with_the_part_that_follows_them() -> None:
    known: list[WordTime] = []
    parts = VoiceParts()
    assert parts.words(known, 1000.0) is None
    known.append(WordTime("Hello", 0, 250.004, 0))
    known.append(WordTime("there", 260, 500, 6, (Viseme(19, 260), Viseme(0, 480.5))))
    assert parts.words(known, 1100.0) == [
        {"text": "Hello", "start_ms": 1000.0, "end_ms": 1250.0},
        {
            "text": "there",
            "start_ms": 1260,
            "end_ms": 1500,
            "visemes": [{"id": 19, "start_ms": 1260}, {"id": 0, "start_ms": 1480.5}],
        },
    ]
    assert parts.words(known, 1200.0) is None
    known.append(WordTime("again", 600, 700))
    assert parts.words(known, 1300.0) == [{"text": "again", "start_ms": 1600, "end_ms": 1700}]


def test_parts_are_counted() -> None:
    parts = VoiceParts()
    for _ in range(3):
        assert parts.volumes(SILENCE, last=False) == [0.0] * 5
    assert parts.count == 3
