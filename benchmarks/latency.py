"""The latency rig: what the server adds to a backend's own times, from the user's input to text and to sound.

The fake OpenAI-compatible server takes 0.15 s to its first token and then sends 30 a second; its voice takes 0.2 s to
its first sound. Both say when they were asked and when they wrote each piece, by the clock that the client uses, so
what the server adds is a subtraction. Answers of different lengths take turns, so that a disturbance hits all alike.
"""

import random
import time
from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.figures import Figure, Report, percentile, spread
from benchmarks.plan import Plan, default_filters
from benchmarks.serving import Backend, Exchange, fake_backend, serving, temporary_home
from benchmarks.wire import Wire
from fakes.openai_script import scripted_answer

LENGTHS = (30, 60, 240, 3000)
PROVING_TOKEN = 5
"""index of the token that proves the first clause of a scripted answer ended: the one behind its full stop"""
REFERENCE_S = {60: (2.1, 2.5), 240: (8.3, 8.7)}
"""seconds to first text and first audio of the reference server with a sentence chunker, by tokens of the answer"""
_WARM_UP = 2
_STAGES = ("first_delta_ms", "first_text_ms", "first_clause_ms", "voice_first_ms", "first_audio_ms")


@dataclass(slots=True)
class Samples:
    """Of one length; milliseconds."""

    text: list[float] = field(default_factory=list)
    """first text, without the backend's own time"""
    audio: list[float] = field(default_factory=list)
    """first audio, from the proving delta, without the voice's own time"""
    text_whole: list[float] = field(default_factory=list)
    audio_whole: list[float] = field(default_factory=list)
    asking: list[float] = field(default_factory=list)
    """from the end of the input to the request's arrival at the backend"""
    speaking: list[float] = field(default_factory=list)
    """from the proving delta to the request's arrival at the voice"""
    chunks: list[float] = field(default_factory=list)
    """from a token's writing to its arrival"""


async def run(plan: Plan) -> Report:
    turns = plan.choose(100, 8)
    by_length: dict[int, Samples] = defaultdict(Samples)
    stages: dict[str, list[float]] = defaultdict(list)
    async with fake_backend() as backend:
        with temporary_home({"operations": [*backend.operations(), *default_filters()]}) as home:
            async with serving(home) as server:
                wire = await Wire.join(server.port, {"session": "rig"})
                for turn in range(_WARM_UP + turns):
                    for tokens in random.sample(LENGTHS, len(LENGTHS)):
                        found = by_length[tokens] if turn >= _WARM_UP else Samples()
                        timing = await _turn(wire, backend, tokens, found)
                        for stage in _STAGES if turn >= _WARM_UP else ():
                            if stage in timing:
                                stages[stage].append(timing[stage])
                wire.close()
    return _report(by_length, stages)


async def _turn(wire: Wire, backend: Backend, tokens: int, found: Samples) -> dict[str, float]:
    """One turn, interrupted after its first sound. -> the ``timing`` of its end"""
    await backend.clear()
    asked = time.monotonic()
    wire.emit("response", {"text": f"Give me an answer of {tokens} tokens, please.", "include_audio": True})
    arrivals: list[tuple[float, int]] = []
    shown = 0
    while True:
        event = await wire.events.get()
        if event.name == "text_chunk":
            shown += len(event.data["chunk"])
            arrivals.append((event.at, shown))
        elif event.name == "audio_chunk":
            audio_at = event.at
            break
        elif event.name == "job_finished":
            raise RuntimeError(f"the turn ended without sound: {event.data}")
    wire.emit("interrupt", {})
    end = await wire.until("job_finished")
    log = await backend.log()
    chat = next(exchange for exchange in log if exchange.path == "/chat/completions")
    speech = next(exchange for exchange in log if exchange.path == "/audio/speech")
    first_text_at = arrivals[0][0]
    found.text.append((first_text_at - asked - chat.own_s) * 1000)
    found.audio.append((audio_at - chat.written[PROVING_TOKEN] - speech.own_s) * 1000)
    found.asking.append((chat.received - asked) * 1000)
    found.speaking.append((speech.received - chat.written[PROVING_TOKEN]) * 1000)
    found.text_whole.append((first_text_at - asked) * 1000)
    found.audio_whole.append((audio_at - asked) * 1000)
    found.chunks += token_delays(chat, tokens, arrivals)
    timing: dict[str, float] = end.data["timing"]
    return timing


def token_delays(chat: Exchange, tokens: int, arrivals: list[tuple[float, int]]) -> list[float]:
    """Milliseconds from each token's writing to the chunk that completes it at the client."""
    delays = []
    position = 0
    length = 0
    for token, written in zip(scripted_answer(tokens)[0], chat.written, strict=False):
        length += len(token)
        while position < len(arrivals) and arrivals[position][1] < length:
            position += 1
        if position == len(arrivals):
            break
        delays.append((arrivals[position][0] - written) * 1000)
    return delays


def _report(by_length: dict[int, Samples], stages: dict[str, list[float]]) -> Report:
    report = Report()
    text = [value for samples in by_length.values() for value in samples.text]
    report.figures.append(spread("first text, without the backend's own time", "ms", text, {"p50": 5, "p99": 20}))
    asking = [value for samples in by_length.values() for value in samples.asking]
    report.figures.append(spread("of that, until the backend is asked", "ms", asking, {}))
    for tokens in LENGTHS:
        audio = by_length[tokens].audio
        report.figures.append(
            spread(
                f"first audio from the delta that proves the first clause, {tokens} tokens",
                "ms",
                audio,
                {"p50": 15, "p99": 50},
            )
        )
    speaking = [value for samples in by_length.values() for value in samples.speaking]
    report.figures.append(spread("of that, until the voice is asked", "ms", speaking, {}))
    short, long = (percentile(by_length[tokens].audio, 0.5) for tokens in (30, 3000))
    report.figures.append(Figure("the same at 3000 tokens against 30", "times", {"p50": long / short}, {"p50": 1.25}))
    chunks = [value for samples in by_length.values() for value in samples.chunks]
    report.figures.append(spread("a text chunk, backend to the client's socket", "ms", chunks, {"p50": 1}))
    for tokens in LENGTHS:
        samples = by_length[tokens]
        text_s = percentile(samples.text_whole, 0.5) / 1000
        audio_s = percentile(samples.audio_whole, 0.5) / 1000
        report.figures.append(
            Figure(f"end of input to first text, {tokens} tokens", "s", {"p50": text_s}, {"p50": 0.2})
        )
        report.figures.append(
            Figure(f"end of input to first audio, {tokens} tokens", "s", {"p50": audio_s}, {"p50": 0.55})
        )
        if tokens in REFERENCE_S:
            peer_text_s, peer_audio_s = REFERENCE_S[tokens]
            report.figures.append(_peer(f"first text, {tokens} tokens", peer_text_s / text_s, peer_text_s))
            report.figures.append(_peer(f"first audio, {tokens} tokens", peer_audio_s / audio_s, peer_audio_s))
    shown = ", ".join(f"{name} {percentile(values, 0.5):.2f}" for name, values in stages.items())
    report.notes.append(f"the turns' own timing, p50: {shown}")
    return report


def _peer(what: str, times: float, peer_s: float) -> Figure:
    note = f"reference server {peer_s:g} s"
    return Figure(f"faster than the reference server: {what}", "times", {"": times}, {"": 1}, at_least=True, note=note)
