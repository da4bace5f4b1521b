"""What happens to cells once, before they are read: programming, retention, stuck cells, wires, frozen noise."""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from rgnn.base.choices import Compensation, RetentionTime
from rgnn.base.errors import InputError
from rgnn.base.rng import Key, torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.hardware import Hardware
from rgnn.chip.laws.effects import ProgrammingByLaw, RetentionByLaw
from rgnn.chip.laws.read_noise import ReadNoiseLaw
from rgnn.chip.slices import joined, sliced
from rgnn.chip.wires import WireResistance

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

    It does not follow the power law of phase-change memory, and its mean stays; see `DigitalGain` for what the digital
    side may undo of it.
    """

    time: RetentionTime
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
        return cells.with_pair(relaxed.clamp_min(0))

    def deviation(self, microsiemens: Tensor) -> Tensor:
        """Sigma in uS of cells that were programmed to so many uS; the fit ends at 40 uS."""
        x = (microsiemens / RELAXATION_FULL_SCALE).clamp(0, 1)
        return sum((c * x**k for k, c in enumerate(RELAXATION[self.time])), torch.zeros_like(x)).clamp_min(0)


@dataclass(frozen=True)
class DigitalGain:
    """W -> a W, the gain that restores the weights best in the sense of least squares after all that happened to them.

    a = <w, w'> / <w', w'> over an array ("global") or over each output ("column"), for w that has become w'. The
    digital side multiplies sums by it, and so their fluctuations too.
    """

    compensation: Compensation
    name = "gain"

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells as the digital side then sees them."""
        if cells.target is None:
            return cells
        gain = self.gain(cells.target, cells.weight)
        pair = None if cells.pair is None else gain * cells.pair
        deviation = None if cells.read_deviation is None else gain * cells.read_deviation
        whole = gain if cells.gain is None else gain * cells.gain
        return replace(cells, weight=gain * cells.weight, pair=pair, read_deviation=deviation, gain=whole)

    def gain(self, before: Tensor, after: Tensor) -> Tensor:
        """[] or [out, 1]; 1 where nothing is left to multiply."""
        alike, power = before * after, after.square()
        if self.compensation == "global":
            alike, power = alike.sum(), power.sum()
        else:
            alike, power = alike.sum(1, keepdim=True), power.sum(1, keepdim=True)
        return torch.where(power > 0, alike / power, 1.0)


@dataclass(frozen=True)
class FrozenNoise:
    """W -> W + s R z once for the life of the chip; R is the reference of the fluctuation."""

    strength: float
    reference: str
    law: ReadNoiseLaw | None = None
    name = "frozen noise"

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells after it; raises InputError where it needs what is not known of them."""
        r = cells.reference(self.reference, self.law)
        return replace(cells, weight=cells.weight + self.strength * r * _standard_normal(r, generator))


def effects(hardware: Hardware, *, noisy: bool) -> list[Effect]:
    """What the cells go through on this hardware, in the order in which it happens to them."""
    found: list[Effect] = []
    if hardware.programming_noise is not None and hardware.programming_law is not None:
        found.append(ProgrammingByLaw(hardware.programming_law, hardware.programming_noise))
    elif hardware.programming_noise is not None:
        found.append(ProgrammingNoise(hardware.programming_noise))
    if hardware.retention is not None:
        found.append(Retention(hardware.retention))
    if hardware.retention_law is not None and hardware.retention_time is not None:
        place = hardware.retention_law.require_time(hardware.retention_time, hardware.retention_temperature)
        found.append(RetentionByLaw(hardware.retention_law, *place))
    if hardware.stuck_on or hardware.stuck_off:
        found.append(StuckCells(hardware.stuck_on, hardware.stuck_off))
    if hardware.wire_resistance is not None:
        found.append(WireResistance(hardware.wire_resistance, hardware.tile))
    if hardware.compensation != "none":
        found.append(DigitalGain(hardware.compensation))
    if noisy and hardware.noise is not None and hardware.noise_sharing == "chip":
        found.append(FrozenNoise(hardware.noise, hardware.noise_reference, hardware.noise_law))
    return found


def programmed(cells: Cells, hardware: Hardware, place: tuple[Key, ...], *, noisy: bool) -> Cells:
    """The cells after all that happens to them once on this hardware, array by array where weights are sliced."""
    applied = effects(hardware, noisy=noisy)
    if hardware.slices is None:
        return apply_effects(cells, applied, hardware.chip, place) if applied else cells
    arrays = sliced(cells, hardware.slices, hardware.slice_bits)
    return joined(
        [
            replace(array, cells=apply_effects(array.cells, applied, hardware.chip, (*place, "slice", s)))
            for s, array in enumerate(arrays)
        ]
    )


def apply_effects(cells: Cells, applied: list[Effect], chip: int, place: tuple[Key, ...]) -> Cells:
    """The cells of chip number `chip` after all effects; `place` (layer, matrix, ...) keeps arrays apart."""
    cells = replace(cells, target=cells.weight)
    for effect in applied:
        cells = effect.apply(cells, torch_stream(chip, effect.name, *place))
    return cells
