"""What every benchmark is told, and what it takes from the checkout."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks import ROOT
from benchmarks.figures import Report

T = TypeVar("T")

SPEED = 30.0
"""tokens a second of a speaking session"""


@dataclass(frozen=True, slots=True)
class Plan:
    quick: bool = False

    def choose(self, full: T, quick: T) -> T:
        return quick if self.quick else full


Benchmark = Callable[[Plan], Awaitable[Report]]


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one, as the server has it, so that the reading side costs little; else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def default_filters() -> list[dict[str, Any]]:
    """The text filters of the shipped configuration: what is measured has them, too."""
    found = (ROOT / "bindings" / "filter_clean" / "binding.py").is_file()
    return [{"role": "filter_text", "id": "filter_clean"}] if found else []


def metronome(text: dict[str, Any] | None = None, sound: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """For ``config.yaml``: the benchmarks' own backend, with these options."""
    return [
        {"role": "t2t", "id": "metronome", **(text or {})},
        {"role": "tts", "id": "metronome", **(sound or {})},
        *default_filters(),
    ]
