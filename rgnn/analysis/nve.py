"""Short runs without a thermostat: what forces heat by, how the total energy drifts, and whether the run survives."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms, units

from rgnn.base.errors import BrokenRunError, InputError
from rgnn.base.estimate import Estimate
from rgnn.base.events import SILENT, Listener
from rgnn.calculator import RGNNCalculator
from rgnn.md import MDSettings, read_log, run_atoms
from rgnn.md.drift import FEWEST_ROWS as DRIFT_ROWS
from rgnn.md.drift import slope_with_error
from rgnn.models.base import ForceField

# Evaluations of one frame that the noise of its forces is taken from.
READS = 16
# Part of an NVE run that is left out at its start, and rows of its log that must be left.
SETTLING, FEWEST_ROWS = 0.2, 8


def read_noise(model: ForceField, atoms: Atoms, reads: int = READS, seed: int = 0) -> np.ndarray:
    """[N, 3] variance of the forces from read to read on the hardware as trained, (eV/Angstrom)^2.

    Only of noise that is new at each read: slow noise moves the forces too, but the same way for many steps.
    """
    calculator = RGNNCalculator(model, seed=seed, remove_net_force=True, any_element=True)
    calculator.hardware = calculator.hardware.override(slow_noise=None)
    mine, samples = atoms.copy(), []
    mine.calc = calculator
    for _ in range(reads):
        calculator.reset()
        samples.append(mine.get_forces())
    return np.var(samples, axis=0, ddof=1)


def expected_heating(variance: np.ndarray, masses: np.ndarray, timestep: float) -> float:
    """Of forces with fresh errors at each step, meV/atom/ps: sigma_F^2 dt / (2 m) a degree of freedom and time.

    A step adds momentum sigma_F dt in a random direction, so (sigma_F dt)^2 / (2 m) of energy.

    Args:
        variance: [N, 3] sigma_F^2, (eV/Angstrom)^2.
        masses: [N] in atomic mass units.
        timestep: dt in fs.
    """
    per_time = (variance / (2 * masses[:, None])).sum() * timestep * units.fs / len(masses)
    return float(per_time * 1000 * units.fs * 1000)


@dataclass(frozen=True)
class NVERun:
    """A run without a thermostat.

    Attributes:
        heating: meV/atom/ps; without a number where the run broke off before it could be seen.
        drift: of the total energy, meV/atom/ps; None of models without an energy, and of runs too short for it.
        broke_off: at which step and why, in words; empty where the run went to its end.
    """

    heating: Estimate
    drift: Estimate | None = None
    broke_off: str = ""


@dataclass(frozen=True)
class NVE:
    """Runs without a thermostat.

    Attributes:
        noise_off: with the chip read without noise.
        as_trained: with the read noise of the training; None without such noise.
        expected: heating by fresh noise in each step, meV/atom/ps; None where reads do not vary.
        force_noise: standard deviation of a force component from read to read, eV/Angstrom.
    """

    noise_off: NVERun
    as_trained: NVERun | None = None
    expected: float | None = None
    force_noise: float | None = None

    @classmethod
    def of(
        cls, off: NVERun, trained: NVERun | None, variance: np.ndarray | None, masses: np.ndarray, timestep: float
    ) -> "NVE":
        """With what the noise of forces, of this variance [N, 3], gives; None where reads do not vary."""
        if variance is None:
            return cls(off, trained)
        return cls(off, trained, expected_heating(variance, masses, timestep), float(variance.mean()) ** 0.5)

    @property
    def runs(self) -> list[NVERun]:
        """Those that there are."""
        return [run for run in (self.noise_off, self.as_trained) if run is not None]

    @property
    def worst(self) -> NVERun:
        """The one that says most of dynamics with the model: on the hardware as trained."""
        return self.runs[-1]


def nve_run(model: ForceField, atoms: Atoms, config: MDSettings, listener: Listener = SILENT) -> NVERun:
    """What the forces heat a solid by in a short NVE run, meV/atom/ps: twice what its kinetic energy grows by.

    Where there is no energy to look at, in a nearly harmonic solid half of what it is given shows as motion
    (equipartition). The first fifth is left out, in which fresh velocities share out with the bonds. Energy sloshes
    between motion and bonds all the time; what that alone gives a run of this length, by the kinetic energy's
    deviation at both ends, is the interval. Of a model with an energy the drift of the total energy is the slope of a
    straight line, see `rgnn.md.drift`.

    Raises:
        InputError: too few steps.
        Interrupted: as in `rgnn.md.run_atoms`.
    """
    broke_off = ""
    with TemporaryDirectory(prefix="rgnn-nve-") as folder:
        out = Path(folder) / "run"
        try:
            run_atoms(atoms, model, config, out, listener=listener)
        except BrokenRunError as error:
            # The sentence begins with the folder, and goes on with what lies there: both are gone by the next line.
            broke_off = str(error).removeprefix(f"{out}: ").partition(";")[0]
        log = read_log(out)
    kept = log["time_fs"] >= SETTLING * log["time_fs"][-1]
    if kept.sum() < FEWEST_ROWS:
        if broke_off:
            return NVERun(Estimate(float("nan"), -np.inf, np.inf), None, broke_off)
        raise InputError(f"steps is {config.total_steps}, but an NVE run needs more to show its heating; take 500.")
    time, per_atom = log["time_fs"][kept] / 1000, 1000 / len(atoms)
    kinetic = per_atom * log["kinetic_eV"][kept]
    slope, start = np.polyfit(time, kinetic, 1)
    length = float(time[-1] - time[0])
    sloshing = 1.96 * 2**0.5 * float((kinetic - slope * time - start).std(ddof=2))
    heating, half = float(2 * slope), 2 * sloshing / length
    drift = None
    if "total_eV" in log and kept.sum() >= DRIFT_ROWS:
        found, half_of_it = slope_with_error(time, per_atom * log["total_eV"][kept])
        drift = Estimate(found, found - half_of_it, found + half_of_it)
    return NVERun(Estimate(heating, heating - half, heating + half), drift, broke_off)
