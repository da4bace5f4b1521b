"""The loops over edges that moments need, compiled by numba: vectorised, and shared by the cores."""

import numpy as np
from numba import njit, prange

from rgnn.kernels.loops import FUSED, f32


@njit(inline="always", **FUSED)
def _harmonics(u, y):
    """The nine harmonics of a unit vector."""
    root = f32(2**0.5)
    y[0], y[1], y[2], y[3] = f32(1), u[0], u[1], u[2]
    y[4], y[5], y[6] = root * u[0] * u[1], root * u[1] * u[2], root * u[2] * u[0]
    y[7] = (u[0] * u[0] - u[1] * u[1]) * f32(0.5) * root
    y[8] = (f32(3) * u[2] * u[2] - f32(1)) / f32(6**0.5)


@njit(inline="always", **FUSED)
def _add_row(s, y, row):
    """S [M, K] += y [M] row [K]."""
    for m in range(s.shape[0]):
        factor = y[m]
        for c in range(s.shape[1]):
            s[m, c] += factor * row[c]


@njit(parallel=True, **FUSED)
def moments(phi, u, fc, first, sums):
    """Sums [atoms, 9, K]: see `EdgeSums.moments`; edges of an atom from `first` to the next; `fc` may be empty."""
    for atom in prange(sums.shape[0]):
        s, y = sums[atom], np.empty(9, np.float32)
        s[:] = f32(0)
        for e in range(first[atom], first[atom + 1]):
            _harmonics(u[e], y)
            if fc.shape[0] > 0:
                for m in range(9):
                    y[m] *= fc[e]
            _add_row(s, y, phi[e])


@njit(parallel=True, **FUSED)
def to_centres(x, y, first, sums):
    """Sums [atoms, M, K] of y [edges, M] x [edges, K] over the edges out of each atom, `first` to the next."""
    for atom in prange(sums.shape[0]):
        s = sums[atom]
        s[:] = f32(0)
        for e in range(first[atom], first[atom + 1]):
            _add_row(s, y[e], x[e])


@njit(parallel=True, **FUSED)
def along_edges(y, parity, i, j, centre, neighbour, result):
    """Result [edges, H] = y . centre[i] + parity y . neighbour[j]."""
    for e in prange(result.shape[0]):
        a, b, h = centre[i[e]], neighbour[j[e]], result[e]
        h[:] = f32(0)
        for m in range(y.shape[1]):
            factor = y[e, m]
            opposite = factor * parity[m]
            for c in range(h.shape[0]):
                h[c] += factor * a[m, c] + opposite * b[m, c]


@njit(parallel=True, **FUSED)
def to_neighbours(y, parity, j, gradient, width, sums):
    """Sums [N, M, H] of parity y gradient [edges, H] over the edges into each atom; cores share out `width` columns."""
    for part in prange((gradient.shape[1] + width - 1) // width):
        columns = slice(part * width, min((part + 1) * width, gradient.shape[1]))
        for e in range(y.shape[0]):
            g, s = gradient[e, columns], sums[j[e], :, columns]
            for m in range(y.shape[1]):
                factor = parity[m] * y[e, m]
                row = s[m]
                for c in range(g.shape[0]):
                    row[c] += factor * g[c]


@njit(inline="always", **FUSED)
def _derivative(v, across, radial, f, result):
    """Result [3] = radial v + f times the part across v of the gradient of across . Y."""
    root, last = f32(2**0.5), f32(6**0.5)
    t0 = across[1] + root * (v[1] * across[4] + v[2] * across[6] + v[0] * across[7])
    t1 = across[2] + root * (v[0] * across[4] + v[2] * across[5] - v[1] * across[7])
    t2 = across[3] + root * (v[1] * across[5] + v[0] * across[6]) + last * v[2] * across[8]
    turn = t0 * v[0] + t1 * v[1] + t2 * v[2]
    result[0] = radial * v[0] + f * (t0 - turn * v[0])
    result[1] = radial * v[1] + f * (t1 - turn * v[1])
    result[2] = radial * v[2] + f * (t2 - turn * v[2])


@njit(inline="always", **FUSED)
def _change(v, q, f, change):
    """Change [9] of the harmonics of v by f times the part of q across v; what q has along v is returned."""
    root, last = f32(2**0.5), f32(6**0.5)
    along = q[0] * v[0] + q[1] * v[1] + q[2] * v[2]
    q0, q1, q2 = f * (q[0] - along * v[0]), f * (q[1] - along * v[1]), f * (q[2] - along * v[2])
    change[0], change[1], change[2], change[3] = f32(0), q0, q1, q2
    change[4], change[5] = root * (v[1] * q0 + v[0] * q1), root * (v[2] * q1 + v[1] * q2)
    change[6], change[7] = root * (v[2] * q0 + v[0] * q2), root * (v[0] * q0 - v[1] * q1)
    change[8] = last * v[2] * q2
    return along


@njit(parallel=True, **FUSED)
def to_senders(u, straight, change, turned, order, first, sums):
    """Sums [n, 9, F] of the harmonics [9] times straight [edges, F] over the edges into each of n atoms.

    And of their change [edges, 9] times turned [edges, F], unless these are empty. The order has the edges into an atom
    from `first` to the next.
    """
    for n in prange(sums.shape[0]):
        s, y = sums[n], np.empty(9, np.float32)
        s[:] = f32(0)
        for place in range(first[n], first[n + 1]):
            e = order[place]
            _harmonics(u[e], y)
            _add_row(s, y, straight[e])
            if change.shape[0] > 0:
                _add_row(s, change[e], turned[e])


@njit(parallel=True, **FUSED)
def edge_gradients(phi, slope, d, u, fc, dfc, b, first, result):
    """Result [edges, 3]: see `EdgeSums.gradients`; edges of an atom from `first` to the next."""
    for atom in prange(b.shape[0]):
        m = b[atom]
        y, across, along = np.empty(9, np.float32), np.empty(9, np.float32), np.empty(9, np.float32)
        for e in range(first[atom], first[atom + 1]):
            p, s, v = phi[e], slope[e], u[e]
            _harmonics(v, y)
            for h in range(9):
                w = m[h]
                x, z = f32(0), f32(0)
                for c in range(p.shape[0]):
                    x += p[c] * w[c]
                    z += s[c] * w[c]
                across[h], along[h] = x, z
            radial = f32(0)
            for h in range(9):
                radial += y[h] * (along[h] * fc[e] + across[h] * dfc[e])
            _derivative(v, across, radial, fc[e] / d[e], result[e])


@njit(parallel=True, **FUSED)
def to_moments(phi, slope, d, u, fc, dfc, gradient, first, result):
    """Result [atoms, 9, K]: what a gradient [edges, 3] of `edge_gradients` is to b, in which that is linear."""
    for atom in prange(result.shape[0]):
        m = result[atom]
        m[:] = f32(0)
        y, a, b = np.empty(9, np.float32), np.empty(9, np.float32), np.empty(9, np.float32)
        for e in range(first[atom], first[atom + 1]):
            p, s, v = phi[e], slope[e], u[e]
            _harmonics(v, y)
            along = _change(v, gradient[e], fc[e] / d[e], b)
            for h in range(9):
                a[h] = y[h] * along * fc[e]
                b[h] += y[h] * along * dfc[e]
            for h in range(9):
                x, z, w = a[h], b[h], m[h]
                for c in range(p.shape[0]):
                    w[c] += x * s[c] + z * p[c]


@njit(inline="always", **FUSED)
def _cubic(d, step, c):
    """Coefficients [4] of value and slope at either of two knots in what a cubic has at d; the first row of these."""
    knot = int(d / step)
    x = d / step - f32(knot)
    y = f32(1) - x
    c[0], c[1] = (f32(1) + f32(2) * x) * y * y, step * x * y * y
    c[2], c[3] = (f32(1) + f32(2) * y) * x * x, -step * y * x * x
    return 3 * knot


@njit(inline="always", **FUSED)
def _weights(rows, c, fc, dfc, w, dw):
    """Functions [F] and their slopes, from rows [6, F] of a table: value, slope and curvature at two knots.

    Slopes are cubics through slopes, as differences of values would lose digits.
    """
    for f in range(w.shape[0]):
        value = c[0] * rows[0, f] + c[1] * rows[1, f] + c[2] * rows[3, f] + c[3] * rows[4, f]
        slope = c[0] * rows[1, f] + c[1] * rows[2, f] + c[2] * rows[4, f] + c[3] * rows[5, f]
        w[f] = fc * value
        dw[f] = fc * slope + dfc * value


@njit(inline="always", **FUSED)
def _add_weights(rows, c, fc, dfc, of_value, of_slope):
    """Adds to rows [6, F] of a table what gradients [F] to functions and slopes are to them; overwrites these."""
    for f in range(of_value.shape[0]):
        of_value[f] = fc * of_value[f] + dfc * of_slope[f]
        of_slope[f] *= fc
    for knot in range(2):
        x, z = c[2 * knot], c[2 * knot + 1]
        value, slope, curvature = rows[3 * knot], rows[3 * knot + 1], rows[3 * knot + 2]
        for f in range(of_value.shape[0]):
            value[f] += x * of_value[f]
        for f in range(of_value.shape[0]):
            slope[f] += z * of_value[f] + x * of_slope[f]
        for f in range(of_value.shape[0]):
            curvature[f] += z * of_slope[f]


@njit(parallel=True, **FUSED)
def pair_terms(d, fc, dfc, pair, step, table, value, slope):
    """Value and slope [edges]: see `EdgeSums.pair_terms`; for the table, see `CompiledEdges.radial`."""
    for e in prange(d.shape[0]):
        c = np.empty(4, np.float32)
        knot, p = _cubic(d[e], step, c), pair[e]
        _weights(table[knot : knot + 6, p : p + 1], c, fc[e], dfc[e], value[e : e + 1], slope[e : e + 1])


@njit(parallel=True, **FUSED)
def to_pairs(d, fc, dfc, pair, step, of_value, of_slope, parts):
    """Parts [shares, 3 knots, pairs] of the gradient to the table; each takes a share of the edges."""
    n = d.shape[0]
    for part in prange(parts.shape[0]):
        c, given = np.empty(4, np.float32), np.empty((2, 1), np.float32)
        for e in range(part * n // parts.shape[0], (part + 1) * n // parts.shape[0]):
            knot, p = _cubic(d[e], step, c), pair[e]
            given[0, 0], given[1, 0] = of_value[e], of_slope[e]
            _add_weights(parts[part, knot : knot + 6, p : p + 1], c, fc[e], dfc[e], given[0], given[1])


@njit(inline="always", **FUSED)
def _project(y, rows, found):
    """Found [F] = y . rows [9, F]."""
    for f in range(found.shape[0]):
        x = y[0] * rows[0, f]
        for h in range(1, 9):
            x += y[h] * rows[h, f]
        found[f] = x


@njit(parallel=True, **FUSED)
def messages(d, u, fc, dfc, j, step, table, sent, first, sums):
    """Sums [atoms, 9, F]: see `EdgeSums.messages`; edges of an atom from `first` to the next."""
    width = table.shape[1]
    for atom in prange(sums.shape[0]):
        s, y = sums[atom], np.empty(9, np.float32)
        s[:] = f32(0)
        c, w, t = np.empty(4, np.float32), np.empty((2, width), np.float32), np.empty(width, np.float32)
        for e in range(first[atom], first[atom + 1]):
            _harmonics(u[e], y)
            knot = _cubic(d[e], step, c)
            _weights(table[knot : knot + 6], c, fc[e], dfc[e], w[0], w[1])
            _project(y, sent[j[e]], t)
            for f in range(width):
                t[f] *= w[0, f]
            _add_row(s, y, t)


@njit(parallel=True, **FUSED)
def message_gradients(d, u, fc, dfc, j, step, table, sent, b, first, result, back):
    """Result [edges, 3]: see `EdgeSums.message_gradients`; back [edges, F] times the harmonics is for sent[j]."""
    width = table.shape[1]
    for atom in prange(b.shape[0]):
        mine = b[atom]
        y, across = np.empty(9, np.float32), np.empty(9, np.float32)
        c, w, t = np.empty(4, np.float32), np.empty((2, width), np.float32), np.empty(width, np.float32)
        for e in range(first[atom], first[atom + 1]):
            theirs, p = sent[j[e]], back[e]
            _harmonics(u[e], y)
            knot = _cubic(d[e], step, c)
            _weights(table[knot : knot + 6], c, fc[e], dfc[e], w[0], w[1])
            _project(y, theirs, t)
            _project(y, mine, p)
            radial = f32(0)
            for f in range(width):
                radial += w[1, f] * t[f] * p[f]
                t[f] *= w[0, f]
                p[f] *= w[0, f]
            for h in range(9):
                x = f32(0)
                for f in range(width):
                    x += t[f] * mine[h, f] + p[f] * theirs[h, f]
                across[h] = x
            _derivative(u[e], across, radial, f32(1) / d[e], result[e])


@njit(parallel=True, **FUSED)
def to_messages(
    d, u, fc, dfc, j, step, table, sent, b, gradient, of_sent, first, to_b, straight, turned, change, parts
):
    """What the gradients [edges, 3] and of_sent [N, 9, F] of `message_gradients` are to its inputs.

    To b [atoms, 9, F]; to sent[j], by straight [edges, F] times the harmonics and turned [edges, F] times their change
    [edges, 9]; and to the table, in parts [shares, 3 knots, F], of which each takes some of the atoms.
    """
    width = table.shape[1]
    n = b.shape[0]
    for part in prange(parts.shape[0]):
        y, c = np.empty(9, np.float32), np.empty(4, np.float32)
        w, rows = np.empty((2, width), np.float32), np.empty((5, width), np.float32)
        t, p, t_turned, p_turned, m = rows[0], rows[1], rows[2], rows[3], rows[4]
        for atom in range(part * n // parts.shape[0], (part + 1) * n // parts.shape[0]):
            mine, found = b[atom], to_b[atom]
            found[:] = f32(0)
            for e in range(first[atom], first[atom + 1]):
                theirs, moved = sent[j[e]], change[e]
                _harmonics(u[e], y)
                along = _change(u[e], gradient[e], f32(1) / d[e], moved)
                knot = _cubic(d[e], step, c)
                _weights(table[knot : knot + 6], c, fc[e], dfc[e], w[0], w[1])
                _project(y, theirs, t)
                _project(y, mine, p)
                _project(moved, theirs, t_turned)
                _project(moved, mine, p_turned)
                _project(y, of_sent[j[e]], m)
                for f in range(width):
                    x, z = w[0, f], along * w[1, f]
                    straight[e, f] = z * p[f] + x * p_turned[f]
                    turned[e, f] = x * p[f]
                    of_slope = along * t[f] * p[f]
                    of_value = t[f] * p_turned[f] + p[f] * (t_turned[f] + m[f])
                    w[0, f] = z * t[f] + x * (t_turned[f] + m[f])
                    w[1, f] = x * t[f]
                    t[f], p[f] = of_value, of_slope
                for h in range(9):
                    row = found[h]
                    for f in range(width):
                        row[f] += y[h] * w[0, f] + moved[h] * w[1, f]
                _add_weights(parts[part, knot : knot + 6], c, fc[e], dfc[e], t, p)


@njit(parallel=True, **FUSED)
def to_sums(d, u, fc, dfc, j, step, table, sent, of_sums, first, straight, parts):
    """What a gradient [atoms, 9, F] of `messages` is to sent[j], by straight [edges, F] times the harmonics.

    And to the table, in parts [shares, 3 knots, F], of which each takes some of the atoms.
    """
    width = table.shape[1]
    n = of_sums.shape[0]
    for part in prange(parts.shape[0]):
        y, c = np.empty(9, np.float32), np.empty(4, np.float32)
        w, t = np.empty((2, width), np.float32), np.empty(width, np.float32)
        nothing = np.empty(width, np.float32)
        for atom in range(part * n // parts.shape[0], (part + 1) * n // parts.shape[0]):
            for e in range(first[atom], first[atom + 1]):
                p = straight[e]
                _harmonics(u[e], y)
                knot = _cubic(d[e], step, c)
                _weights(table[knot : knot + 6], c, fc[e], dfc[e], w[0], w[1])
                _project(y, sent[j[e]], t)
                _project(y, of_sums[atom], p)
                for f in range(width):
                    t[f] *= p[f]
                    p[f] *= w[0, f]
                nothing[:] = f32(0)
                _add_weights(parts[part, knot : knot + 6], c, fc[e], dfc[e], t, nothing)
