"""What the benchmarks share: rounds in which the contestants take turns, and comparisons that make up the report."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Units of which more is better; of all others less is.
RATES = {"/s"}


@dataclass(frozen=True)
class Comparison:
    """One line of the report.

    :param question: what was measured.
    :param ours: our figure, in `unit`.
    :param peer: what it is compared with; empty for a figure that stands alone.
    :param theirs: the peer's figure, in `unit`.
    :param ratio_wanted: how many times as good as the peer we want to be, at least.
    :param ours_wanted: what our own figure shall be, at most.
    """

    question: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    ratio_wanted: float | None = None
    ours_wanted: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as good as the peer we are; above 1 is better."""
        if self.theirs is None:
            return None
        return self.ours / self.theirs if self.unit in RATES else self.theirs / self.ours

    @property
    def wanted(self) -> str:
        """What is wanted, in words."""
        if self.ratio_wanted is not None:
            return f"≥ {self.ratio_wanted:g} x"
        return f"≤ {self.ours_wanted:g} {self.unit}" if self.ours_wanted is not None else ""

    @property
    def verdict(self) -> str:
        """Whether that is reached; empty if nothing is wanted."""
        if self.ratio_wanted is not None:
            return "yes" if self.ratio is not None and self.ratio >= self.ratio_wanted else "**no**"
        if self.ours_wanted is not None:
            return "yes" if self.ours <= self.ours_wanted else "**no**"
        return ""


def medians(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Let all contestants measure themselves once a round, each round begun by another; return each one's median."""
    names = list(contestants)
    measured: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measured[name].append(contestants[name]())
    return {name: median(values) for name, values in measured.items()}


def report(comparisons: list[Comparison]) -> None:
    """Hand the comparisons to `run.py`, which names a file for them; print them when nobody asks."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps([asdict(comparison) for comparison in comparisons]))
    else:
        print(table(comparisons))


def table(comparisons: list[Comparison]) -> str:
    """Return the comparisons as a table in Markdown."""
    rows = [("Question", "Ours", "Compared with", "Theirs", "Ratio", "Wanted", "Reached")]
    rows += [
        (
            line.question,
            _figure(line.ours, line.unit),
            line.peer,
            _figure(line.theirs, line.unit),
            "" if line.ratio is None else f"{_number(line.ratio)} x",
            line.wanted,
            line.verdict,
        )
        for line in comparisons
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, tuple("-" * width for width in widths))
    lines = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"| {line} |" for line in lines)


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else f"{_number(value)} {unit}".replace(" /", "/")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
