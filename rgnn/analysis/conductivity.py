"""Ionic conductivity: by Nernst and Einstein from what each ion does alone, and from what all of them do together.

Alone:    sigma = e^2 / (V k T) sum_z N_z q_z^2 D_z
Together: sigma = e^2 / (V k T) d<|M(t) - M(0)|^2>/dt / 6 with M = sum_i q_i x_i, over unwrapped positions

The Haven ratio is the first over the second, 1 for ions that move without regard for one another. The charges are
formal ones that the user gives. Where they are those of the moving ions alone, the other atoms are a background that
neutralises them, and M counts from its centre of mass; where they add up to zero, M does not depend on the frame.
(France-Lanord & Grossman, Phys. Rev. Lett. 122, 136001 (2019), arXiv 1812.04772.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from scipy.constants import elementary_charge, k

from rgnn.analysis.diffusion import Diffusion, Displacements
from rgnn.analysis.observables import centre_of_mass, lag_squares
from rgnn.analysis.slopes import LONGER, Track, parted, slope
from rgnn.base.estimate import Estimate

# Parts of a run that the motion of all charges together is compared over; below the fewest, it is one number.
MOST_PARTS, FEWEST_PARTS = 20, 8
# Upper over lower end of an interval beyond which it is no result.
WIDEST = 10.0
# Charges in e that pass for none in all.
NEUTRAL = 1e-6


@dataclass(frozen=True)
class Conductivity:
    """Of one run, or of several of the same.

    Attributes:
        charges: atomic number -> formal charge in e.
        alone: mS/cm by Nernst and Einstein, with its 95% interval; None where no charged element diffuses.
        bound: mS/cm that it can be at most where it is None, None where nothing bounds it.
        together: mS/cm from the motion of all charges; None where the run is too short.
        haven: ratio of the two; None where one is not known.
        fit: lags in ps of the collective line.
        temperature: K.
        volume: cubic Angstrom.
        notes: what is missing, and why.
        track: of the charges together, square e Angstrom; None where it depends on the frame.
        lag: shortest lag in ps of the collective line, whether or not the run is long enough for it.
    """

    charges: Mapping[int, float]
    alone: Estimate | None
    bound: float | None
    together: Estimate | None
    haven: Estimate | None
    fit: tuple[float, float] | None
    temperature: float
    volume: float
    notes: tuple[str, ...]
    track: Track | None = None
    lag: float | None = None


def dipole(
    positions: np.ndarray, numbers: np.ndarray, masses: np.ndarray, charges: Mapping[int, float]
) -> np.ndarray | None:
    """M(t) [T, 1, 3] in e Angstrom; None where it depends on a frame that nothing decides on.

    Args:
        positions: [T, N, 3] unwrapped, Angstrom.
        numbers: [N] atomic numbers.
        masses: [N].
        charges: atomic number -> e; elements that are left out are the background.
    """
    charge = np.array([charges.get(int(z), 0.0) for z in numbers])
    rest = np.array([int(z) not in charges for z in numbers])
    m = np.einsum("tnx,n->tx", positions, charge)
    if abs(charge.sum()) > NEUTRAL:
        if not rest.any():
            return None
        m = m - charge.sum() * centre_of_mass(positions[:, rest], masses[rest])
    return m[:, None]


def charge_track(moved: np.ndarray, interval: float, d: Diffusion, start: float | None) -> tuple[Track, float]:
    """How the squared dipole [T, 1, 3] of a run grows, and the shortest lag of the line in ps.

    The shortest lag is that at which the diffusing ion `d` passes a hop, or `start` in ps.
    """
    whole = lag_squares(moved)
    assert d.hop is not None
    passed = np.flatnonzero(d.msd >= d.hop.square)
    first = (int(passed[0]) if len(passed) else len(whole) // 4) if start is None else round(start / interval)
    first = max(2, first)
    n = max(1, min(MOST_PARTS, len(whole) // (LONGER * 2 * first)))
    parts = np.stack([lag_squares(moved[part]) for part in parted(whole, n)])
    return Track(interval, whole, parts, interval * (len(whole) - 1)), first * interval


def conductivity(
    moved: Displacements,
    charges: Mapping[int, float],
    temperature: float,
    volume: float,
    tracks: Sequence[Track],
    first: float | None,
) -> Conductivity:
    """Of elements that diffuse as `moved` says, and of charges together as the tracks do.

    Args:
        moved: displacements with the coefficients.
        charges: atomic number -> e.
        temperature: K.
        volume: mean of the cell, cubic Angstrom.
        tracks: squared dipole of each run; none where it depends on the frame.
        first: shortest lag of its line, ps.
    """
    scale, notes = _millisiemens(temperature, volume), list[str]()
    charged = [d for d in moved.elements if charges.get(d.element)]
    moving = [d for d in charged if d.coefficient is not None]

    def share(d: Diffusion, per_second: float) -> float:
        return scale * d.atoms * charges[d.element] ** 2 * per_second

    alone: Estimate | None = None
    if moving:  # of several elements the ends are added: their errors may go together
        each = [(d, d.coefficient) for d in moving if d.coefficient is not None]
        value, low, high = (sum(share(d, getattr(c, end)) for d, c in each) for end in ("value", "low", "high"))
        alone = Estimate(value, low, high)
    still = [d for d in charged if d.coefficient is None]
    known = [share(d, d.bound) for d in still if d.bound is not None]
    bound = sum(known) if charged and len(known) == len(still) and alone is None else None
    if moving and still:
        names = ", ".join(chemical_symbols[d.element] for d in still)
        least = f" (at most {sum(known):.2g} mS/cm)" if len(known) == len(still) else ""
        notes.append(f"{names} counts as still in the conductivity of ions alone{least}")
    together, fit = _together(tracks, first, scale, notes) if moving else (None, None)
    return Conductivity(
        charges, alone, bound, together, _ratio(alone, together), fit, temperature, volume, tuple(notes),
        tracks[0] if len(tracks) == 1 else None, first,
    )  # fmt: skip


def _millisiemens(temperature: float, volume: float) -> float:
    """Of e^2 D / (V k T) with D in square centimetres per second and V in cubic Angstrom: mS/cm."""
    return elementary_charge**2 * 1e-4 / (1e-30 * volume * k * temperature) * 10


def _together(
    tracks: Sequence[Track], first: float | None, scale: float, notes: list[str]
) -> tuple[Estimate | None, tuple[float, float] | None]:
    if not tracks or first is None:
        notes.append(
            "no collective conductivity: the charges do not add up to zero, so it would depend on the frame; give "
            "those of the moving ions alone, or of all elements"
        )
        return None, None
    fit = (first, 2 * first)
    n = sum(len(t.parts) if t.parts.shape[1] > round(fit[1] / t.interval) else 0 for t in tracks)
    if n < FEWEST_PARTS:
        ps, known = FEWEST_PARTS * LONGER * fit[1], sum(t.length for t in tracks)
        notes.append(
            f"no collective conductivity: all charges together are one walker, which needs {ps:.3g} ps, and there are "
            f"{known:.3g}"
        )
        return None, None
    found = slope(tracks, fit).gamma
    if found.low <= 0 or found.high > WIDEST * found.low:
        notes.append("no collective conductivity: its interval spans more than a factor of ten; run longer")
        return None, None
    factor = scale * 1e-4 / 6
    return Estimate(factor * found.value, factor * found.low, factor * found.high), fit


def _ratio(alone: Estimate | None, together: Estimate | None) -> Estimate | None:
    """Alone over together; the logarithms' errors are added in squares."""
    if alone is None or together is None:
        return None
    value = alone.value / together.value
    down = np.hypot(np.log(alone.value / alone.low), np.log(together.high / together.value))
    up = np.hypot(np.log(alone.high / alone.value), np.log(together.value / together.low))
    return Estimate(value, float(value * np.exp(-down)), float(value * np.exp(up)))
