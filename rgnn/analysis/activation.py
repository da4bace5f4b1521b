"""Activation energies: D(T) = D_0 exp(-E_a / (k_B T)), fitted to ln D against 1 / T."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import kB
from scipy.stats import t as student

from rgnn.analysis.joint import SAME, Joint
from rgnn.analysis.run import Analysis
from rgnn.analysis.slopes import REACH
from rgnn.base.errors import InputError
from rgnn.base.estimate import Estimate


@dataclass(frozen=True)
class Arrhenius:
    """The fit for one element.

    Attributes:
        temperatures: K, that were fitted.
        coefficients: at these, square centimetres per second.
        energy: eV, with its 95% interval.
        prefactor: D_0 in square centimetres per second.
    """

    temperatures: np.ndarray
    coefficients: tuple[Estimate, ...]
    energy: Estimate
    prefactor: float

    def at(self, temperature: np.ndarray) -> np.ndarray:
        """The line, between the temperatures it was fitted to.

        Raises:
            InputError: beyond them: another mechanism may rule there.
        """
        low, high = self.temperatures.min(), self.temperatures.max()
        if np.min(temperature) < low or np.max(temperature) > high:
            raise InputError(
                f"the fit reaches from {low:.0f} to {high:.0f} K and is not continued beyond; run at that temperature."
            )
        return self.prefactor * np.exp(-self.energy.value / (kB * np.asarray(temperature)))


def distinct(temperatures: Sequence[float] | np.ndarray) -> int:
    """How many temperatures there are, where those within `SAME` of their neighbour count as one."""
    kelvin = np.sort(np.asarray(temperatures, dtype=np.float64))
    return int((np.diff(kelvin) > SAME * kelvin[:-1]).sum()) + 1 if len(kelvin) else 0


def arrhenius(temperatures: Sequence[float], coefficients: Sequence[Estimate]) -> Arrhenius:
    """The weighted fit; errors of ln D are those of the intervals, larger where the points scatter more than these say.

    Args:
        temperatures: K.
        coefficients: with intervals above zero.

    Raises:
        InputError: fewer than two temperatures, or a coefficient whose interval holds zero.
    """
    kelvin = np.asarray(temperatures, dtype=np.float64)
    if distinct(kelvin) < 2:
        raise InputError("an activation energy needs runs at two temperatures at least, better three; name more runs.")
    if any(d.low <= 0 for d in coefficients):
        raise InputError("a diffusion coefficient whose interval holds zero has no logarithm; run longer.")
    log = np.log([d.value for d in coefficients])
    error = np.array([np.log(d.high / d.low) for d in coefficients]) / (2 * REACH)
    design = np.column_stack([np.ones_like(kelvin), -1 / (kB * kelvin)])
    weight = design / np.square(error)[:, None]
    covariance = np.linalg.inv(design.T @ weight)
    solution = covariance @ (weight.T @ log)
    freedom = len(kelvin) - 2
    scatter = float(np.square((log - design @ solution) / error).sum()) / freedom if freedom else 0.0
    sigma = float(covariance[1, 1]) ** 0.5
    # Errors that are too small to explain the scatter are blown up by it, and then known from that many points only.
    half = max(REACH * sigma, student.ppf(0.975, freedom) * sigma * scatter**0.5 if scatter > 1 else 0.0)
    energy = Estimate(float(solution[1]), float(solution[1] - half), float(solution[1] + half))
    return Arrhenius(kelvin, tuple(coefficients), energy, float(np.exp(solution[0])))


def activation_energies(
    runs: Sequence[Analysis], together: Sequence[Joint] = ()
) -> tuple[dict[int, Arrhenius], dict[int, str]]:
    """Fits of each element over runs at several temperatures, and why an element has none.

    Runs of the same count as one point, with the interval of all of them. Runs where an element is bound, or does not
    surely move, do not count for it, and runs whose temperature was changed for none. The temperature of a run is the
    measured mean, or that which it was started at.

    Args:
        runs: analysed.
        together: which of them are of the same, see `rgnn.analysis.joint.joined`.
    """
    changed = {a.name for a in runs if a.ramp}
    runs, together = [a for a in runs if not a.ramp], [j for j in together if changed.isdisjoint(j.names)]
    in_one = {name for joint in together for name in joint.names}
    alone = [(a.kelvin, a.displacements) for a in runs if a.displacements is not None and a.name not in in_one]
    points = [(joint.temperature, joint) for joint in together] + alone
    fits, left_out = {}, {}
    for z in sorted({d.element for _, moved in points for d in moved.elements}):
        found = [(t, d.coefficient) for t, moved in points if (d := moved.of(z)) is not None]
        known = [(t, d) for t, d in found if t is not None and d is not None]
        try:
            fits[z] = arrhenius([t for t, _ in known], [d for _, d in known])
        except InputError:
            left_out[z] = f"diffuses in {len(known)} of {len(points)} " + ("points" if together else "runs")
    return fits, left_out
