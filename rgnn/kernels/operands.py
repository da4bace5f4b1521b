"""Matrix products of codes: integer ones by torch where the processor has them, and what loops need around them.

Codes are whole numbers of at most 8 bits, so a matrix of weights that is written as a few int8 limbs (base 128,
one scale for each output) multiplies them exactly. Three limbs hold a weight to 2^-22 of the largest of its row,
about as float32 does, and cost a third of a float32 product where the processor has instructions for them.
Variances need one limb: half a percent of a variance is far below what its own definition is good for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgnn.chip.product import AnalogProduct
from rgnn.kernels import loops

# Two limbs round a weight by 2^-15 of its row's largest: enough where the sums pass a smooth gate and a sum over
# neighbours, or where noise of this size or more lies on them, but not where a quantiser follows at once.
LIMBS, FEWER_LIMBS = 3, 2
COARSE_NOISE = 0.01
NO_SQUARES, NO_SUMS = np.empty((0, 0), np.int8), np.empty((0, 0), np.int32)


@cache
def integers_are_exact_and_fast() -> bool:
    """Whether this processor multiplies int8 matrices natively, and rightly so for the largest of numbers."""
    native = getattr(torch.cpu, "_is_vnni_supported", bool)()  # neither is public
    if not (native and hasattr(torch, "_int_mm")):
        return False
    a, b = torch.full((8, 64), -128, dtype=torch.int8), torch.full((8, 64), -127, dtype=torch.int8)
    b[::2] = 127
    return torch.equal(torch._int_mm(a, b.T), (a.int() @ b.T.int()))


@dataclass(frozen=True)
class Operand:
    """A matrix [out, k] that multiplies codes from the left: scale (its limbs, joined) + shift.

    Attributes:
        matrix: [limbs * out, k] int8, highest limb first; or [out, k] float32.
        scale, shift: [out] float32.
        zero: what has been subtracted from the codes, so that they fit a signed byte.
    """

    matrix: Tensor
    scale: np.ndarray
    shift: np.ndarray
    zero: int = 0

    @classmethod
    def exact(cls, weight: Tensor) -> "Operand":
        """The matrix [out, k] in float32."""
        n = weight.shape[0]
        return cls(weight.contiguous(), np.ones(n, np.float32), np.zeros(n, np.float32))

    @classmethod
    def in_limbs(cls, weight: Tensor, limbs: int, zero: int = 0) -> "Operand":
        """In base 128, with digits from -64 to 63; the highest goes to 127."""
        largest = 127 * 128 ** (limbs - 1)
        weight = weight.double()
        scale = (weight.abs().amax(1) / largest).clamp_min(torch.finfo(torch.float32).tiny)
        rest = whole = (weight / scale[:, None]).round().long()
        digits: list[Tensor] = []
        for _ in range(limbs - 1):
            digit = ((rest + 64) & 127) - 64
            digits.insert(0, digit)
            rest = (rest - digit) >> 7
        matrix = torch.cat([rest, *digits]).to(torch.int8)
        return cls(matrix, scale.float().numpy(), (zero * scale * whole.sum(1)).float().numpy(), zero)

    def times(self, codes: Tensor, space: Tensor, *, by_rows: bool) -> np.ndarray:
        """[rows, limbs * out], or its transpose, for codes [rows, k] of the matrix's type; `space` is large enough."""
        product = torch._int_mm if self.matrix.dtype == torch.int8 else torch.mm
        a, b = (codes, self.matrix.T) if by_rows else (self.matrix, codes.T)
        return product(a, b, out=space[: len(a) * b.shape[1]].view(len(a), -1)).numpy()

    def space(self, rows: int) -> Tensor:
        """For the products of so many rows."""
        dtype = torch.int32 if self.matrix.dtype == torch.int8 else torch.float32
        return torch.empty(self.matrix.shape[0] * rows, dtype=dtype)


@dataclass(frozen=True)
class Prepared:
    """How the sums of one crossbar are formed: from codes of some type, and from squares or planes of these.

    Attributes:
        mean, noise: matrices for the codes, and for their squares or planes.
        kind: of the noise, see `loops`.
        noise_scale: [out] of the noise's sums, for rows of strength 1.
        bits: planes of a code.
        squares: (by planes, factor, half, shift) of the squares, see `loops._squares`.
    """

    mean: Operand
    noise: Operand | None
    kind: int
    noise_scale: np.ndarray
    bits: int
    squares: tuple[bool, np.int32, np.int32, np.int32]

    @classmethod
    def of(cls, call: AnalogProduct, columns: Tensor | None, *, smooth: bool) -> "Prepared":
        """Those of a call on some columns; with fewer digits where a `smooth` function follows."""
        # torch 2.13 takes a column of int8 for a row.
        integers = integers_are_exact_and_fast() and call.noise.weight.shape[1] > 1
        levels = call.converter.levels
        assert levels is not None
        bits = int(levels).bit_length()
        weight = _columns(call.noise.weight, columns)
        # A floor would turn the last bit of a sum into another code: there the sums are those of float32.
        exact = not (integers and call.converter.nearest)
        fewer = smooth or call.noise.strength >= COARSE_NOISE
        limbs = FEWER_LIMBS if fewer else LIMBS
        mean = Operand.exact(weight) if exact else Operand.in_limbs(weight, limbs, 0 if levels <= 127 else 128)
        nothing, plain_squares = np.empty(0, np.float32), (True, np.int32(1), np.int32(0), np.int32(0))
        if (each := call.noise.fluctuations) is not None:
            powers = 2.0 ** torch.arange(bits, dtype=each.dtype).view(-1, 1, 1)
            stacked = (powers * _columns(each, columns)).permute(1, 0, 2).flatten(1)
            operand = Operand.in_limbs(stacked, FEWER_LIMBS) if integers else Operand.exact(stacked)
            return cls(mean, operand, loops.PLANES, operand.scale, bits, plain_squares)
        if (cells := call.noise.variance) is None:
            return cls(mean, None, loops.NONE, nothing, bits, plain_squares)
        variance, planes = _columns(cells, columns), call.noise.bits
        if not integers:
            operand, squares, unit = Operand.exact(variance), plain_squares, 1.0
        else:
            operand, most = Operand.in_limbs(variance, 1), (4**bits - 1) // 3 if planes else int(levels) ** 2
            factor, shift = (1, 0) if most <= 127 else ((127 << 16) // most, 16)
            squares = (True, np.int32(factor), np.int32(1 << shift >> 1), np.int32(shift))
            unit = 2.0**shift / factor
        scale = np.sqrt(operand.scale * np.float32(unit))
        return cls(mean, operand, loops.ROWS, scale, bits, (planes is not None, *squares[1:]))

    def buffers(self, strength: float, rows: int, width: int, *, by_rows: bool) -> "Buffers":
        """For blocks of at most so many rows."""
        return Buffers(self, strength, rows, width, by_rows=by_rows)


def _columns(matrix: Tensor, columns: Tensor | None) -> Tensor:
    return matrix if columns is None else matrix[..., columns]


class Buffers:
    """Codes of a block of rows, and their squares or planes, filled by a loop and multiplied."""

    def __init__(self, prepared: Prepared, strength: float, rows: int, width: int, *, by_rows: bool) -> None:
        self.prepared, self.by_rows, kind = prepared, by_rows, prepared.kind
        self.noise_scale = np.float32(strength) * prepared.noise_scale if kind == loops.ROWS else prepared.noise_scale
        self.codes = torch.empty((rows, width), dtype=prepared.mean.matrix.dtype)
        self.squares = self.planes = None
        self.mean_space = prepared.mean.space(rows)
        if prepared.noise is not None:
            dtype = prepared.noise.matrix.dtype
            self.noise_space = prepared.noise.space(rows)
            if kind == loops.ROWS:
                self.squares = torch.empty((rows, width), dtype=dtype)
            else:
                self.planes = torch.empty((rows, prepared.bits * width), dtype=dtype)

    def fill(
        self, loop: Callable[..., None], rows: int, key: int, numbers: Callable[[], np.ndarray], *arguments: Any
    ) -> tuple[Any, ...]:
        """Run a loop that writes codes; the products of these, as the loops that follow take them.

        The key and the numbers of the rows are for noise that is drawn here, which is that of converted sums only.
        """
        r = self.prepared
        codes, zero = self.codes[:rows], np.int32(r.mean.zero)
        squares = NO_SQUARES if self.squares is None else self.squares.numpy()
        loop(*arguments, codes.numpy(), zero, squares, *r.squares)
        other = NO_SUMS
        if self.planes is not None:
            loops.bit_planes(codes.numpy(), zero, r.bits, self.planes[:rows].numpy())
        if r.noise is not None:
            seen = self.squares if self.squares is not None else self.planes
            assert seen is not None
            other = r.noise.times(seen[:rows], self.noise_space, by_rows=self.by_rows)
        mean = r.mean.times(codes, self.mean_space, by_rows=self.by_rows)
        return mean, r.mean.scale, r.mean.shift, other, r.kind, self.noise_scale
