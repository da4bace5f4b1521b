"""Effects of laws on cells: what programming misses, and what is left after a time at a temperature."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.chip.cells import Cells
from rgnn.chip.laws.change import ChangeLaw


def _changed(
    cells: Cells, law: ChangeLaw, wanted_for: str, strength: float, generator: torch.Generator, *place: float | None
) -> Cells:
    """G -> max(0, G + s (m + sigma z)) by a law; z standard normal, drawn on the CPU."""
    g = cells.conductances(wanted_for)
    if cells.siemens is None:
        raise InputError(
            f"{wanted_for} needs conductances in siemens, but this chip's unit is not known; import it with --unit."
        )
    draws: Tensor = torch.randn(g.shape, generator=generator).to(g)
    return cells.with_pair(law.changed(g, cells.siemens, draws, f"the law of {wanted_for}", strength, *place))


@dataclass(frozen=True)
class RetentionByLaw:
    """G -> max(0, G + m + sigma z), m and sigma by conductance, time (s) and temperature (Celsius)."""

    law: ChangeLaw
    seconds: float | None
    celsius: float | None
    name = "retention"

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells after it; raises InputError where the law does not cover them or they are not known."""
        return _changed(cells, self.law, "retention_law", 1.0, generator, self.seconds, self.celsius)


@dataclass(frozen=True)
class ProgrammingByLaw:
    """G -> max(0, G + s (m + sigma z)), m and sigma by the target; a strength s of 1 is as measured."""

    law: ChangeLaw
    strength: float
    name = "programming"

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells after it; raises InputError where the law does not cover them or they are not known."""
        return _changed(cells, self.law, "programming_law", self.strength, generator)
