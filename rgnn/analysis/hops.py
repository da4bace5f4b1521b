"""How far an atom moves when it hops: what its displacement has to pass before it can be said to diffuse.

The length of a hop is the distance from a site to the next one of the same element, the first peak of its own g(r).
He, Zhu, Epstein & Mo (npj Comput. Mater. 4, 18 (2018), doi 10.1038/s41524-018-0074-y) fit displacements from half of
its square on, and count total squared displacement over its square as the number of hops that a run has seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from rgnn.analysis.observables import RadialDistribution, first_peak

# Where the first peak is looked for, Angstrom: nearer are bonds within molecules, and atoms that have fused. Below this
# height it is noise, as in a gas.
NEAREST, HEIGHT = 1.5, 1.5
FEWEST_BINS, AROUND = 8, 0.05


@dataclass(frozen=True)
class Hop:
    """Length of a hop of an element.

    Attributes:
        length: Angstrom.
        source: where it is known from, in words.
    """

    length: float
    source: str

    @property
    def square(self) -> float:
        """Square Angstrom."""
        return self.length**2


def hops(radial: RadialDistribution | None, volume: float | None, given: Mapping[int, float]) -> dict[int, Hop]:
    """Of each element, as far as it is known.

    Where g(r) has no first peak of the element's own pair from `NEAREST` on, it is the mean spacing, (V/N)^(1/3), and
    no more than twice the distance to the nearest other element, which sites around one atom cannot exceed.

    Args:
        radial: g(r); None without a periodic cell.
        volume: of the cell, cubic Angstrom.
        given: atomic number -> Angstrom, which takes precedence.
    """
    found = {z: Hop(length, "as given") for z, length in given.items()}
    if radial is None or volume is None:
        return found
    for z, count in radial.counts.items():
        if z in found:
            continue
        peak = _first_peak(radial, (z, z))
        if np.isfinite(peak):
            found[z] = Hop(peak, f"first peak of {chemical_symbols[z]}-{chemical_symbols[z]}")
            continue
        around = [_first_peak(radial, pair) for pair in radial.pairs if z in pair and pair != (z, z)]
        spacing, near = (volume / count) ** (1 / 3), 2 * min((r for r in around if np.isfinite(r)), default=np.inf)
        found[z] = Hop(near, "twice the nearest other atom") if near < spacing else Hop(spacing, "mean spacing")
    return found


def _first_peak(radial: RadialDistribution, pair: tuple[int, int]) -> float:
    """Angstrom, from `NEAREST` on; NaN where there is none of this height."""
    beyond = radial.r >= NEAREST
    if beyond.sum() < FEWEST_BINS:
        return float("nan")
    r, g = radial.r[beyond], radial.of(pair)[beyond]
    peak = first_peak(r, g)
    high = np.isfinite(peak) and float(g[np.abs(r - peak) <= AROUND].mean()) >= HEIGHT
    return peak if high else float("nan")
