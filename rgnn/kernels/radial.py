"""Reads of Gaussians and their slopes, edges sorted by the block of columns that they drive."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rgnn.base.rng import quantiles
from rgnn.chip.product import AnalogProduct
from rgnn.kernels import loops, radial_loops
from rgnn.kernels.edges import share_cores
from rgnn.kernels.operands import NO_SUMS
from rgnn.kernels.plain import steepest_slope

if TYPE_CHECKING:
    from rgnn.kernels.compiled import PreparedMatrices

# Edges whose codes are made and multiplied at once; their three reads stay in cache.
EDGES = 512


def read_gaussians(
    call: AnalogProduct, prepared: "PreparedMatrices", mu: Tensor, s: Tensor, d: Tensor, block: Tensor
) -> tuple[Tensor, Tensor]:
    """See `Products.of_gaussians`; for calls that the loops can form, whose code of 0 is 0."""
    share_cores()
    n, width, outputs = len(d), len(mu), call.offset.shape[0]
    blocks = call.noise.weight.shape[1] // width
    order = torch.argsort(block, stable=True)
    counts = torch.bincount(block, minlength=blocks).tolist()
    value, slope = torch.empty((n, outputs)), torch.empty((n, outputs))
    steepest, key = steepest_slope(s), np.uint64(call.key() & 0xFFFFFFFFFFFFFFFF)
    c = call.converter
    scale = np.float32(c.width / c.levels)
    shape = mu.numpy(), (1 / s).numpy(), np.float32(steepest)
    converter = np.float32(c.low), np.float32(c.divisor), np.float32(c.levels), c.nearest
    for b, rows in enumerate(order.split(counts)):
        if not len(rows):
            continue
        p = prepared.of(call, prepared.columns(b, width))
        strength = np.float32(call.noise.strength)
        noise_scale = strength * p.noise_scale if p.kind == loops.ROWS else p.noise_scale
        mean_space = p.mean.space(3 * EDGES)
        codes = torch.empty((3 * EDGES, width), dtype=p.mean.matrix.dtype)
        noise_space = squares = planes = None
        if p.noise is not None:
            noise_space = p.noise.space(3 * EDGES)
            wide = width * (p.bits if p.kind == loops.PLANES else 1)
            squares = torch.empty((3 * EDGES, wide), dtype=p.noise.matrix.dtype)
        for chunk in rows.split(EDGES):
            m = 3 * len(chunk)
            seen = squares.numpy() if squares is not None and p.kind == loops.ROWS else np.empty((0, 0), np.int8)
            zero = np.int32(p.mean.zero)
            radial_loops.gaussian_codes(
                d.numpy(), chunk.numpy(), *shape, *converter, codes.numpy(), zero, seen, *p.squares
            )
            other = NO_SUMS
            if p.noise is not None:
                assert squares is not None and noise_space is not None
                if p.kind == loops.PLANES:
                    loops.bit_planes(codes[:m].numpy(), zero, p.bits, squares[:m].numpy())
                other = p.noise.times(squares[:m], noise_space, by_rows=True)
            mean = p.mean.times(codes[:m], mean_space, by_rows=True)
            radial_loops.gaussian_sums(
                mean, p.mean.scale, p.mean.shift, other, p.kind, noise_scale, quantiles().numpy(), key,
                chunk.numpy(), n, scale, np.float32(steepest), call.offset.numpy(), value.numpy(), slope.numpy(),
            )  # fmt: skip
    return value, slope
