"""Weights that are written in digits, each digit in a pair of cells of its own (bit slicing).

|w| in steps of the largest |w| / (2^(n b) - 1) has n digits of b bits. Array s holds digit s of all weights, on G+
where the weight is positive and on G- where it is negative, from the smallest to the largest conductance that the chip
has, and the digital side shifts and adds: W = sum_s f_s (G+_s - G-_s), f_s = 2^(b s) f_0. Each array is programmed,
disturbed, read and converted for itself (Shafiee et al., ISAAC, ISCA 2016, doi 10.1109/ISCA.2016.12; slices of signed
digits as in CrossSim's balanced cores).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rgnn.base.rng import stream_seed
from rgnn.chip.cells import Cells, Slice
from rgnn.chip.noise import CacheKey, Noise


def sliced(cells: Cells, n: int, bits: int) -> list[Slice]:
    """The arrays, the one of the lowest digit first; together they are the weights, rounded to n * bits bits.

    Where only the differences of the cells are known, a digit goes from 0 to the largest |w|.
    """
    sign, size = cells.weight.sign(), cells.weight.abs().double()
    largest = float(size.max())
    codes = (size / largest * (2 ** (n * bits) - 1)).round().long() if largest else size.long()
    low, high = (0.0, largest) if cells.pair is None else (float(cells.pair.min()), float(cells.pair.max()))
    span = (high - low) / (2**bits - 1) or 1.0
    found = []
    for s in range(n):
        digit = (codes >> (s * bits) & (2**bits - 1)).double() * span
        pair = torch.stack([torch.where(sign > 0, digit, 0), torch.where(sign < 0, digit, 0)]).to(cells.weight)
        own = replace(cells, weight=pair[0] - pair[1], pair=None if cells.pair is None else pair + low)
        found.append(Slice(own, 2.0 ** (s * bits) * largest / (2 ** (n * bits) - 1) / span))
    return found


def joined(slices: Sequence[Slice]) -> Cells:
    """The weights that arrays make up."""
    weight = sum((s.factor * s.cells.weight for s in slices), torch.zeros_like(slices[0].cells.weight))
    return Cells(weight, siemens=slices[0].cells.siemens, slices=tuple(slices))


class ConvertedSlices:
    """Products whose arrays are converted apart: y = sum_s f_s y_s.

    Args:
        slices: factor f_s, and how the product of the array is formed.
        weight: [out, in] that they make up.
    """

    has_closed_form, strength = False, 0.0
    bits: int | None = None
    variance: Tensor | None = None
    fluctuations: Tensor | None = None

    def __init__(self, slices: Sequence[tuple[float, Noise]], weight: Tensor) -> None:
        self.slices, self.weight = slices, weight
        self.draws_rows = any(noise.draws_rows for _, noise in slices)

    def cache_key(self) -> CacheKey | None:
        """None: arrays are converted one by one, and nothing of them can be prepared."""
        return None

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """See `Noise`."""
        total = torch.zeros_like(q[:, :1] @ self.weight[:, :1].T)
        for s, (factor, noise) in enumerate(self.slices):
            total.add_(noise.product(q, columns, stream_seed(key, "slice", s), first), alpha=factor)
        return total
