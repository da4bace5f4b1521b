"""The loops around reads of Gaussians and their slopes, compiled by numba: vectorised, and shared by the cores."""

import numpy as np
from numba import njit, prange

from rgnn.kernels.loops import FUSED, LOOP, ROWS, _add_noise_of_row, _code, _exp, _squares, _sums_of_row, f32, i32


@njit(parallel=True, **LOOP)
def gaussian_codes(
    d, chunk, mu, inverse, steepest, low, divisor, levels, nearest, codes, zero, squares, by_planes, factor, half, shift
):
    """Codes of G, and of the rising and the falling part of G' / steepest, of m edges: rows r, m + r and 2 m + r."""
    m, width = chunk.shape[0], mu.shape[0]
    noisy = squares.shape[0] > 0
    for r in prange(m):
        x, values = d[chunk[r]], np.empty((3, width), np.float32)
        for c in range(width):
            t = (mu[c] - x) * inverse[c]
            g = _exp(f32(-0.5) * t * t)
            slope = t * inverse[c] * g / steepest
            values[0, c], values[1, c], values[2, c] = g, max(slope, f32(0)), max(-slope, f32(0))
        for k in range(3):
            code = codes[k * m + r]
            for c in range(width):
                code[c] = i32(_code(values[k, c], low, divisor, levels, nearest)) - zero
            if noisy:
                _squares(code, zero, squares[k * m + r], by_planes, factor, half, shift)


@njit(parallel=True, **FUSED)
def gaussian_sums(
    mean, scale, shift, other, kind, other_scale, quantiles, key, chunk, n, unit, steepest, offset, value, slope
):
    """Value and slope [n, outputs] of the edges of a chunk, from the products of their three reads, noise included."""
    m, outputs = chunk.shape[0], value.shape[1]
    for r in prange(m):
        e = chunk[r]
        y, rises, falls = value[e], slope[e], np.empty(outputs, np.float32)
        _sums_of_row(y, mean[r], scale, shift, other, r, kind, other_scale)
        _sums_of_row(rises, mean[m + r], scale, shift, other, m + r, kind, other_scale)
        _sums_of_row(falls, mean[2 * m + r], scale, shift, other, 2 * m + r, kind, other_scale)
        for c in range(outputs):
            rises[c] -= falls[c]
        if kind == ROWS:
            _add_noise_of_row(y, other[r], other_scale, quantiles, key, e)
            _add_noise_of_row(rises, other[m + r] + other[2 * m + r], other_scale, quantiles, key, n + e)
        for c in range(outputs):
            y[c] = y[c] * unit + offset[c]
            rises[c] *= unit * steepest
