"""The loops over edges that moments need, compiled by numba: vectorised, and shared by the cores."""

from numba import njit, prange

from rgnn.kernels.loops import FUSED, f32


@njit(parallel=True, **FUSED)
def moments(phi, y, first, sums):
    """Sums [atoms, M, K] of y [edges, M] phi [edges, K] over the edges out of each atom, `first` to the next."""
    for atom in prange(sums.shape[0]):
        s = sums[atom]
        s[:] = f32(0)
        for e in range(first[atom], first[atom + 1]):
            row = phi[e]
            for m in range(s.shape[0]):
                factor = y[e, m]
                for c in range(s.shape[1]):
                    s[m, c] += factor * row[c]


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
