"""Whether a model heats what it moves, and by how much a thermostat then misses its temperature."""

from dataclasses import dataclass

import numpy as np
from ase import units

from rgnn.md.barostat import moves_cell
from rgnn.md.settings import MDSettings

# Times that a thermostat's coupling time has to pass before anything is said of its temperature.
TIMES = 10
# Fractions of the target temperature up to which heating is good, and beyond which it is too much.
GOOD, TOO_MUCH = 0.01, 0.05


@dataclass(frozen=True)
class Heating:
    """Work and heat of a stretch of a run, and what they mean for its temperature; None where that is not known.

    Attributes:
        work: done by the forces, meV/atom/ps; what direct forces and read noise heat by.
        heat: given by the thermostat, meV/atom/ps; in a steady state it carries the work off.
        shift: K by which this work displaces the mean temperature, or in NVE K/ps by which it rises.
        error: one standard deviation of the shift, from the energy that goes to and fro between motion and bonds.
        verdict: in words.
    """

    work: float | None = None
    heat: float | None = None
    shift: float | None = None
    error: float | None = None
    verdict: str = ""


def heating(log: dict[str, np.ndarray], config: MDSettings, n_atoms: int, freedom: int) -> Heating:
    """Of the second half of a run, where it has stages of the last one, which is then all that settled.

    With f degrees of freedom, kinetic energy K, and work W done by the forces per time, the thermostats take

        Langevin    2 g (K - K_0), g the friction          so  K - K_0 = W / (2 g)
        Bussi       (K - K_0) / t, t = 1 / g               so  K - K_0 = W / g
        Nose-Hoover whatever keeps the mean of K at K_0;   the same load as Bussi's, without a shift

    in a steady state, and T = 2 K / (f k). In NVE K grows by W. The work of forces that have an energy is a difference
    of two potential energies, which vary by f (kT)^2 / 2 each where atoms are bound by springs. A structure that is not
    yet settled gives off heat too, so nothing is said of a short run.
    """
    last = int(log["step"][-1])
    place, stage = config.stage_at(last)
    begin = config.begins(place)
    chosen = log["step"] >= begin + (last - begin) / 2
    time = log["time_fs"][chosen] / 1000
    if len(time) < 2:
        return Heating()
    span = float(time[-1] - time[0])
    work, heat = (float(log[name][chosen][-1] - log[name][chosen][0]) / span for name in ("work_eV", "heat_eV"))
    per_atom = 1000 / n_atoms
    if moves_cell(config.ensemble_at(last)):
        return Heating(verdict="not judged while the cell moves, since the stress does work too")
    if stage.is_ramp:
        return Heating(work * per_atom, heat * per_atom, verdict="not judged while the temperature is changed")
    ensemble = config.ensemble_at(last)
    rate = 1000 * config.friction * {"nvt": 2, "bussi": 1, "nose-hoover": 1, "nve": 1e-3 / config.friction}[ensemble]
    kelvin = 2 / (freedom * units.kB * rate)
    target = stage.end
    shift, error = work * kelvin, units.kB * target * freedom**0.5 / span * kelvin
    short = span < TIMES / (1000 * config.friction) or (abs(shift) < 2 * error and error > GOOD * target / 2)
    verdict = "the run is too short to tell" if short else _verdict(ensemble, shift, target)
    return Heating(work * per_atom, heat * per_atom, shift, error, verdict)


def _verdict(ensemble: str, shift: float, target: float) -> str:
    """In words: how much, and whether that is much."""
    part = abs(shift) / target
    word = "good" if part <= GOOD else "noticeable" if part <= TOO_MUCH else "too much"
    if ensemble == "nve":
        return f"{word}: the temperature changes by {shift:+.3g} K/ps"
    if ensemble == "nose-hoover":
        return f"{word}: the chain carries off what would shift a Bussi thermostat by {shift:+.3g} K"
    return f"{word}: shifts the temperature by {shift:+.3g} K"
