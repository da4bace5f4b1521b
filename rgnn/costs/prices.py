"""What hardware settings cost: energy, time and area of one pass over a mean frame, from low to high figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rgnn.base.estimate import Estimate, evenly
from rgnn.chip.hardware import Hardware
from rgnn.costs.counts import workload
from rgnn.costs.estimate import compare
from rgnn.costs.figures import LEVELS, Figures
from rgnn.graphs.graph import LabelledFrames
from rgnn.models.base import ForceField
from rgnn.models.families import operations

# Frames that the mean frame is made of.
FRAMES = 5


@dataclass(frozen=True)
class Price:
    """Estimates, not measured; intervals are from the low to the high figures of the table.

    Attributes:
        energy: J of a pass, all digital parts included.
        time: s of the matrices on the chip, one after another as layers are.
        area: mm^2 of the arrays and their converters.
    """

    energy: Estimate
    time: Estimate
    area: Estimate

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers with their units in the keys."""
        parts = {"energy_joule": self.energy, "time_seconds": self.time, "area_mm2": self.area}
        return {name: {"nominal": e.value, "low": e.low, "high": e.high} for name, e in parts.items()}


def prices(
    model: ForceField,
    frames: LabelledFrames,
    indices: Sequence[int],
    settings: Sequence[Hardware],
    figures: Figures | None = None,
) -> list[Price | None]:
    """Of each hardware setting; None for unquantised input, which has no bit planes to count.

    Args:
        model: with a chip; every chip of a committee is paid for.
        frames: that a mean frame is taken from.
        indices: numbers of the frames to take it from; a few of them, evenly.
        settings: hardware.
        figures: table of figures; None is the packaged one.
    """
    table = figures or Figures.packaged()
    frame = workload([frames.graph(k) for k in evenly(indices, FRAMES)])
    ops, members = operations(model.settings, frame), len(model.members)
    found: list[Price | None] = []
    for hardware in settings:
        if hardware.bits is None:
            found.append(None)
            continue
        chips = [compare(ops, hardware, table, level).chip for level in LEVELS]
        found.append(
            Price(
                _span([1e-12 * members * chip.total for chip in chips]),
                _span([1e-9 * chip.time for chip in chips]),
                _span([1e-6 * members * chip.area for chip in chips]),
            )
        )
    return found


def _span(values: list[float]) -> Estimate:
    """The nominal value, between the smallest and the largest."""
    return Estimate(values[LEVELS.index("nominal")], min(values), max(values))


def best(errors: Sequence[float], energies: Sequence[float]) -> list[int]:
    """Positions of the settings that no other one beats in both, the cheapest first."""
    order = sorted(range(len(errors)), key=lambda k: (energies[k], errors[k]))
    found: list[int] = []
    for k in order:
        if not found or errors[k] < errors[found[-1]]:
            found.append(k)
    return found
