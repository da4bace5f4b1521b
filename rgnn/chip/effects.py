"""What happens to cells once, before they are read: programming, retention, stuck cells, frozen noise."""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from rgnn.base.choices import Compensation, RetentionTime
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.hardware import Hardware

# Deviation in uS of a conductance of g uS after programming, c0 + c1 x + ... + c4 x^4 with x = g / 40 uS: HfOx cells of
# NeuRRAM (Wan et al., Nature 608, 504 (2022), doi 10.1038/s41586-022-04992-8, Extended Data Fig. 3), as fitted by
# IBM's aihwkit 1.1 (ReRamWan2022NoiseModel).
RELAXATION = {
    "1 s": (0.348, 16.030, -43.853, 45.393, -16.815),
    "1 day": (0.701, 22.086, -50.773, 47.095, -16.458),
    "2 days": (0.782, 20.274, -43.507, 37.062, -11.934),
}


RELAXATION_FULL_SCALE = 40.0


class Effect(Protocol):
    """A change of the cells that stays."""

    name: str

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells after it."""


def _standard_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Drawn on the CPU, so that a chip is the same on every device."""
    return torch.randn(like.shape, generator=generator).to(like)


@dataclass(frozen=True)
class ProgrammingNoise:
    """G -> max(0, G (1 + s z)): a programmed conductance misses its target by s of it; z standard normal."""

    deviation: float
    name = "programming"

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells after it; raises InputError where it needs what is not known of them."""
        g = cells.conductances("programming_noise")
        return cells.with_pair((g * (1 + self.deviation * _standard_normal(g, generator))).clamp_min(0))


@dataclass(frozen=True)
class StuckCells:
    """Each cell is stuck at its array's largest conductance with probability `on`, at the smallest with `off`."""

    on: float
    off: float
    name = "stuck"

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells after it; raises InputError where it needs what is not known of them."""
        g = cells.conductances("stuck_on and stuck_off")
        lot = torch.rand(g.shape, generator=generator).to(g.device)
        stuck = torch.where(lot < self.on, g.max(), torch.where(lot < self.on + self.off, g.min(), g))
        return cells.with_pair(stuck)


@dataclass(frozen=True)
class Retention:
    """G -> max(0, G + sigma(G, t) z): filamentary cells relax by a random walk that depends on G; sigma: `RELAXATION`.

    It does not follow the power law of phase-change memory, and its mean stays. The digital side may undo
    part of it by the gain that restores the weights best in the sense of least squares,
    a = <w(0), w(t)> / <w(t), w(t)>, over an array or over each output.
    """

    time: RetentionTime
    compensation: Compensation = "none"
    name = "retention"

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells after it; raises InputError where it needs what is not known of them."""
        g = cells.conductances("retention")
        if cells.siemens is None:
            raise InputError(
                "retention needs conductances in siemens, but this chip's unit is not known; import it with --unit."
            )
        unit = 1e6 * float(cells.siemens)  # uS
        relaxed = g + self.deviation(unit * g) / unit * _standard_normal(g, generator)
        after = cells.with_pair(relaxed.clamp_min(0))
        return replace(after, weight=self.gain(cells.weight, after.weight) * after.weight)

    def deviation(self, microsiemens: Tensor) -> Tensor:
        """Sigma in uS of cells that were programmed to so many uS; the fit ends at 40 uS."""
        x = (microsiemens / RELAXATION_FULL_SCALE).clamp(0, 1)
        return sum((c * x**k for k, c in enumerate(RELAXATION[self.time])), torch.zeros_like(x)).clamp_min(0)

    def gain(self, before: Tensor, after: Tensor) -> Tensor:
        """[] or [out, 1]."""
        if self.compensation == "none":
            return torch.ones_like(before[0, 0])
        alike, power = before * after, after.square()
        if self.compensation == "global":
            return alike.sum() / power.sum()
        return alike.sum(1, keepdim=True) / power.sum(1, keepdim=True)


@dataclass(frozen=True)
class FrozenNoise:
    """W -> W + s R z once for the life of the chip; R is the reference of the fluctuation."""

    strength: float
    reference: str
    name = "frozen noise"

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells after it; raises InputError where it needs what is not known of them."""
        r = cells.reference(self.reference)
        return replace(cells, weight=cells.weight + self.strength * r * _standard_normal(r, generator))


def effects(hardware: Hardware, *, noisy: bool) -> list[Effect]:
    """What the cells go through on this hardware, in the order in which it happens to them."""
    found: list[Effect] = []
    if hardware.programming_noise is not None:
        found.append(ProgrammingNoise(hardware.programming_noise))
    if hardware.retention is not None:
        found.append(Retention(hardware.retention, hardware.compensation))
    if hardware.stuck_on or hardware.stuck_off:
        found.append(StuckCells(hardware.stuck_on, hardware.stuck_off))
    if noisy and hardware.noise is not None and hardware.noise_sharing == "chip":
        found.append(FrozenNoise(hardware.noise, hardware.noise_reference))
    return found


def apply_effects(cells: Cells, applied: list[Effect], chip: int, place: tuple[int, ...]) -> Cells:
    """The cells of chip number `chip` after all effects; `place` (layer, matrix, ...) keeps arrays apart."""
    for effect in applied:
        cells = effect.apply(cells, torch_stream(chip, effect.name, *place))
    return cells
