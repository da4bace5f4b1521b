"""What is read off trajectories: radial distributions and mean squared displacements."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from rgnn.base.errors import InputError
from rgnn.graphs.neighbours import edge_vectors, neighbour_list

# Width in Angstrom that a distribution is smoothed by before its peak is read off.
PEAK_SMOOTHING = 0.04
# The same before its minimum is, which lies in a flat place, and what it has to rise again by, relative to the peak.
MINIMUM_SMOOTHING = 0.08
MINIMUM_RISE = 0.04
# Atoms times frames whose displacements are transformed together.
PORTION = 300_000


@dataclass(frozen=True)
class RadialDistribution:
    """g(r) of element pairs.

    Attributes:
        r: [bins] centres in Angstrom.
        pairs: atomic numbers (centre, neighbour), the lighter one first.
        g: [pairs, bins]; 1 for an ideal gas.
        shells: [pairs, bins] mean number of neighbours of the second kind in the shell around an atom of the first.
        counts: atoms of each element in a frame.
        frames: that were averaged over.
    """

    r: np.ndarray
    pairs: tuple[tuple[int, int], ...]
    g: np.ndarray
    shells: np.ndarray
    counts: dict[int, int]
    frames: int

    def of(self, pair: tuple[int, int]) -> np.ndarray:
        """g(r) of one pair, [bins]."""
        return self.g[self.pairs.index(pair)]

    @property
    def width(self) -> float:
        """Of a bin in Angstrom."""
        return float(self.r[1] - self.r[0])

    @property
    def total(self) -> np.ndarray:
        """g(r) of all atoms whatever their element, [bins]: the mean of the pairs', weighted by their number."""
        weights = np.array([(1 + (a != b)) * self.counts[a] * (self.counts[b] - (a == b)) for a, b in self.pairs])
        return weights @ self.g / max(1, weights.sum())

    def first_peak(self, pair: tuple[int, int]) -> float:
        """Position of the first peak in Angstrom, NaN where there is none; see `first_peak`."""
        return first_peak(self.r, self.of(pair))

    def first_minimum(self, pair: tuple[int, int]) -> float:
        """Where the first shell of neighbours ends, in Angstrom, NaN where it does not; see `first_minimum`."""
        return first_minimum(self.r, self.of(pair))

    def coordination(self, centre: int, neighbour: int, distance: float) -> float:
        """Mean number of `neighbour` atoms within a distance in Angstrom of a `centre` atom."""
        pair = (min(centre, neighbour), max(centre, neighbour))
        within = np.clip((distance - self.r) / self.width + 0.5, 0, 1)  # part of each shell that lies within
        return float(self.shells[self.pairs.index(pair)] @ within) * self.counts[pair[0]] / self.counts[centre]


class RadialCounts:
    """Counts pairs by distance, frame after frame, in periodic frames of the same atoms.

    Args:
        r_max: largest distance in Angstrom.
        width: of a bin in Angstrom.
    """

    def __init__(self, r_max: float = 6.0, width: float = 0.02) -> None:
        self.edges = np.linspace(0.0, r_max, max(8, round(r_max / width)) + 1)
        self.frames = 0
        self._pairs: tuple[tuple[int, int], ...] = ()
        self._pair_of = self._numbers = np.zeros(0, dtype=int)
        self._counted = self._g = np.zeros((0, len(self.edges) - 1))

    def add(self, atoms: Atoms) -> None:
        """Count a frame.

        Raises:
            InputError: it is not periodic in three directions, so has no density, or holds other atoms.
        """
        if not (atoms.pbc.all() and atoms.cell.rank == 3):
            raise InputError(
                "g(r) needs a cell that is periodic in three directions; other structures have no density."
            )
        if not self.frames:
            self._begin(atoms.numbers)
        elif not np.array_equal(atoms.numbers, self._numbers):
            raise InputError("g(r) is averaged over frames of the same atoms in the same order; these differ.")
        bins = len(self.edges) - 1
        index, shift = neighbour_list(atoms.positions, atoms.cell[:], atoms.pbc, float(self.edges[-1]))
        others = index[0] != index[1]  # the images of an atom itself are none of the N - 1 others
        index, shift = index[:, others], shift[others]
        d = np.linalg.norm(edge_vectors(atoms.positions, atoms.cell[:], index, shift), axis=1)
        shell = np.minimum((d * (bins / self.edges[-1])).astype(int), bins - 1)
        pair = self._pair_of[self._element[index[0]], self._element[index[1]]]
        counted = np.bincount(pair * bins + shell, minlength=(len(self._pairs) + 1) * bins)
        counted = counted.reshape(-1, bins)[:-1]  # the last row holds those seen from the heavier atom
        self._counted += counted
        self._g += counted * (atoms.get_volume() / self._ideal)
        self.frames += 1

    def _begin(self, numbers: np.ndarray) -> None:
        elements, self._element, count = np.unique(numbers, return_inverse=True, return_counts=True)
        self._numbers, n = numbers.copy(), len(elements)
        places = [(a, b) for a in range(n) for b in range(a, n)]
        self._pair_of = np.full((n, n), len(places))
        for row, place in enumerate(places):
            self._pair_of[place] = row
        self._pairs = tuple((int(elements[a]), int(elements[b])) for a, b in places)
        self._counts = dict(zip(elements.tolist(), count.tolist(), strict=True))
        shape = (len(places), len(self.edges) - 1)
        self._counted, self._g = np.zeros(shape), np.zeros(shape)
        number = [max(1, count[a] * (count[b] - (a == b))) for a, b in places]  # a lone atom has no pair to count
        self._ideal = np.outer(number, 4 * np.pi / 3 * np.diff(self.edges**3))

    def distribution(self) -> RadialDistribution:
        """The average over the frames counted so far.

        Raises:
            InputError: there are none.
        """
        if not self.frames:
            raise InputError("g(r) needs at least one frame.")
        centres = np.array([self._counts[a] for a, _ in self._pairs])
        return RadialDistribution(
            0.5 * (self.edges[1:] + self.edges[:-1]),
            self._pairs,
            self._g / self.frames,
            self._counted / (self.frames * centres[:, None]),
            self._counts,
            self.frames,
        )


def radial_distribution(frames: Iterable[Atoms], r_max: float = 6.0, width: float = 0.02) -> RadialDistribution:
    """g(r) of all element pairs, averaged over periodic frames of the same atoms.

    g_ab(r) = pairs counted in the shell / (frames N_a (N_b - delta_ab) / V * 4 pi / 3 (r_out^3 - r_in^3)).
    Beyond half the cell, periodic images of other atoms count too, but not those of the atom itself.

    Args:
        frames: structures periodic in three directions; positions and cell may change, the atoms not.
        r_max: largest distance in Angstrom.
        width: of a bin in Angstrom.

    Raises:
        InputError: no frames, or one that is not periodic in three directions, so has no density.
    """
    counts = RadialCounts(r_max, width)
    for atoms in frames:
        counts.add(atoms)
    return counts.distribution()


def pooled(parts: Sequence[RadialDistribution]) -> RadialDistribution:
    """The average over the frames of all parts, which are of the same atoms and bins."""
    weights = np.array([part.frames for part in parts], dtype=float)
    weights /= weights.sum()
    g, shells = (np.tensordot(weights, [getattr(part, name) for part in parts], 1) for name in ("g", "shells"))
    return replace(parts[0], g=g, shells=shells, frames=sum(part.frames for part in parts))


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


def first_minimum(r: np.ndarray, g: np.ndarray) -> float:
    """Where g(r) has its first minimum after its first peak, smoothed; the middle where it is flat.

    A dip counts as a minimum where g rises again by `MINIMUM_RISE` of the first peak's height.

    Returns:
        Angstrom; NaN for a distribution without a peak, or without a minimum after it.
    """
    peak = first_peak(r, g)
    if not np.isfinite(peak):
        return float("nan")
    smooth = gaussian_filter1d(g, MINIMUM_SMOOTHING / (r[1] - r[0]))
    top = int(np.searchsorted(r, peak))
    dips, _ = find_peaks(-smooth[top:], prominence=MINIMUM_RISE * smooth[top])
    return float(r[top + dips[0]]) if len(dips) else float("nan")


def integrated_difference(r: np.ndarray, g: np.ndarray, reference: np.ndarray) -> float:
    """How far apart two distributions are: the integral of |g - g_ref| dr over that of g_ref dr; NaN without pairs."""
    whole = float(np.trapezoid(reference, r))
    return float(np.trapezoid(np.abs(g - reference), r)) / whole if whole else float("nan")


def mean_squared_displacement(
    positions: np.ndarray, groups: Sequence[np.ndarray], masses: np.ndarray, *, anchored: bool = False
) -> np.ndarray:
    """MSD against the lag, averaged over all time origins and the atoms of each group, drift removed.

    Args:
        positions: [T, N, 3] unwrapped, evenly spaced in time, in Angstrom.
        groups: index arrays of atoms.
        masses: [N], for the centre of mass.
        anchored: as of `without_drift`.

    Returns:
        [groups, T] in square Angstrom, see `lag_squares`.
    """
    x = without_drift(positions, masses, anchored=anchored)
    return np.stack([lag_squares(x[:, group]) for group in groups])


def without_drift(positions: np.ndarray, masses: np.ndarray, *, anchored: bool = False) -> np.ndarray:
    """Positions [T, N, 3] from the centre of mass, or as they are where constraints anchor atoms, which do not drift.

    Beside anchored atoms the centre of mass moves with those that are free: seen from it, held atoms would move, and
    the others too little.
    """
    return positions if anchored else positions - centre_of_mass(positions, masses)[:, None]


def centre_of_mass(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """[T, 3] of atoms at positions [T, N, 3] with masses [N]."""
    return np.einsum("tnx,n->tx", positions, masses / masses.sum())


def lag_squares(x: np.ndarray) -> np.ndarray:
    """Mean of |x(t + lag) - x(t)|^2 over all time origins and all n of [T, n, 3], against the lag in frames, [T].

    The sums over origins are convolutions (Calandrini et al. 2011, doi 10.1051/sfn/201112010, section 4.2).
    """
    t, n = x.shape[:2]
    counts, result = np.arange(t, 0, -1), np.zeros(t)
    for part in _portions(np.arange(n), t):
        y = x[:, part] - x[0, part]  # smaller numbers, less cancellation
        spectrum = np.fft.rfft(y, n=2 * t, axis=0)
        products = np.fft.irfft(np.abs(spectrum) ** 2, n=2 * t, axis=0)[:t].sum(axis=2) / counts[:, None]
        square = np.square(y).sum(axis=2)
        ends = np.concatenate([np.zeros((1, len(part))), np.cumsum(square, axis=0)])
        # For lag m: the squares at times 0 .. T-1-m and m .. T-1.
        sums = ends[t - np.arange(t)] + ends[t] - ends[np.arange(t)]
        result += (sums / counts[:, None] - 2 * products).sum(axis=1) / n
    return np.maximum(result, 0)


def _portions(group: np.ndarray, t: int) -> list[np.ndarray]:
    """A group in parts of so few atoms that their spectra take little memory."""
    return np.array_split(group, max(1, -(-len(group) * t // PORTION)))
