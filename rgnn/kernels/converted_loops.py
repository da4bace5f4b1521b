"""The loops around column sums that are converted plane by plane, compiled by numba."""

import numpy as np
from numba import njit, prange

from rgnn.kernels.loops import LOOP, N_IN, N_OUT, NUMBER, ROW, _pick, _word, f32, i32, i64


@njit(parallel=True, **LOOP)
def code_planes(codes, planes):
    """Bit b of the codes [rows, k] to planes[b] [rows, k]."""
    for r in prange(codes.shape[0]):
        for b in range(planes.shape[0]):
            for c in range(codes.shape[1]):
                planes[b, r, c] = (i32(codes[r, c]) >> i32(b)) & i32(1)


@njit(**LOOP)
def triplet_numbers(tiles, rows):
    """[rows] those of the triplets of a block, which their noise follows."""
    numbers = np.empty(rows, np.int64)
    for k in range(tiles.shape[0]):
        n_in, n_out, first = tiles[k, N_IN], tiles[k, N_OUT], tiles[k, ROW]
        for s in range(n_out):
            for r in range(n_in):
                numbers[first + s * n_in + r] = tiles[k, NUMBER] + r * n_out + s
    return numbers


@njit(inline="always", **LOOP)
def _normals(z, quantiles, key, number):
    """Those of one row, as `rgnn.base.rng.normal` gives them."""
    outputs = z.shape[0]
    words = (outputs + 3) // 4
    for g in range(words):
        x = _word(key, number * words + g)
        for k in range(4):
            c = g + k * words
            if c < outputs:
                z[c] = quantiles[_pick(x, k)]


@njit(inline="always", **LOOP)
def _joined(y, s, scale, limbs):
    """Sums of the weights to y, from those of their limbs."""
    outputs = y.shape[0]
    if limbs == 1:
        for c in range(outputs):
            y[c] = f32(s[c]) * scale[c]
    elif limbs == 2:
        for c in range(outputs):
            y[c] = (f32(s[c]) * f32(128) + f32(s[outputs + c])) * scale[c]
    else:
        for c in range(outputs):
            x = f32(s[c]) * f32(128) + f32(s[outputs + c])
            y[c] = (x * f32(128) + f32(s[2 * outputs + c])) * scale[c]


@njit(inline="always", **LOOP)
def _bow(u, a, b, c):
    """Sum a sin pi u + b sin 2 pi u + c sin 3 pi u of 0 <= u <= 1, to 1e-6 of the amplitudes.

    With v = u - 1/2: sin pi u = cos pi v and cos pi u = -sin pi v, both by their series up to v^12 and v^11.
    """
    v = u - f32(0.5)
    t = v * v
    sine = f32(-7.3704309e-3)
    sine = sine * t + f32(8.2145887e-2)
    sine = sine * t - f32(0.59926453)
    sine = sine * t + f32(2.5501640)
    sine = sine * t - f32(5.1677128)
    sine = (sine * t + f32(3.1415927)) * v
    cosine = f32(1.9295743e-3)
    cosine = cosine * t - f32(2.5806891e-2)
    cosine = cosine * t + f32(0.23533063)
    cosine = cosine * t - f32(1.3352628)
    cosine = cosine * t + f32(4.0587121)
    cosine = cosine * t - f32(4.9348022)
    cosine = cosine * t + f32(1)
    return cosine * (a - f32(2) * sine * b + (f32(4) * sine * sine - f32(1)) * c)


@njit(parallel=True, **LOOP)
def converted_sums(
    sums,
    limbs,
    scale,
    noise_scale,
    numbers,
    reads,
    first_read,
    tiles,
    quantiles,
    key,
    lsb,
    first,
    last,
    gain,
    offset,
    bow,
    slope,
    intercept,
    factor,
    by_rows,
    result,
):
    """Adds the converted sums of a tile, shifted by their planes, to `result` [rows, outputs] or its transpose.

    The sums [planes, rows, limbs * outputs] are those of the limbs of the weights, and beside them, where cells
    fluctuate, those of the limbs of the variances; `scale` [planes or 1, outputs] and `noise_scale` [outputs] turn them
    into weights and variances. What is known of each converter is repeated for each plane. The formulas are those of
    `rgnn.chip.converters.Adc` and `rgnn.chip.adc_errors.AdcErrors`.
    """
    planes, rows, outputs = sums.shape[0], sums.shape[1], result.shape[1] if by_rows else result.shape[0]
    noise_limbs, bent, wide = sums.shape[2] // outputs - limbs, bow.shape[0] > 0, planes * outputs
    for r in prange(rows):
        y, total = np.empty(wide, np.float32), np.zeros(outputs, np.float32)
        z, variance = np.empty(outputs, np.float32), np.empty(outputs, np.float32)
        for b in range(planes):
            s, x = sums[b, r], y[b * outputs : (b + 1) * outputs]
            _joined(x, s, scale[min(b, scale.shape[0] - 1)], limbs)
            if noise_limbs > 0:
                _normals(z, quantiles, key, numbers[r] * reads + first_read + b * tiles)
                _joined(variance, s[limbs * outputs :], noise_scale, noise_limbs)
                for c in range(outputs):
                    x[c] += z[c] * np.sqrt(variance[c])
        for k in range(wide):  # all planes at once fill whole vectors
            p = y[k] / lsb[k]
            seen = offset[k] + p * gain[k]
            if bent:
                u = min(max((p - first[k]) / last, f32(0)), f32(1))
                seen += _bow(u, bow[0, k], bow[1, k], bow[2, k])
            code = min(max(np.rint(seen) - first[k], f32(0)), last) + first[k]
            y[k] = (code - intercept[k]) / slope[k] * lsb[k]
        for b in range(planes):
            power = f32(i64(1) << b)
            for c in range(outputs):
                total[c] += y[b * outputs + c] * power
        if by_rows:
            for c in range(outputs):
                result[r, c] += factor * total[c]
        else:
            for c in range(outputs):
                result[c, r] += factor * total[c]
