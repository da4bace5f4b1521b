"""Reads of Gaussians and their slopes, edges sorted by the block of columns that they drive."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from rgnn.base.rng import quantiles
from rgnn.chip.product import AnalogProduct
from rgnn.kernels import radial_loops
from rgnn.kernels.edges import share_cores
from rgnn.kernels.plain import steepest_slope
from rgnn.kernels.prepared import PreparedMatrices

# Edges whose codes are made and multiplied at once; their three reads stay in cache.
EDGES = 1024


def read_gaussians(
    call: AnalogProduct, prepared: PreparedMatrices, mu: Tensor, s: Tensor, d: Tensor, block: Tensor
) -> tuple[Tensor, Tensor]:
    """See `Products.of_gaussians`; for calls that the loops can form, whose code of 0 is 0."""
    share_cores()
    n, width, outputs = len(d), len(mu), call.offset.shape[0]
    blocks = call.noise.weight.shape[1] // width
    drives = block.numpy().astype(np.uint8)  # which sorts in linear time
    order = np.argsort(drives, kind="stable")
    ends = np.cumsum(np.bincount(drives, minlength=blocks))
    value, slope = torch.empty((n, outputs)), torch.empty((n, outputs))
    results = value.numpy(), slope.numpy()
    steepest, drawn = np.float32(steepest_slope(s)), call.key()
    key = np.uint64(drawn & 0xFFFFFFFFFFFFFFFF)
    c = call.converter
    assert c.levels is not None
    scale = np.float32(c.width / c.levels)
    shape = mu.numpy(), (1 / s).numpy(), steepest
    converter = np.float32(c.low), np.float32(c.divisor), np.float32(c.levels), c.nearest
    for b, rows in enumerate(np.split(order, ends[:-1])):
        if not len(rows):
            continue
        columns = prepared.of(call, prepared.columns(b, width), whole=True)
        buffers = columns.buffers(call.noise.strength, 3 * min(EDGES, len(rows)), width, by_rows=True)
        for first in range(0, len(rows), EDGES):
            edges = rows[first : first + EDGES]
            numbers = partial(np.concatenate, (edges, n + edges, 2 * n + edges))
            given = d.numpy(), edges, *shape, *converter
            sums = buffers.fill(radial_loops.gaussian_codes, 3 * len(edges), drawn, numbers, *given)
            radial_loops.gaussian_sums(
                *sums, quantiles().numpy(), key, edges, n, scale, steepest, call.offset.numpy(), *results
            )
    return value, slope
