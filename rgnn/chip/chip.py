"""A chip: measured or synthetic conductances, and the signed weight matrices cut from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.base.files import write_atomic
from rgnn.base.rng import torch_stream
from rgnn.base.settings import dump_yaml
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.chip.cells import Cells
from rgnn.chip.reuse import orders

FORMAT, VERSION = "rgnn chip", 1

# A cell of the synthetic chip: mean and standard deviation in siemens, as published with the same
# group's earlier random-resistor array (wangsc1912/ESGNN).
CELL_MEAN, CELL_DEVIATION = 14.25e-6, 2.46e-6
# Cells of a 256-kb macro, the size of the published one; two of them make a weight.
MACRO_CELLS = 262_144
# Standard deviation of the weights that raw conductances are scaled to; the published matrices have 0.335 to 0.374.
WEIGHT_DEVIATION = 0.343


@dataclass(frozen=True)
class ChipStatistics:
    """Number, mean, standard deviation and range of the weights of a chip, in the model's units."""

    weights: int
    mean: float
    deviation: float
    smallest: float
    largest: float


@dataclass(frozen=True)
class Chip:
    """Signed weights w = scale (G+ - G-), in the order of the array.

    Attributes:
        weights: [n] float32.
        source: where they come from, in words.
        conductances: [2, n] G+ and G- in siemens, or None where only the differences are known.
        read_deviation: [n] standard deviation of one read of each weight, in the model's units, or None.
        siemens: conductance of one unit of weight, 1 / scale, or None where it is not known.
        measured: a chip that exists, and not one that could be programmed.
    """

    weights: Tensor
    source: str
    conductances: Tensor | None = None
    read_deviation: Tensor | None = None
    siemens: float | None = None
    measured: bool = False

    @classmethod
    def synthetic(cls, seed: int = 0, cells: int = MACRO_CELLS) -> Self:
        """Pairs of cells of normally distributed conductance (14.25 +- 2.46 uS), the default chip."""
        g = torch.empty(2, cells // 2).normal_(CELL_MEAN, CELL_DEVIATION, generator=torch_stream(seed, "chip"))
        g.clamp_(min=0)
        scale = WEIGHT_DEVIATION / (math.sqrt(2) * CELL_DEVIATION)
        return cls(scale * (g[0] - g[1]), f"synthetic, seed {seed}", g, siemens=1 / scale)

    @classmethod
    def from_matrices(cls, layers: Sequence[Sequence[Tensor]], source: str) -> Self:
        """Signed matrices [out, in] as they stand, layer by layer; `matrices` of the same shapes gives them back."""
        weights = torch.cat([w.flatten() for layer in layers for w in layer]).to(torch.float32)
        return cls(weights, source, measured=True)

    def matrices(
        self, shapes: Sequence[Sequence[tuple[int, int]]], seed: int = 0, member: int = 0, *, reuse: bool = False
    ) -> list[list[Cells]]:
        """The cells of the matrices of each layer, cut from the array in order.

        A chip with more weights than needed gives a choice of them made by `seed`; the model keeps a copy.

        Args:
            shapes: (out, in) of each matrix.
            seed: of the choice.
            member: of a committee; the choices of its members have no cell in common as far as the cells go, and
                beyond that each takes them in another order.
            reuse: a chip with too few weights gives them again in other orders of rows and columns.

        Raises:
            InputError: the chip has too few weights.
        """
        needed = sum(rows * columns for layer in shapes for rows, columns in layer)
        few = len(self.weights) < needed
        if few and not reuse:
            raise InputError(
                f"the chip ({self.source}) is too small: the model needs {needed} weights ({2 * needed} cells), but it "
                f"has {len(self.weights)} ({2 * len(self.weights)} cells); use fewer features or reservoir layers, "
                "or a larger chip."
            )
        chosen = torch.arange(needed)
        if few:
            chosen = orders(len(self.weights), needed, seed, member)
        elif len(self.weights) > needed or member:
            apart = (member + 1) * needed <= len(self.weights)
            stream = torch_stream(seed, "chip cells", *([] if apart else [member]))
            first = member * needed if apart else 0
            chosen = torch.randperm(len(self.weights), generator=stream)[first : first + needed]
        parts = iter(chosen.split([rows * columns for layer in shapes for rows, columns in layer]))
        return [[self._cut(next(parts), shape) for shape in layer] for layer in shapes]

    def _cut(self, chosen: Tensor, shape: tuple[int, int]) -> Cells:
        pair, deviation = None, None
        if self.conductances is not None and self.siemens is not None:
            pair = (self.conductances[:, chosen] / self.siemens).view(2, *shape)
        if self.read_deviation is not None:
            deviation = self.read_deviation[chosen].view(shape)
        return Cells(self.weights[chosen].view(shape), pair, deviation, self.siemens)

    def __repr__(self) -> str:
        n, g = len(self.weights), self.conductances
        if g is None:
            what = f"{n} signed weights, {self.weights.mean():.2g} ± {self.weights.std():.2g}"
        else:
            what = f"{n} weights as pairs of {2 * n} cells, {1e6 * g.mean():.3g} ± {1e6 * g.std():.2g} µS"
        return f"Chip({self.source!r}, {what})"

    @property
    def statistics(self) -> ChipStatistics:
        """Count, mean, deviation and range of the weights."""
        w = self.weights
        return ChipStatistics(len(w), float(w.mean()), float(w.std()), float(w.min()), float(w.max()))

    def save(self, folder: str | Path) -> None:
        """Write a chip folder: chip.safetensors, and chip.yaml to be read by people."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        optional = {"conductances": self.conductances, "read_deviation": self.read_deviation}
        tensors = {"weights": self.weights, **{k: tensor for k, tensor in optional.items() if tensor is not None}}
        settings = {
            "format": FORMAT,
            "version": VERSION,
            "source": self.source,
            "measured": self.measured,
            "siemens": self.siemens,
        }
        write_tensors(folder / "chip.safetensors", tensors, settings)
        readable = dump_yaml({**settings, **vars(self.statistics)})
        write_atomic(folder / "chip.yaml", "# To be read by people; rgnn reads chip.safetensors.\n" + readable)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a chip folder.

        Raises:
            InputError: not a chip, or damaged.
        """
        path = Path(folder) / "chip.safetensors"
        tensors, settings = read_tensors(path, FORMAT, VERSION)
        weights = tensors.get("weights")
        if weights is None or weights.ndim != 1 or not torch.isfinite(weights).all():
            raise InputError(f"{path}: has no finite list of weights; import the conductances again.")
        siemens, measured = settings.get("siemens"), bool(settings.get("measured", False))
        optional = tensors.get("conductances"), tensors.get("read_deviation")
        return cls(weights, str(settings.get("source", "unknown")), *optional, siemens, measured)
