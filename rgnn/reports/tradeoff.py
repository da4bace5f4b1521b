"""Costs beside accuracy: error, energy, time and area of every hardware setting that was evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from pathlib import Path
from typing import Any

from rgnn.base.estimate import Estimate
from rgnn.chip.hardware import Hardware
from rgnn.costs.prices import Price, best, prices
from rgnn.evaluation import Evaluation, HardwareErrors
from rgnn.plots.tradeoff import error_against_energy
from rgnn.reports.html import Picture, Table

PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: ""}


def rounded(e: Estimate, unit: str) -> str:
    """Value and range with two digits and a prefix: "8.1 µJ (5.2 to 13)"."""
    if e.value <= 0:
        return f"0 {unit}"
    power = 0 if unit == "mm²" else _power([e.value])
    value, low, high = (_two_digits(x / 10.0**power) for x in (e.value, e.low, e.high))
    return f"{value} {PREFIXES[power]}{unit} ({low} to {high})"


def _percent(e: Estimate) -> str:
    """Per cent with as many digits as two digits of half of the interval have; three without an interval."""
    half = 50 * (e.high - e.low)
    if not 0 < half < float("inf"):
        return f"{100 * e.value:.3g}"
    digits = max(0, 1 - floor(log10(half)))
    return f"{100 * e.value:.{digits}f} ± {half:.{digits}f}"


def _power(values: list[float]) -> int:
    """Power of ten of the prefix of the largest of them."""
    return min(0, max(-15, 3 * floor(log10(max(values)) / 3)))


def _two_digits(x: float) -> str:
    if x <= 0:
        return "0"
    digits = 1 - floor(log10(x))
    return f"{round(x, digits):,.{max(0, digits)}f}"


@dataclass(frozen=True)
class Tradeoff:
    """Settings with input bits, in the order of the evaluation.

    Attributes:
        rows: errors of each.
        prices: of each.
    """

    rows: tuple[HardwareErrors, ...]
    prices: tuple[Price, ...]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Tradeoff | None:
        """Of an evaluation; None for models without a chip and where fewer than two settings have a price."""
        plan = evaluation.plan
        if not plan.model.uses_chip:
            return None
        settings = [row.hardware for row in evaluation.rows]
        found = prices(plan.model, plan.store, plan.frames, settings)
        pairs = [(row, price) for row, price in zip(evaluation.rows, found, strict=True) if price is not None]
        return cls(tuple(row for row, _ in pairs), tuple(price for _, price in pairs)) if len(pairs) > 1 else None

    @property
    def front(self) -> list[int]:
        """Positions of the settings that no other one beats in error and energy, the cheapest first."""
        return best([row.relative_error().value for row in self.rows], [p.energy.value for p in self.prices])

    def table(self) -> Table:
        """All settings, the cheapest first; a star where none is both better and cheaper."""
        front = set(self.front)
        order = sorted(range(len(self.rows)), key=lambda k: self.prices[k].energy.value)
        energy, time = (_power([getattr(p, name).value for p in self.prices]) for name in ("energy", "time"))
        lines = []
        for k in order:
            price, error = self.prices[k], self.rows[k].relative_error()
            value, low, high = (_two_digits(x / 10.0**energy) for x in vars(price.energy).values())
            lines.append(
                [
                    self.rows[k].hardware.describe(),
                    _percent(error),
                    f"{value} ({low} to {high})",
                    _two_digits(price.time.value / 10.0**time),
                    _two_digits(price.area.value),
                    "*" if k in front else "",
                ]
            )
        units = f"{PREFIXES[energy]}J", f"{PREFIXES[time]}s"
        title = "Error beside costs of a frame (estimates, not measured; * none is better and cheaper)"
        return Table(title, ["hardware", "error, %", units[0], units[1], "mm²", ""], lines)

    def picture(self, folder: Path) -> Picture:
        """The error against the energy."""
        names = [row.hardware.describe() for row in self.rows]
        errors = [row.relative_error() for row in self.rows]
        file = error_against_energy(errors, self.prices, names, folder / "energy.png")
        words = (
            "Bars: 95% intervals of the error, low to high figures of the energy, which is estimated and not measured."
        )
        return Picture("Error against energy", file, words)

    def to_mapping(self) -> list[dict[str, Any]]:
        """Plain numbers, with their units in the keys."""
        return [
            {
                "hardware": row.hardware.to_mapping(),
                "relative_error": float(row.relative_error().value),
                **price.to_mapping(),
                "beaten_by_none": k in self.front,
            }
            for k, (row, price) in enumerate(zip(self.rows, self.prices, strict=True))
        ]


def priced(price: Price | None) -> list[str]:
    """Energy, time and area as a table shows them."""
    if price is None:
        return ["", "", ""]
    return [rounded(price.energy, "J"), rounded(price.time, "s"), rounded(price.area, "mm²")]


def cheapest_first(found: Sequence[Any], hardware: Sequence[Hardware], costs: Sequence[Price | None]) -> list[Any]:
    """Things with hardware, by the energy of it; those without a price last."""
    energies = [float("inf") if p is None else p.energy.value for p in costs]
    order = sorted(range(len(found)), key=lambda k: (energies[k], -(hardware[k].noise or 0.0)))
    return [(found[k], costs[k]) for k in order]
