"""The loops between the matrix products, compiled by numba: vectorised, and shared by the cores.

Rows are edges or triplets. A block of triplets is cut into tiles: `n_in` edges into one middle atom times all
`n_out` edges out of it, and triplet (s, r) of a tile lies at row `row + s n_in + r`, so that every loop runs
over contiguous numbers. Arrays of sums are [outputs, rows] for triplets,
which are summed over rows, and [rows, outputs] for edges.
"""

import numpy as np
from numba import njit, prange

f32, i32, i64, u64 = np.float32, np.int32, np.int64, np.uint64

# Kinds of fluctuation: none; a normal number for each output, of a variance that is summed over the cells; or a
# second sum over the bit planes.
NONE, ROWS, PLANES = 0, 1, 2

# Columns of a table of tiles.
IN_FIRST, N_IN, OUT_FIRST, N_OUT, ROW, NUMBER = range(6)

LOOP = {"cache": True, "error_model": "numpy"}
# Sums and products may be fused; nothing here decides on a code.
FUSED = {**LOOP, "fastmath": {"contract", "reassoc", "arcp", "nsz"}}


@njit(inline="always", **LOOP)
def _code(x, low, divisor, levels, nearest):
    # A floor needs each step's own rounding, a nearest code does not; products are cheaper than quotients.
    x = np.rint((x - low) * (levels / divisor)) if nearest else np.floor((x - low) / divisor * levels)
    return min(max(x, f32(0)), levels)


@njit(inline="always", **LOOP)
def _squares(codes, zero, squares, by_planes, factor, half, shift):
    """(V(q) factor + half) >> shift of a row of codes of at most 8 bits: V = sum_b 4^b x_b by planes, else q^2."""
    if by_planes:
        for c in range(codes.shape[0]):
            v = i32(codes[c]) + zero
            v = (v | (v << i32(4))) & i32(0x0F0F)
            v = (v | (v << i32(2))) & i32(0x3333)
            v = (v | (v << i32(1))) & i32(0x5555)
            squares[c] = (v * factor + half) >> shift
    else:
        for c in range(codes.shape[0]):
            v = i32(codes[c]) + zero
            squares[c] = (v * v * factor + half) >> shift


@njit(inline="always", **LOOP)
def _mix(x):
    """SplitMix64, as in `rgnn.base.rng.normal`."""
    x = (x ^ (x >> u64(30))) * u64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> u64(27))) * u64(0x94D049BB133111EB)
    return x ^ (x >> u64(31))


@njit(inline="always", **LOOP)
def _word(key, number):
    return _mix(key + (u64(number) + u64(1)) * u64(0x9E3779B97F4A7C15))


@njit(inline="always", **LOOP)
def _pick(word, k):
    return i32((word >> u64(16 * k)) & u64(0xFFFF))


@njit(parallel=True, **LOOP)
def row_codes(x, low, divisor, levels, nearest, codes, zero, squares, by_planes, factor, half, shift):
    """Codes of x [rows, k], less `zero`, and (where `squares` has rows) V of the codes times `square_scale`."""
    noisy = squares.shape[0] > 0
    for r in prange(x.shape[0]):
        for c in range(x.shape[1]):
            q = _code(x[r, c], low, divisor, levels, nearest)
            codes[r, c] = i32(q) - zero
        if noisy:
            _squares(codes[r], zero, squares[r], by_planes, factor, half, shift)


@njit(parallel=True, **LOOP)
def triplet_codes(
    p,
    q,
    in_edges,
    out_edges,
    tiles,
    first_levels,
    first_width,
    first_offset,
    low,
    divisor,
    levels,
    nearest,
    codes,
    zero,
    squares,
    by_planes,
    factor,
    half,
    shift,
):
    """The same for the triplets of a block: of relu(A), with A from the sums p + q of the first product."""
    noisy = squares.shape[0] > 0
    for k in prange(tiles.shape[0]):
        n_in, n_out = tiles[k, N_IN], tiles[k, N_OUT]
        for s in range(n_out):
            b = out_edges[tiles[k, OUT_FIRST] + s]
            for r in range(n_in):
                a = in_edges[tiles[k, IN_FIRST] + r]
                row = tiles[k, ROW] + s * n_in + r
                for c in range(p.shape[1]):
                    h = p[a, c] + q[b, c]
                    h = h * (first_width / first_levels) if nearest else h / first_levels * first_width
                    h += first_offset[c]
                    codes[row, c] = i32(_code(max(h, f32(0)), low, divisor, levels, nearest)) - zero
        if noisy:
            rows = slice(tiles[k, ROW], tiles[k, ROW] + n_in * n_out)
            _squares(codes[rows].ravel(), zero, squares[rows].ravel(), by_planes, factor, half, shift)


@njit(parallel=True, **LOOP)
def triplet_relu(p, q, in_edges, out_edges, tiles, hidden):
    """relu(p + q) of the triplets of a block."""
    for k in prange(tiles.shape[0]):
        n_in, n_out = tiles[k, N_IN], tiles[k, N_OUT]
        for s in range(n_out):
            b = out_edges[tiles[k, OUT_FIRST] + s]
            for r in range(n_in):
                a = in_edges[tiles[k, IN_FIRST] + r]
                row = tiles[k, ROW] + s * n_in + r
                for c in range(p.shape[1]):
                    hidden[row, c] = max(p[a, c] + q[b, c], f32(0))


@njit(parallel=True, **LOOP)
def triplet_extremes(p, q, in_edges, out_edges, tiles, extremes):
    """Least p + q of the triplets of each part of the tiles, feature by feature, and then the largest."""
    parts, features = extremes.shape[0] // 2, extremes.shape[1]
    for part in prange(parts):
        least, most = extremes[part], extremes[parts + part]
        least[:], most[:] = f32(np.inf), f32(-np.inf)
        p_least, p_most, q_least, q_most = (
            np.empty(features, np.float32),
            np.empty(features, np.float32),
            np.empty(features, np.float32),
            np.empty(features, np.float32),
        )
        for k in range(part * tiles.shape[0] // parts, (part + 1) * tiles.shape[0] // parts):
            _extremes(p, in_edges, tiles[k, IN_FIRST], tiles[k, N_IN], p_least, p_most)
            _extremes(q, out_edges, tiles[k, OUT_FIRST], tiles[k, N_OUT], q_least, q_most)
            for c in range(features):
                least[c] = min(least[c], p_least[c] + q_least[c])
                most[c] = max(most[c], p_most[c] + q_most[c])


@njit(inline="always", **LOOP)
def _extremes(x, edges, first, n, least, most):
    """Least and largest of n rows of x."""
    least[:], most[:] = x[edges[first]], x[edges[first]]
    for r in range(1, n):
        row = x[edges[first + r]]
        for c in range(row.shape[0]):
            least[c], most[c] = min(least[c], row[c]), max(most[c], row[c])


@njit(parallel=True, **LOOP)
def bit_planes(codes, zero, bits, planes):
    """Bit b of the codes [rows, k] to the columns b k ... of `planes`."""
    for r in prange(codes.shape[0]):
        width = codes.shape[1]
        for b in range(bits):
            for c in range(width):
                planes[r, b * width + c] = ((i32(codes[r, c]) + zero) >> b) & 1


@njit(inline="always", **FUSED)
def _sums(y, mean, scale, shift, other, kind, other_scale, first, m):
    """Rows first ... first + m of the products, limbs joined, to y [outputs, m]; row noise is added apart."""
    outputs = y.shape[0]
    for c in range(outputs):
        a, b = scale[c], shift[c]
        if mean.shape[0] == outputs:
            for t in range(m):
                y[c, t] = f32(mean[c, first + t]) * a + b
        elif mean.shape[0] == 2 * outputs:
            for t in range(m):
                y[c, t] = (f32(mean[c, first + t]) * f32(128) + f32(mean[outputs + c, first + t])) * a + b
        else:
            for t in range(m):
                x = f32(mean[c, first + t]) * f32(128) + f32(mean[outputs + c, first + t])
                y[c, t] = (x * f32(128) + f32(mean[2 * outputs + c, first + t])) * a + b
        if kind == PLANES:
            d = other_scale[c]
            if other.shape[0] == outputs:
                for t in range(m):
                    y[c, t] += f32(other[c, first + t]) * d
            else:
                for t in range(m):
                    y[c, t] += (f32(other[c, first + t]) * f32(128) + f32(other[outputs + c, first + t])) * d


@njit(inline="always", **FUSED)
def _add_row_noise(y, variance, scale, quantiles, key, numbers, first, m):
    """Y += sqrt(variance) scale z, with z as `rgnn.base.rng.normal` gives it to these row numbers."""
    outputs = y.shape[0]
    words = (outputs + 3) // 4
    for c in range(words):
        c1, c2, c3 = min(c + words, outputs - 1), min(c + 2 * words, outputs - 1), min(c + 3 * words, outputs - 1)
        d0, d1, d2, d3 = scale[c], scale[c1], scale[c2], scale[c3]
        d1 = d1 if c + words < outputs else f32(0)
        d2 = d2 if c + 2 * words < outputs else f32(0)
        d3 = d3 if c + 3 * words < outputs else f32(0)
        for t in range(m):
            x = _word(key, numbers[t] * words + c)
            y[c, t] += d0 * np.sqrt(f32(variance[c, first + t])) * quantiles[_pick(x, 0)]
            y[c1, t] += d1 * np.sqrt(f32(variance[c1, first + t])) * quantiles[_pick(x, 1)]
            y[c2, t] += d2 * np.sqrt(f32(variance[c2, first + t])) * quantiles[_pick(x, 2)]
            y[c3, t] += d3 * np.sqrt(f32(variance[c3, first + t])) * quantiles[_pick(x, 3)]


@njit(inline="always", **FUSED)
def _sums_of_row(y, mean, scale, shift, other, r, kind, other_scale):
    """One row of the products, limbs joined, to y [outputs]."""
    outputs = y.shape[0]
    if mean.shape[0] == outputs:
        for c in range(outputs):
            y[c] = f32(mean[c]) * scale[c] + shift[c]
    elif mean.shape[0] == 2 * outputs:
        for c in range(outputs):
            y[c] = (f32(mean[c]) * f32(128) + f32(mean[outputs + c])) * scale[c] + shift[c]
    else:
        for c in range(outputs):
            x = f32(mean[c]) * f32(128) + f32(mean[outputs + c])
            y[c] = (x * f32(128) + f32(mean[2 * outputs + c])) * scale[c] + shift[c]
    if kind == PLANES:
        if other.shape[1] == outputs:
            for c in range(outputs):
                y[c] += f32(other[r, c]) * other_scale[c]
        else:
            for c in range(outputs):
                y[c] += (f32(other[r, c]) * f32(128) + f32(other[r, outputs + c])) * other_scale[c]


@njit(inline="always", **FUSED)
def _add_noise_of_row(y, variance, scale, quantiles, key, number):
    """The same for one row y [outputs]."""
    outputs = y.shape[0]
    words = (outputs + 3) // 4
    whole = max(0, outputs - 3 * words)  # words of which all four numbers are used
    for g in range(whole):
        x = _word(key, number * words + g)
        for k in range(4):
            c = g + k * words
            y[c] += scale[c] * np.sqrt(f32(variance[c])) * quantiles[_pick(x, k)]
    for g in range(whole, words):
        x = _word(key, number * words + g)
        for k in range(4):
            c = g + k * words
            if c < outputs:
                y[c] += scale[c] * np.sqrt(f32(variance[c])) * quantiles[_pick(x, k)]


@njit(parallel=True, **LOOP)
def row_sums(
    mean,
    scale,
    shift,
    other,
    kind,
    other_scale,
    quantiles,
    key,
    first_number,
    finish,
    levels,
    width,
    offset,
    relu,
    result,
):
    """Result [rows, outputs]: the products with their noise; finished to A, and relu'd, where asked."""
    rows, outputs = result.shape
    for r in prange(rows):
        y = result[r]
        _sums_of_row(y, mean[r], scale, shift, other, r, kind, other_scale)
        if kind == ROWS:
            _add_noise_of_row(y, other[r], other_scale, quantiles, key, first_number + r)
        if finish:
            for c in range(outputs):
                v = y[c] / levels * width + offset[c]
                y[c] = max(v, f32(0)) if relu else v


@njit(inline="always", **FUSED)
def _exp(x):
    """exp(x) to 2e-7 of its value for |x| < 60: 2^k times a polynomial (Cephes, expf)."""
    x = min(max(x, f32(-60)), f32(60))
    k = np.rint(x * f32(1.44269504))
    r = x - k * f32(0.693359375) + k * f32(2.12194440e-4)
    v = f32(1.9875691500e-4)
    v = v * r + f32(1.3981999507e-3)
    v = v * r + f32(8.3334519073e-3)
    v = v * r + f32(4.1665795894e-2)
    v = v * r + f32(1.6666665459e-1)
    v = v * r + f32(5.0000001201e-1)
    v = v * r * r + r + f32(1)
    return v * i32((i32(k) + i32(127)) << i32(23)).view(np.float32)


@njit(inline="always", **FUSED)
def _gate(y, weights, m):
    """Y [2 F, m] -> weights sigmoid(a) tanh(b) in its first half: (1 - e^-2b) / ((1 + e^-a)(1 + e^-2b))."""
    half = y.shape[0] // 2
    for c in range(half):
        for t in range(m):
            a, b = _exp(-y[c, t]), _exp(f32(-2) * y[half + c, t])
            y[c, t] = weights[t] * (f32(1) - b) / ((f32(1) + a) * (f32(1) + b))


@njit(inline="always", **LOOP)
def _read_tile(
    y, mean, scale, shift, other, kind, other_scale, quantiles, key, levels, width, offset, tile
):  # fmt: skip
    """Y [outputs, m]: A of the m triplets of a tile, from the products of their block."""
    n_in, n_out, first = tile[N_IN], tile[N_OUT], tile[ROW]
    m = n_in * n_out
    _sums(y, mean, scale, shift, other, kind, other_scale, first, m)
    if kind == ROWS:
        numbers = np.empty(m, np.int64)
        for s in range(n_out):
            for r in range(n_in):
                numbers[s * n_in + r] = tile[NUMBER] + r * n_out + s
        _add_row_noise(y, other, other_scale, quantiles, key, numbers, first, m)
    for c in range(y.shape[0]):
        add = offset[c]
        for t in range(m):
            y[c, t] = y[c, t] / levels * width + add


@njit(parallel=True, **LOOP)
def triplet_values(
    mean, scale, shift, other, kind, other_scale, quantiles, key, levels, width, offset, tiles, result
):  # fmt: skip
    """Result [outputs, rows]: A of the triplets of a block."""
    for k in prange(tiles.shape[0]):
        first = tiles[k, ROW]
        y = result[:, first : first + tiles[k, N_IN] * tiles[k, N_OUT]]
        _read_tile(
            y, mean, scale, shift, other, kind, other_scale, quantiles, key, levels, width, offset, tiles[k]
        )  # fmt: skip


@njit(parallel=True, **LOOP)
def triplet_sums(
    mean,
    scale,
    shift,
    other,
    kind,
    other_scale,
    quantiles,
    key,
    levels,
    width,
    offset,
    in_edges,
    out_edges,
    envelope,
    tiles,
    result,
):
    """result[edge i -> j] = sum over k of envelope_jk gate(A_ijk), for the edges of a block."""
    outputs = offset.shape[0]
    weighted = envelope.shape[0] > 0
    for k in prange(tiles.shape[0]):
        n_in, n_out = tiles[k, N_IN], tiles[k, N_OUT]
        m = n_in * n_out
        y = np.empty((outputs, m), np.float32)
        weights = np.empty(m, np.float32)
        for s in range(n_out):
            w = envelope[out_edges[tiles[k, OUT_FIRST] + s]] if weighted else f32(1)
            for r in range(n_in):
                weights[s * n_in + r] = w
        _read_tile(
            y, mean, scale, shift, other, kind, other_scale, quantiles, key, levels, width, offset, tiles[k]
        )  # fmt: skip
        _gate(y, weights, m)
        total = np.empty(n_in, np.float32)
        for c in range(outputs // 2):
            total[:] = f32(0)
            for s in range(n_out):
                for r in range(n_in):
                    total[r] += y[c, s * n_in + r]
            for r in range(n_in):
                result[in_edges[tiles[k, IN_FIRST] + r], c] = total[r]


@njit(parallel=True, **LOOP)
def gate_gradients(mean, bias, in_edges, out_edges, envelope, tiles, gradient, result):
    """Gradient of each gate's argument [2 F, rows], from that of the sums over k [E, F]."""
    half = gradient.shape[1]
    weighted = envelope.shape[0] > 0
    for k in prange(tiles.shape[0]):
        n_in, n_out, first = tiles[k, N_IN], tiles[k, N_OUT], tiles[k, ROW]
        m = n_in * n_out
        weights = np.empty(m, np.float32)
        for s in range(n_out):
            w = envelope[out_edges[tiles[k, OUT_FIRST] + s]] if weighted else f32(1)
            for r in range(n_in):
                weights[s * n_in + r] = w
        g = np.empty(m, np.float32)
        for c in range(half):
            for s in range(n_out):
                for r in range(n_in):
                    g[s * n_in + r] = gradient[in_edges[tiles[k, IN_FIRST] + r], c]
            _gate_gradient(mean, bias, g, weights, first, c, half, result)


@njit(inline="always", **FUSED)
def _gate_gradient(mean, bias, g, weights, first, c, half, result):
    for t in range(g.shape[0]):
        a = f32(1) / (f32(1) + _exp(-(mean[c, first + t] + bias[c])))
        e = _exp(f32(-2) * (mean[half + c, first + t] + bias[half + c]))
        b = (f32(1) - e) / (f32(1) + e)
        d = g[t] * weights[t] * a
        result[c, first + t] = d * (f32(1) - a) * b
        result[half + c, first + t] = d * (f32(1) - b * b)


@njit(parallel=True, **LOOP)
def spread_gradients(gradient, hidden, in_edges, out_edges, tiles, groups, dp, dq):
    """Gradient of the hidden units [rows, H] through their ReLU to p and q [E, H]; tiles of a group share out edges."""
    for group in prange(groups.shape[0] - 1):
        for k in range(groups[group], groups[group + 1]):
            n_in, n_out = tiles[k, N_IN], tiles[k, N_OUT]
            for s in range(n_out):
                b = out_edges[tiles[k, OUT_FIRST] + s]
                for r in range(n_in):
                    a = in_edges[tiles[k, IN_FIRST] + r]
                    row = tiles[k, ROW] + s * n_in + r
                    for c in range(hidden.shape[1]):
                        d = gradient[row, c] if hidden[row, c] > f32(0) else f32(0)
                        dp[a, c] += d
                        dq[b, c] += d
