"""A transcript as timed segments. Recognisers here give no times: sentences share the recording by their length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from greenroom.pipeline.sentences import SentenceSplitter


@dataclass(frozen=True, slots=True)
class Segment:
    text: str
    start_s: float
    end_s: float

    def wire(self, index: int) -> dict[str, Any]:
        """As ``verbose_json`` has it."""
        return {
            "id": index,
            "seek": 0,
            "start": self.start_s,
            "end": self.end_s,
            "text": self.text,
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": 0.0,
            "compression_ratio": 1.0,
            "no_speech_prob": 0.0,
        }


def segments(text: str, seconds: float) -> list[Segment]:
    splitter = SentenceSplitter(first_clause=False)
    pieces = [piece.text.strip() for piece in (*splitter.feed(text), *splitter.finish())]
    pieces = [piece for piece in pieces if piece]
    whole = sum(map(len, pieces))
    found: list[Segment] = []
    at = 0
    for piece in pieces:
        start = seconds * at / whole
        at += len(piece)
        found.append(Segment(piece, round(start, 3), round(seconds * at / whole, 3)))
    return found


def words(found: Sequence[Segment]) -> list[dict[str, Any]]:
    """As ``verbose_json`` has them; those of a sentence share its time by their length."""
    shared: list[dict[str, Any]] = []
    for one in found:
        pieces = one.text.split()
        whole = sum(map(len, pieces))
        length_s = one.end_s - one.start_s
        at = 0
        for piece in pieces:
            start_s = one.start_s + length_s * at / whole
            at += len(piece)
            end_s = one.start_s + length_s * at / whole
            shared.append({"word": piece, "start": round(start_s, 3), "end": round(end_s, 3)})
    return shared


def srt(found: Sequence[Segment]) -> str:
    return "".join(
        f"{number}\n{_clock(one.start_s, ',')} --> {_clock(one.end_s, ',')}\n{one.text}\n\n"
        for number, one in enumerate(found, 1)
    )


def vtt(found: Sequence[Segment]) -> str:
    cues = (f"{_clock(one.start_s, '.')} --> {_clock(one.end_s, '.')}\n{one.text}\n\n" for one in found)
    return "WEBVTT\n\n" + "".join(cues)


def _clock(seconds: float, mark: str) -> str:
    whole, ms = divmod(round(seconds * 1000), 1000)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    return f"{hours:02}:{m:02}:{s:02}{mark}{ms:03}"
