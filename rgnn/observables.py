"""What is read off trajectories: radial distributions and mean squared displacements."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.ndimage import gaussian_filter1d

from rgnn.errors import InputError
from rgnn.neighbours import edge_vectors, neighbour_list

# Width in Angstrom that a distribution is smoothed by before its peak is read off.
PEAK_SMOOTHING = 0.04


@dataclass(frozen=True)
class RadialDistribution:
    """g(r) of element pairs.

    Attributes:
        r: [bins] centres in Angstrom.
        pairs: atomic numbers (centre, neighbour).
        g: [pairs, bins]; 1 for an ideal gas.
    """

    r: np.ndarray
    pairs: tuple[tuple[int, int], ...]
    g: np.ndarray

    def of(self, pair: tuple[int, int]) -> np.ndarray:
        """g(r) of one pair, [bins]."""
        return self.g[self.pairs.index(pair)]

    def first_peak(self, pair: tuple[int, int]) -> float:
        """Position of the first peak in Angstrom, NaN where there is none; see `first_peak`."""
        return first_peak(self.r, self.of(pair))


def radial_distribution(frames: Iterable[Atoms], r_max: float = 6.0, width: float = 0.02) -> RadialDistribution:
    """g(r) of all element pairs, averaged over periodic frames of the same atoms.

    g_ab(r) = pairs counted in the shell / (frames N_a (N_b - delta_ab) / V * 4 pi / 3 (r_out^3 - r_in^3)).
    Beyond half the cell, periodic images count as atoms too.

    Args:
        frames: structures periodic in three directions; positions and cell may change, the atoms not.
        r_max: largest distance in Angstrom.
        width: of a bin in Angstrom.

    Raises:
        InputError: no frames, or one that is not periodic in three directions, so has no density.
    """
    edges = np.linspace(0.0, r_max, max(8, round(r_max / width)) + 1)
    shells = 4 * np.pi / 3 * np.diff(edges**3)
    pairs: tuple[tuple[int, int], ...] = ()
    total = np.zeros((0, len(shells)))
    n = 0
    for atoms in frames:
        if not (atoms.pbc.all() and atoms.cell.rank == 3):
            raise InputError(
                "g(r) needs a cell that is periodic in three directions; other structures have no density."
            )
        z = atoms.numbers
        if not n:
            elements = np.unique(z).tolist()
            pairs = tuple((a, b) for a in elements for b in elements if a <= b)
            total = np.zeros((len(pairs), len(shells)))
        index, shift = neighbour_list(atoms.positions, atoms.cell[:], atoms.pbc, float(edges[-1]))
        d = np.linalg.norm(edge_vectors(atoms.positions, atoms.cell[:], index, shift), axis=1)
        zi, zj = z[index[0]], z[index[1]]
        for row, (a, b) in enumerate(pairs):
            n_a, n_b = int((z == a).sum()), int((z == b).sum()) - (a == b)
            counts = np.histogram(d[(zi == a) & (zj == b)], edges)[0]
            if n_a and n_b:
                total[row] += counts * atoms.get_volume() / (n_a * n_b * shells)
        n += 1
    if not n:
        raise InputError("g(r) needs at least one frame.")
    return RadialDistribution(0.5 * (edges[1:] + edges[:-1]), pairs, total / n)


def first_peak(r: np.ndarray, g: np.ndarray) -> float:
    """Where g(r) has its first maximum above half of its highest: smoothed, and refined by a parabola.

    Returns:
        Angstrom; NaN for a distribution without a peak.
    """
    step = r[1] - r[0]
    smooth = gaussian_filter1d(g, PEAK_SMOOTHING / step)
    inner = smooth[1:-1]
    peaks = 1 + np.flatnonzero((inner >= smooth[:-2]) & (inner > smooth[2:]) & (inner > 0.5 * smooth.max()))
    if not len(peaks):
        return float("nan")
    k = peaks[0]
    left, top, right = smooth[k - 1 : k + 2]
    return float(r[k] + 0.5 * step * (left - right) / (left - 2 * top + right))


def mean_squared_displacement(positions: np.ndarray, groups: Sequence[np.ndarray], masses: np.ndarray) -> np.ndarray:
    """MSD against the lag, averaged over all time origins and the atoms of each group, drift removed.

    Args:
        positions: [T, N, 3] unwrapped, evenly spaced in time, in Angstrom.
        groups: index arrays of atoms.
        masses: [N], for the centre of mass.

    Returns:
        [groups, T] in square Angstrom; the sums over origins are convolutions (Calandrini et al. 2011,
        doi 10.1051/sfn/201112010, section 4.2).
    """
    centre = np.einsum("tnx,n->tx", positions, masses / masses.sum())
    x = positions - centre[:, None]
    x = x - x[0]  # smaller numbers, less cancellation
    t = len(x)
    counts = np.arange(t, 0, -1)
    result = np.zeros((len(groups), t))
    for row, group in enumerate(groups):
        y = x[:, group]
        spectrum = np.fft.rfft(y, n=2 * t, axis=0)
        products = np.fft.irfft(np.abs(spectrum) ** 2, n=2 * t, axis=0)[:t].sum(axis=2) / counts[:, None]
        square = np.square(y).sum(axis=2)
        ends = np.concatenate([np.zeros((1, len(group))), np.cumsum(square, axis=0)])
        # For lag m: the squares at times 0 .. T-1-m and m .. T-1.
        sums = ends[t - np.arange(t)] + ends[t] - ends[np.arange(t)]
        result[row] = (sums / counts[:, None] - 2 * products).mean(axis=1)
    return np.maximum(result, 0)
