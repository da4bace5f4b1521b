"""The kernels on CPUs: integer matrix products by torch, and compiled loops around them.

Codes are whole numbers of at most 8 bits, so a matrix of weights that is written as a few int8 limbs (base 128,
one scale for each output) multiplies them exactly. Three limbs hold a weight to 2^-22 of the largest of its row,
about as float32 does, and cost a third of a float32 product where the processor has instructions for them.
Variances need one limb: half a percent of a variance is far below what its own definition is good for.
"""

import ctypes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from rgnn.base.rng import quantiles
from rgnn.chip.noise import NoNoise, PlaneNoise, RowNoise
from rgnn.chip.product import AnalogProduct
from rgnn.graphs.topology import Part
from rgnn.graphs.triplets import TripletPlan
from rgnn.kernels import loops
from rgnn.kernels.edges import AlongEdges, share_cores, sums_over_edges
from rgnn.kernels.plain import Plain

# Rows of edges in one block; blocks of triplets are the plan's.
ROWS = 1024
# Parts of all tiles that cores take turns at to find extremes.
EXTREMES_PARTS = 64
# Two limbs round a weight by 2^-15 of its row's largest: enough where the sums pass a smooth gate and a sum over
# neighbours, or where noise of this size or more lies on them, but not where a quantiser follows at once.
LIMBS, FEWER_LIMBS = 3, 2
COARSE_NOISE = 0.01
NO_SQUARES, NO_SUMS = np.empty((0, 0), np.int8), np.empty((0, 0), np.int32)
NO_ENVELOPE = np.empty(0, np.float32)


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
        n = weight.shape[0]
        return cls(weight.contiguous(), np.ones(n, np.float32), np.zeros(n, np.float32))

    @classmethod
    def in_limbs(cls, weight: Tensor, limbs: int, zero: int = 0) -> "Operand":
        """In base 128, digits -64 to 63 but for the highest, which goes to 127."""
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
class Reading:
    """How the sums of one array are formed: from codes of some type, and from squares or planes of these.

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
    def of(cls, call: AnalogProduct, columns: Tensor | None, *, smooth: bool) -> "Reading":
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
        match call.noise:
            case NoNoise():
                return cls(mean, None, loops.NONE, nothing, bits, plain_squares)
            case RowNoise(bits=planes):
                variance = _columns(call.noise.variance, columns)
                if not integers:
                    operand, squares, unit = Operand.exact(variance), plain_squares, 1.0
                else:
                    operand, most = Operand.in_limbs(variance, 1), (4**bits - 1) // 3 if planes else int(levels) ** 2
                    factor, shift = (1, 0) if most <= 127 else ((127 << 16) // most, 16)
                    squares = (True, np.int32(factor), np.int32(1 << shift >> 1), np.int32(shift))
                    unit = 2.0**shift / factor
                scale = np.sqrt(operand.scale * np.float32(unit))
                return cls(mean, operand, loops.ROWS, scale, bits, (planes is not None, *squares[1:]))
            case PlaneNoise(fluctuations=each):
                powers = 2.0 ** torch.arange(bits, dtype=each.dtype).view(-1, 1, 1)
                stacked = (powers * _columns(each, columns)).permute(1, 0, 2).flatten(1)
                operand = Operand.in_limbs(stacked, FEWER_LIMBS) if integers else Operand.exact(stacked)
                return cls(mean, operand, loops.PLANES, operand.scale, bits, plain_squares)
        raise TypeError(f"no compiled form of {type(call.noise).__name__}")


def _columns(matrix: Tensor, columns: Tensor | None) -> Tensor:
    return matrix if columns is None else matrix[..., columns]


class Buffers:
    """Codes of a block of rows, and their squares or planes, filled by a loop and multiplied."""

    def __init__(self, reading: Reading, strength: float, rows: int, width: int, *, by_rows: bool) -> None:
        self.reading, self.by_rows, kind = reading, by_rows, reading.kind
        self.noise_scale = np.float32(strength) * reading.noise_scale if kind == loops.ROWS else reading.noise_scale
        self.codes = torch.empty((rows, width), dtype=reading.mean.matrix.dtype)
        self.squares = self.planes = None
        self.mean_space = reading.mean.space(rows)
        if reading.noise is not None:
            dtype = reading.noise.matrix.dtype
            self.noise_space = reading.noise.space(rows)
            if kind == loops.ROWS:
                self.squares = torch.empty((rows, width), dtype=dtype)
            else:
                self.planes = torch.empty((rows, reading.bits * width), dtype=dtype)

    def fill(self, loop: Callable[..., None], rows: int, *arguments: Any) -> tuple[Any, ...]:
        """Run a loop that writes codes; the products of these, as the loops that follow take them."""
        r = self.reading
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


class Compiled:
    """Loops compiled by numba for this processor, at first use; numba keeps them for later runs."""

    name = "compiled"
    carries_gradient = False

    def __init__(self) -> None:
        self._plain = Plain()
        self._quantiles = quantiles().numpy()
        self._readings: Any = WeakTensorKeyDictionary()
        _keep_freed_memory()
        threads = torch.get_num_threads()
        numba.set_num_threads(1)  # starts numba's threads, and tells OpenMP, which torch shares, to use every core
        torch.set_num_threads(threads)

    @staticmethod
    def _fits(call: AnalogProduct, x: Tensor) -> bool:
        levels = call.converter.levels
        known = call.counts is None and isinstance(call.noise, NoNoise | RowNoise | PlaneNoise)
        return known and levels is not None and levels <= 255 and x.dtype == torch.float32

    def _reading(self, call: AnalogProduct, columns: Tensor | None = None, *, smooth: bool = False) -> Reading:
        noise = call.noise
        if isinstance(noise, PlaneNoise):
            return Reading.of(call, columns, smooth=smooth)
        kept = self._readings.setdefault(noise.weight, {})
        part = None if columns is None else columns.data_ptr()
        fewer = smooth or noise.strength >= COARSE_NOISE
        key = (noise.weight._version, part, call.converter.levels, call.converter.nearest, fewer, noise.settings)
        if key not in kept:
            kept[key] = Reading.of(call, columns, smooth=smooth)
        return kept[key]

    def product(self, call: AnalogProduct, x: Tensor, *, relu: bool = False) -> Tensor:
        if not self._fits(call, x):
            return self._plain.product(call, x, relu=relu)
        return self._rows(call, x, self._reading(call), finish=True, relu=relu)

    def accumulate(self, call: AnalogProduct, x: Tensor, columns: Tensor) -> Tensor:
        if not self._fits(call, x):
            return self._plain.accumulate(call, x, columns)
        return self._rows(call, x, self._reading(call, columns), finish=False, relu=False)

    def _rows(self, call: AnalogProduct, x: Tensor, reading: Reading, *, finish: bool, relu: bool) -> Tensor:
        share_cores()
        key = np.uint64(call.key() & 0xFFFFFFFFFFFFFFFF)
        x = x.contiguous()
        result = torch.empty((len(x), call.offset.shape[0]))
        buffers = Buffers(reading, call.noise.strength, min(ROWS, len(x)), x.shape[1], by_rows=True)
        for first in range(0, len(x), ROWS):
            block = x[first : first + ROWS]
            sums = buffers.fill(loops.row_codes, len(block), block.numpy(), *_converter(call))
            loops.row_sums(
                *sums,
                self._quantiles,
                key,
                first,
                finish,
                *_rescaling(call),
                relu,
                result[first : first + ROWS].numpy(),
            )
        return result

    def extremes(self, plan: TripletPlan, p: Tensor, q: Tensor) -> Tensor:
        if p.dtype != torch.float32:
            return self._plain.extremes(plan, p, q)
        share_cores()
        parts = min(EXTREMES_PARTS, len(plan.tiles.table))
        found = torch.empty((2 * parts, p.shape[1]))
        edges = plan.in_edges.numpy(), plan.out_edges.numpy()
        loops.triplet_extremes(p.contiguous().numpy(), q.contiguous().numpy(), *edges, plan.tiles.table, found.numpy())
        return found

    def three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, first: AnalogProduct, second: AnalogProduct
    ) -> Tensor:
        if not (self._fits(first, p) and self._fits(second, p)):
            return self._plain.three_body(plan, p, q, fc, first, second)
        share_cores()
        key = np.uint64(second.key() & 0xFFFFFFFFFFFFFFFF)
        parts = p.contiguous().numpy(), q.contiguous().numpy()
        edges = plan.in_edges.numpy(), plan.out_edges.numpy()
        envelope = NO_ENVELOPE if fc is None else fc.numpy()
        result = torch.zeros((len(p), second.offset.shape[0] // 2))
        buffers = Buffers(
            self._reading(second, smooth=True), second.noise.strength, plan.tiles.most_rows, p.shape[1], by_rows=False
        )
        read_first, convert, read_second = _rescaling(first), _converter(second), _rescaling(second)
        for rows, tiles in plan.tiles:
            sums = buffers.fill(loops.triplet_codes, rows, *parts, *edges, tiles, *read_first, *convert)
            loops.triplet_sums(*sums, self._quantiles, key, *read_second, *edges, envelope, tiles, result.numpy())
        return result

    def trained_three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, weight: Tensor, bias: Tensor
    ) -> Tensor:
        if p.dtype != torch.float32:
            return self._plain.trained_three_body(plan, p, q, fc, weight, bias)
        return TrainedThreeBody.apply(plan, p, q, fc, weight, bias)

    def moments(self, part: Part, phi: Tensor, y: Tensor) -> Tensor:
        if phi.dtype != torch.float32:
            return self._plain.moments(part, phi, y)
        return sums_over_edges(part, phi, y)

    def along_edges(self, part: Part, y: Tensor, centre: Tensor, neighbour: Tensor) -> Tensor:
        if y.dtype != torch.float32:
            return self._plain.along_edges(part, y, centre, neighbour)
        return AlongEdges.apply(part, y, centre, neighbour)


class TrainedThreeBody(torch.autograd.Function):
    """Keeps p and q only; the backward pass computes each block's hidden units again."""

    @staticmethod
    def forward(
        ctx: Any, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, weight: Tensor, bias: Tensor
    ) -> Tensor:
        share_cores()
        p, q, weight = p.contiguous(), q.contiguous(), weight.contiguous()
        ctx.plan, ctx.fc = plan, fc
        ctx.save_for_backward(p, q, weight, bias)
        outputs = weight.shape[0]
        edges = plan.in_edges.numpy(), plan.out_edges.numpy()
        envelope = NO_ENVELOPE if fc is None else fc.numpy()
        one, zeros = np.ones(outputs, np.float32), np.zeros(outputs, np.float32)
        unscaled = np.float32(1), np.float32(1), zeros
        result = torch.zeros((len(p), outputs // 2))
        hidden = torch.empty((plan.tiles.most_rows, p.shape[1]))
        nothing = NO_SUMS, loops.NONE, NO_ENVELOPE, quantiles().numpy(), np.uint64(0)
        for rows, tiles in plan.tiles:
            loops.triplet_relu(p.numpy(), q.numpy(), *edges, tiles, hidden.numpy())
            mean = torch.mm(weight, hidden[:rows].T).numpy()
            loops.triplet_sums(
                mean, one, bias.detach().numpy(), *nothing, *unscaled, *edges, envelope, tiles, result.numpy()
            )
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        p, q, weight, bias = ctx.saved_tensors
        plan, gradient = ctx.plan, gradients[0].contiguous()
        edges = plan.in_edges.numpy(), plan.out_edges.numpy()
        envelope = NO_ENVELOPE if ctx.fc is None else ctx.fc.numpy()
        dp, dq = torch.zeros_like(p), torch.zeros_like(q)
        dw, db = torch.zeros_like(weight), torch.zeros_like(bias)
        hidden = torch.empty((plan.tiles.most_rows, p.shape[1]))
        for (rows, tiles), groups in zip(plan.tiles, plan.tiles.groups, strict=True):
            loops.triplet_relu(p.numpy(), q.numpy(), *edges, tiles, hidden.numpy())
            h = hidden[:rows]
            mean = torch.mm(weight, h.T)
            dy = torch.empty_like(mean)
            loops.gate_gradients(mean.numpy(), bias.numpy(), *edges, envelope, tiles, gradient.numpy(), dy.numpy())
            dw.addmm_(dy, h)
            db.add_(dy.sum(1))
            loops.spread_gradients(
                torch.mm(dy.T, weight).numpy(), h.numpy(), *edges, tiles, groups, dp.numpy(), dq.numpy()
            )
        return None, dp, dq, None, dw, db


def _converter(call: AnalogProduct) -> tuple[Any, ...]:
    """(low, divisor, levels, nearest), as the loops take them."""
    c = call.converter
    return np.float32(c.low), np.float32(c.divisor), np.float32(c.levels), c.nearest


def _rescaling(call: AnalogProduct) -> tuple[Any, ...]:
    """(levels, width, offset), as the loops take them."""
    return np.float32(call.converter.levels), np.float32(call.converter.width), call.offset.numpy()


def _keep_freed_memory() -> None:
    """Let the C library (glibc's, elsewhere nothing happens) keep the arrays of one pass for the next.

    It would hand blocks of megabytes back to the system at once, and first touching them again takes half as long
    as everything that is computed in them. At most 512 MB stay with the process.
    """
    mmap_threshold, trim_threshold = -3, -1  # names of its malloc.h
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 512 << 20)
