"""The kernels on CPUs: integer matrix products by torch, and compiled loops around them."""

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rgnn.base.rng import quantiles
from rgnn.chip.product import AnalogProduct
from rgnn.graphs.triplets import TripletPlan
from rgnn.kernels import converted_loops, loops
from rgnn.kernels.converted import ConvertedArrays, ConvertedBuffers
from rgnn.kernels.edges import CompiledEdges, share_cores
from rgnn.kernels.interface import Kernels
from rgnn.kernels.operands import NO_SUMS, Buffers, Prepared
from rgnn.kernels.plain import PLAIN
from rgnn.kernels.prepared import PreparedMatrices, fits
from rgnn.kernels.radial import read_gaussians

# Rows of edges in one block; blocks of triplets are the plan's.
ROWS = 1024
# Parts of all tiles that cores take turns at to find extremes.
EXTREMES_PARTS = 64
NO_ENVELOPE = np.empty(0, np.float32)


def compiled_kernels() -> Kernels:
    """Loops compiled by numba for this processor, at first use; numba keeps them for later runs."""
    threads = torch.get_num_threads()
    numba.set_num_threads(1)  # starts numba's threads, and tells OpenMP, which torch shares, to use every core
    torch.set_num_threads(threads)
    prepared = PreparedMatrices()
    return Kernels("compiled", CompiledProducts(prepared), CompiledTriplets(prepared), CompiledEdges())


def keep_freed_memory() -> None:
    """Let the C library (glibc's, elsewhere nothing happens) keep the arrays of one pass for the next.

    It would hand blocks of megabytes back to the system at once, and first touching them again takes half as long
    as everything that is computed in them. At most 512 MB stay with the process. This changes the whole process, so
    it is called once, when compiled kernels are first chosen (`rgnn.kernels.choose`).
    """
    mmap_threshold, trim_threshold = -3, -1  # names of its malloc.h
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 512 << 20)


class CompiledProducts:
    """Analog products in blocks of rows.

    Args:
        prepared: where matrices are kept.
    """

    def __init__(self, prepared: PreparedMatrices) -> None:
        self._prepared, self._quantiles = prepared, quantiles().numpy()

    def product(self, call: AnalogProduct, x: Tensor, *, relu: bool = False) -> Tensor:
        """See `Products`."""
        if not fits(call, x):
            return PLAIN.products.product(call, x, relu=relu)
        return self._rows(call, x, self._prepared.of(call), finish=True, relu=relu)

    def accumulate(self, call: AnalogProduct, x: Tensor, columns: Tensor) -> Tensor:
        """See `Products`."""
        if not fits(call, x):
            return PLAIN.products.accumulate(call, x, columns)
        return self._rows(call, x, self._prepared.of(call, columns), finish=False, relu=False)

    def of_gaussians(
        self, call: AnalogProduct, mu: Tensor, s: Tensor, d: Tensor, block: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        # What is not driven must have the code 0, which a range that begins below 0 does not give.
        if not fits(call, d) or float(call.converter.codes(torch.zeros(1))) != 0:
            return PLAIN.products.of_gaussians(call, mu, s, d, block)
        return read_gaussians(call, self._prepared, mu, s, d, block)

    def _rows(
        self, call: AnalogProduct, x: Tensor, prepared: Prepared | ConvertedArrays, *, finish: bool, relu: bool
    ) -> Tensor:
        share_cores()
        key = call.key()
        x = x.contiguous()
        result = torch.empty((len(x), call.offset.shape[0]))
        buffers = prepared.buffers(call.noise.strength, min(ROWS, len(x)), x.shape[1], by_rows=True)
        for first in range(0, len(x), ROWS):
            block = x[first : first + ROWS]
            numbers = partial(np.arange, first, first + len(block))
            sums = buffers.fill(loops.row_codes, len(block), key, numbers, block.numpy(), *_converter(call))
            loops.row_sums(
                *sums,
                self._quantiles,
                _unsigned(key),
                first,
                finish,
                *_rescaling(call),
                relu,
                result[first : first + ROWS].numpy(),
            )
        return result


class CompiledTriplets:
    """Sums over triplets in blocks of tiles.

    Args:
        prepared: where matrices are kept.
    """

    def __init__(self, prepared: PreparedMatrices) -> None:
        self._prepared = prepared

    def extremes(self, plan: TripletPlan, p: Tensor, q: Tensor) -> Tensor:
        """See `TripletSums`."""
        if p.dtype != torch.float32:
            return PLAIN.triplets.extremes(plan, p, q)
        share_cores()
        p, q = p.detach().contiguous(), q.detach().contiguous()
        found = torch.empty((2 * min(EXTREMES_PARTS, len(plan.tiles.table)), p.shape[1]))
        loops.triplet_extremes(p.numpy(), q.numpy(), *_edges(plan), plan.tiles.table, found.numpy())
        return found

    def three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, first: AnalogProduct, second: AnalogProduct
    ) -> Tensor:
        """See `TripletSums`."""
        if not (fits(first, p) and fits(second, p)):
            return PLAIN.triplets.three_body(plan, p, q, fc, first, second)
        prepared = self._prepared.of(second, smooth=True)
        read = ThreeBodyRead(plan, fc, first, second, prepared, second.key())
        if second.passes_gradient(p, q):
            return ReadThreeBody.apply(p, q, read)
        return read.sums(p.contiguous(), q.contiguous())

    def trained_three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, weight: Tensor, bias: Tensor
    ) -> Tensor:
        """See `TripletSums`."""
        if p.dtype != torch.float32:
            return PLAIN.triplets.trained_three_body(plan, p, q, fc, weight, bias)
        return TrainedThreeBody.apply(plan, p, q, fc, weight, bias)


@dataclass(frozen=True)
class ThreeBodyRead:
    """One read of the second matrix for all triplets.

    Attributes:
        plan: of the triplets.
        fc: [E''] envelope of the edges j -> k, or None.
        first, second: calls of both matrices.
        prepared: the second matrix.
        key: of the row noise.
    """

    plan: TripletPlan
    fc: Tensor | None
    first: AnalogProduct
    second: AnalogProduct
    prepared: Prepared | ConvertedArrays
    key: int

    def sums(self, p: Tensor, q: Tensor) -> Tensor:
        """[E, F] sums over k, from contiguous p and q [E, H]."""
        share_cores()
        result, tiles_of = torch.zeros((len(p), self.second.offset.shape[0] // 2)), self.plan.tiles
        buffers, edges, read = self._buffers(p), _edges(self.plan), _rescaling(self.second)
        numbers, envelope = (quantiles().numpy(), _unsigned(self.key)), _envelope(self.fc)
        for rows, tiles in tiles_of:
            sums = self._fill(buffers, p, q, rows, tiles)
            loops.triplet_sums(*sums, *numbers, *read, *edges, envelope, tiles, result.numpy())
        return result

    def gradients(self, p: Tensor, q: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Those to p and q, from that of the sums [E, F]; each block is read once more, with the same noise."""
        share_cores()
        dp, dq = torch.zeros_like(p), torch.zeros_like(q)
        buffers, edges, read = self._buffers(p), _edges(self.plan), _rescaling(self.second)
        numbers, envelope = (quantiles().numpy(), _unsigned(self.key)), _envelope(self.fc)
        levels = self.first.converter.levels
        assert levels is not None
        per_code = self.first.converter.width / levels
        x, y = p * per_code + self.first.offset, q * per_code  # relu(x + y) are the inputs of the second matrix
        outputs, most = self.second.offset.shape[0], self.plan.tiles.most_rows
        values, inputs = torch.empty(outputs * most), torch.empty((most, p.shape[1]))
        no_bias = np.zeros(outputs, np.float32)
        for (rows, tiles), groups in zip(self.plan.tiles, self.plan.tiles.groups, strict=True):
            a = values[: outputs * rows].view(outputs, rows)
            loops.triplet_values(*self._fill(buffers, p, q, rows, tiles), *numbers, *read, tiles, a.numpy())
            da = torch.empty_like(a)
            loops.gate_gradients(a.numpy(), no_bias, *edges, envelope, tiles, gradient.numpy(), da.numpy())
            loops.triplet_relu(x.numpy(), y.numpy(), *edges, tiles, inputs.numpy())
            h = inputs[:rows]
            passed = self.second.converter.passed(h)
            assert passed is not None
            h.mul_(passed)  # no gradient where it is 0
            dh = torch.mm(da.T, self.second.noise.weight)
            loops.spread_gradients(dh.numpy(), h.numpy(), *edges, tiles, groups, dp.numpy(), dq.numpy())
        return dp.mul_(per_code), dq.mul_(per_code)

    def _buffers(self, p: Tensor) -> Buffers | ConvertedBuffers:
        rows = self.plan.tiles.most_rows
        return self.prepared.buffers(self.second.noise.strength, rows, p.shape[1], by_rows=False)

    def _fill(
        self, buffers: Buffers | ConvertedBuffers, p: Tensor, q: Tensor, rows: int, tiles: np.ndarray
    ) -> tuple[Any, ...]:
        numbers = partial(converted_loops.triplet_numbers, tiles, rows)
        given = p.numpy(), q.numpy(), *_edges(self.plan), tiles, *_rescaling(self.first), *_converter(self.second)
        return buffers.fill(loops.triplet_codes, rows, self.key, numbers, *given)


class ReadThreeBody(torch.autograd.Function):
    """Three-body sums of a read, with the straight-through gradient; only p and q are kept for it."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, q: Tensor, read: ThreeBodyRead) -> Tensor:
        """The sums."""
        p, q = p.contiguous(), q.contiguous()
        ctx.read = read
        ctx.save_for_backward(p, q)
        return read.sums(p, q)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients to p and q."""
        return *ctx.read.gradients(*ctx.saved_tensors, gradient.contiguous()), None


class TrainedThreeBody(torch.autograd.Function):
    """Keeps p and q only; the backward pass computes each block's hidden units again."""

    @staticmethod
    def forward(
        ctx: Any, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, weight: Tensor, bias: Tensor
    ) -> Tensor:
        """See `TripletSums`."""
        share_cores()
        p, q, weight = p.contiguous(), q.contiguous(), weight.contiguous()
        ctx.plan, ctx.fc = plan, fc
        ctx.save_for_backward(p, q, weight, bias)
        outputs = weight.shape[0]
        edges, envelope = _edges(plan), _envelope(fc)
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
        """Gradients to p, q, the weight and the bias."""
        p, q, weight, bias = ctx.saved_tensors
        plan, gradient = ctx.plan, gradients[0].contiguous()
        edges, envelope = _edges(plan), _envelope(ctx.fc)
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


def _edges(plan: TripletPlan) -> tuple[np.ndarray, np.ndarray]:
    """Edges into and out of the middle atoms, as the loops take them."""
    return plan.in_edges.numpy(), plan.out_edges.numpy()


def _envelope(fc: Tensor | None) -> np.ndarray:
    return NO_ENVELOPE if fc is None else fc.numpy()


def _unsigned(key: int) -> np.uint64:
    return np.uint64(key & 0xFFFFFFFFFFFFFFFF)


def _converter(call: AnalogProduct) -> tuple[Any, ...]:
    """(low, divisor, levels, nearest), as the loops take them."""
    c = call.converter
    return np.float32(c.low), np.float32(c.divisor), np.float32(c.levels), c.nearest


def _rescaling(call: AnalogProduct) -> tuple[Any, ...]:
    """(levels, width, offset), as the loops take them."""
    return np.float32(call.converter.levels), np.float32(call.converter.width), call.offset.numpy()
