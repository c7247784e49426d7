"""Shared by the benchmarks: rounds in which all competitors are measured alternately, and the report."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Units in which higher is better; in all others, lower is.
RATES = {"/s"}


@dataclass(frozen=True)
class Comparison:
    """One line of the report.

    :param question: what was measured.
    :param ours: our figure, in `unit`.
    :param competitor: what it is compared with; empty for a figure without a comparison.
    :param theirs: the competitor's figure, in `unit`.
    :param ratio_wanted: minimum ratio that we want to reach.
    :param ours_wanted: maximum of our own figure that we want to keep.
    """

    question: str
    unit: str
    ours: float
    competitor: str = ""
    theirs: float | None = None
    ratio_wanted: float | None = None
    ours_wanted: float | None = None

    @property
    def ratio(self) -> float | None:
        """Our result relative to the competitor's; above 1 is better."""
        if self.theirs is None:
            return None
        return self.ours / self.theirs if self.unit in RATES else self.theirs / self.ours

    @property
    def wanted(self) -> str:
        """The target as text."""
        if self.ratio_wanted is not None:
            return f"≥ {self.ratio_wanted:g} x"
        return f"≤ {self.ours_wanted:g} {self.unit}" if self.ours_wanted is not None else ""

    @property
    def verdict(self) -> str:
        """Whether the target is reached, as text; empty without a target."""
        if self.ratio_wanted is not None:
            return "yes" if self.ratio is not None and self.ratio >= self.ratio_wanted else "**no**"
        if self.ours_wanted is not None:
            return "yes" if self.ours <= self.ours_wanted else "**no**"
        return ""


def medians(competitors: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Measure all competitors once per round, starting each round with another one; return the medians."""
    names = list(competitors)
    measured: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measured[name].append(competitors[name]())
    return {name: median(values) for name, values in measured.items()}


def report(comparisons: list[Comparison]) -> None:
    """Write the comparisons to the file that `run.py` passes as argument; without one, print them."""
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
            line.competitor,
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
