"""The cells of one matrix on a chip, and what happens to them before they are read: one small class an effect.

A signed weight is the difference of two conductances, w = G+ - G-, in the model's units. Each effect takes cells and
gives cells; random ones have separate generators, so that each can be switched without moving the others.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.chip.laws.read_noise import ReadNoiseLaw


@dataclass(frozen=True)
class Cells:
    """One matrix as its cells.

    Attributes:
        weight: [out, in] G+ - G- in the model's units.
        pair: [2, out, in] G+ and G- in the model's units, or None where only the differences are known.
        read_deviation: [out, in] measured standard deviation of a read of the weight, or None.
        siemens: conductance of one unit of weight, or None where it is not known.
        target: [out, in] the weight before anything happened to it, or None where nothing has.
        gain: factor that weight, pair and deviation contain already, or None: [] or [out, 1] of the digital side,
            [2, out, in] of cells that lose voltage in wires.
        slices: arrays that make up the weight digit by digit, see `rgnn.chip.slices`; none where one array holds it.
    """

    weight: Tensor
    pair: Tensor | None = None
    read_deviation: Tensor | None = None
    siemens: float | Tensor | None = None
    target: Tensor | None = None
    gain: Tensor | None = None
    slices: "tuple[Slice, ...]" = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """(out, in)."""
        return tuple(self.weight.shape)

    def conductances(self, wanted_for: str) -> Tensor:
        """G+ and G-, [2, out, in] in the model's units.

        Raises:
            InputError: only their differences are known.
        """
        if self.pair is None:
            raise InputError(
                f"{wanted_for} needs the conductances of both cells of each weight, but this chip is known by their "
                "differences only; import a map of pairs, or leave that setting out."
            )
        return self.pair

    def with_pair(self, pair: Tensor) -> "Cells":
        """The same cells at other conductances."""
        return replace(self, weight=pair[0] - pair[1], pair=pair)

    def reference(self, kind: str, law: ReadNoiseLaw | None = None) -> Tensor:
        """[out, in]: what a relative fluctuation of a weight is relative to.

        "weight" |w|; "device" sqrt(G+^2 + G-^2), since both cells fluctuate for themselves; "measured" the
        deviation found from repeated reads; "law" that of both cells by a law of their conductance. Arrays of
        slices fluctuate each for itself.
        """
        if self.slices:
            variances = torch.stack([(s.factor * s.cells.reference(kind, law)).square() for s in self.slices])
            return variances.sum(0).sqrt()
        if kind == "weight":
            return self.weight.abs()
        if kind == "device":
            return self.conductances("noise_reference 'device'").square().sum(0).sqrt()
        if kind == "law":
            return self._by_law(law)
        if self.read_deviation is None:
            raise InputError(
                "noise_reference 'measured' needs a chip whose read noise was measured; import a folder of repeated "
                "reads, or set noise_reference to 'weight'."
            )
        return self.read_deviation

    def _by_law(self, law: ReadNoiseLaw | None) -> Tensor:
        pair = self.conductances("noise_reference 'law'")
        if law is None or self.siemens is None:
            missing = "noise_law" if law is None else "conductances in siemens; import the chip with --unit"
            raise InputError(f"noise_reference 'law' needs {missing}, or set noise_reference to 'device'.")
        if self.gain is None:
            return law.reference_of(pair, self.siemens)
        bare = torch.where(self.gain == 0, 0, pair / torch.where(self.gain == 0, 1, self.gain))
        return law.reference_of(bare, self.siemens, self.gain)


@dataclass(frozen=True)
class Slice:
    """One of the arrays that make up weights, and the factor that the digital side multiplies its sums with."""

    cells: Cells
    factor: float
