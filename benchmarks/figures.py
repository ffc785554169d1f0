"""What a benchmark found, and the table that shows it against its limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

PASS, FAIL, SHOWN = "ok", "MISS", ""


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: a value that was measured. ``share`` in (0, 1]; nan for no values."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True, slots=True)
class Figure:
    """:param measured: by label (``p50``, ``p99``, empty for a single value).
    :param limits: by the same labels; a label without a limit is shown only.
    :param at_least: the limit is what must be reached, not what must not be passed.
    """

    what: str
    unit: str
    measured: dict[str, float]
    limits: dict[str, float] = field(default_factory=dict)
    at_least: bool = False
    note: str = ""

    def ratios(self) -> dict[str, float]:
        return {label: _ratio(self.measured[label], limit) for label, limit in self.limits.items()}

    @property
    def passed(self) -> bool:
        return all((ratio >= 1) if self.at_least else (ratio <= 1) for ratio in self.ratios().values())

    @property
    def mark(self) -> str:
        if not self.limits:
            return SHOWN
        return PASS if self.passed else FAIL

    def row(self) -> tuple[str, ...]:
        measured = ", ".join(f"{label} {_number(value)}".strip() for label, value in self.measured.items())
        bound = "at least " if self.at_least else ""
        limits = ", ".join(f"{label} {_number(value)}".strip() for label, value in self.limits.items())
        ratios = " / ".join(f"{value:.2f}" for value in self.ratios().values())
        what = f"{self.what} ({self.note})" if self.note else self.what
        return (
            what,
            f"{measured} {self.unit}".strip(),
            f"{bound}{limits} {self.unit}".strip() if limits else "",
            ratios,
            self.mark,
        )


def spread(what: str, unit: str, values: Sequence[float], limits: dict[str, float], note: str = "") -> Figure:
    """A figure with p50 and p99 of what was measured."""
    measured = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99)}
    count = f"n={len(values)}"
    return Figure(what, unit, measured, limits, note=f"{note}, {count}" if note else count)


@dataclass(slots=True)
class Report:
    """What one benchmark found. ``notes`` are printed below the table: what explains a miss."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _ratio(measured: float, limit: float) -> float:
    """A limit of zero is kept by zero alone."""
    if limit:
        return measured / limit
    return math.inf if measured else 0.0


def _number(value: float) -> str:
    if math.isnan(value):
        return "none"
    if value == int(value):
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


HEAD = ("what", "measured", "limit", "ratio", "")


def table(figures: Sequence[Figure]) -> str:
    """Markdown, padded so that a terminal shows it well, too."""
    rows = [HEAD, *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
