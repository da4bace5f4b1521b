"""How far forces are from those of an energy: the asymmetry of their Jacobian, net force and torque, heating in NVE.

Forces of an energy have a symmetric Jacobian J = dF/dx. Its antisymmetric part A = (J - J^T) / 2 over the whole,
lambda = |A|_F / |J|_F, is 0 for them and 1 at most (Bigi, Langer & Ceriotti 2025, arXiv 2412.11569).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from ase import Atoms, units

from rgnn.base.errors import InputError
from rgnn.base.estimate import Estimate
from rgnn.base.events import SILENT, Listener, Named
from rgnn.base.rng import numpy_stream
from rgnn.calculator import RGNNCalculator
from rgnn.chip.hardware import Hardware
from rgnn.data.frames import Frame
from rgnn.graphs.graph import Graph
from rgnn.graphs.skin import SkinList
from rgnn.md import MDSettings, read_log, run_atoms
from rgnn.models.base import ForceField
from rgnn.models.inference import predict

# Directions of a frame; every two of them are a sample, and each costs two evaluations for each step length.
PROBES = 24
# Finite-difference steps, Angstrom a component: a plateau over these says that the step plays no part.
STEPS = (0.005, 0.01, 0.02)
# The step whose result is the result.
STEP = 0.01
# Evaluations of one frame that the noise of its forces is taken from.
READS = 16
# Up to this asymmetry forces pass for conservative, and up to that for as good as published direct ones.
NEARLY, USUAL = 0.005, 0.05

# Part of an NVE run that is left out at its start, and rows of its log that must be left.
SETTLING, FEWEST_ROWS = 0.2, 8

Forces = Callable[[np.ndarray], np.ndarray]
Verdict = Literal["nearly_conservative", "as_published_direct_models", "far_from_conservative"]


def forces_of(model: ForceField, atoms: Atoms, hardware: Hardware) -> Forces:
    """Positions [N, 3] in Angstrom -> forces [N, 3] in eV/Angstrom, on hardware that is read without noise."""
    neighbours = SkinList(model.settings.cutoff)
    clean = hardware.without_noise()

    def forces(positions: np.ndarray) -> np.ndarray:
        index, vector = neighbours.edges(positions, atoms.cell[:], atoms.pbc)
        g = Graph.from_arrays(atoms.numbers, index, vector)
        return predict(model, g, model.read(clean)).forces

    return forces


@dataclass(frozen=True)
class Asymmetry:
    """Samples of a Jacobian's two parts.

    For directions u, v of independent standard normal components and any matrix M, E[(u^T M v)^2] = |M|_F^2. With
    M = J - J^T = 2 A and M = J + J^T = 2 S, every two of K directions give a sample of either part, and the parts
    add up to the whole, |J|^2 = |A|^2 + |S|^2. All samples follow from P = V^T J V, which takes K derivatives.

    Attributes:
        products: [frames, K, K] P of each frame, eV/Angstrom^2.
    """

    products: np.ndarray

    @property
    def antisymmetric(self) -> float:
        """Estimate of |A|_F, eV/Angstrom^2; the mean square over frames under the root."""
        return float(np.sqrt(self._squares(np.arange(self.products.shape[1]))[0]))

    @property
    def symmetric(self) -> float:
        """Estimate of |S|_F."""
        return float(np.sqrt(self._squares(np.arange(self.products.shape[1]))[1]))

    @property
    def value(self) -> Estimate:
        """Lambda with a 95% interval, from leaving out each direction in turn (jackknife)."""
        k = self.products.shape[1]
        everyone = np.arange(k)
        middle = self._lambda(everyone)
        without = np.array([self._lambda(np.delete(everyone, i)) for i in everyone])
        half = 1.96 * float(np.sqrt((k - 1) / k * np.square(without - without.mean()).sum()))
        return Estimate(middle, max(0.0, middle - half), min(1.0, middle + half))

    def _lambda(self, directions: np.ndarray) -> float:
        a, s = self._squares(directions)
        return float(np.sqrt(a / (a + s))) if a + s > 0 else 0.0

    def _squares(self, directions: np.ndarray) -> tuple[float, float]:
        p = self.products[:, directions][:, :, directions]
        rows, columns = np.triu_indices(len(directions), 1)
        turned = p.transpose(0, 2, 1)
        a, s = (np.square(m[:, rows, columns]).mean() / 4 for m in (p - turned, p + turned))
        return float(a), float(s)


def directional_derivatives(forces: Forces, positions: np.ndarray, directions: np.ndarray, step: float) -> np.ndarray:
    """J v for each direction v, [K, 3N], by central differences (F(x + h v) - F(x - h v)) / (2 h)."""
    shaped = directions.reshape(len(directions), *positions.shape)
    differences = [forces(positions + step * v) - forces(positions - step * v) for v in shaped]
    return np.array(differences).reshape(directions.shape) / (2 * step)


def probe(forces: Forces, positions: np.ndarray, step: float, probes: int, seed: int, frame: int = 0) -> np.ndarray:
    """P of one frame, [K, K], for directions that differ between frames, and are the same for every step and hardware.

    The analog product is quantised, so its exact derivative is zero almost everywhere: a finite step crosses many
    codes, and sees the slope that atoms feel.

    Args:
        forces: of the frame.
        positions: where, [N, 3] in Angstrom.
        step: h in Angstrom; every atom moves by about 1.7 h.
        probes: directions, K.
        seed: of the directions.
        frame: number of the frame, which the directions depend on too.
    """
    if probes < 3:
        raise InputError(f"probes is {probes}, but it must be at least 3: an interval leaves out one of them.")
    v = numpy_stream(seed, "jacobian", frame).standard_normal((probes, positions.size))
    return v @ directional_derivatives(forces, positions, v, step).T


def net_force(forces: np.ndarray) -> float:
    """|sum F| / N over mean |F|: what pushes the centre of mass, relative to a force."""
    size = np.linalg.norm(forces, axis=1).mean()
    return float(np.linalg.norm(forces.sum(axis=0)) / len(forces) / size) if size else 0.0


def net_torque(positions: np.ndarray, forces: np.ndarray) -> float:
    """|sum r x F| / sum |r| |F| about the centre; it has a meaning without periodicity only."""
    r = positions - positions.mean(axis=0)
    size = (np.linalg.norm(r, axis=1) * np.linalg.norm(forces, axis=1)).sum()
    return float(np.linalg.norm(np.cross(r, forces).sum(axis=0)) / size) if size else 0.0


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


def nve_heating(model: ForceField, atoms: Atoms, config: MDSettings, listener: Listener = SILENT) -> Estimate:
    """What the forces heat a solid by in a short NVE run, meV/atom/ps: twice what its kinetic energy grows by.

    There is no energy to look at, but in a nearly harmonic solid half of what it is given shows as motion
    (equipartition). The first fifth is left out, in which fresh velocities share out with the bonds. Energy sloshes
    between motion and bonds all the time; what that alone gives a run of this length, by the kinetic energy's
    deviation at both ends, is the interval.

    Raises:
        InputError: too few steps.
        BrokenRunError, Interrupted: as in `rgnn.md.run_atoms`.
    """
    with TemporaryDirectory(prefix="rgnn-nve-") as folder:
        run_atoms(atoms, model, config, Path(folder) / "run", listener=listener)
        log = read_log(Path(folder) / "run")
    kept = log["time_fs"] >= SETTLING * log["time_fs"][-1]
    if kept.sum() < FEWEST_ROWS:
        raise InputError(f"steps is {config.total_steps}, but an NVE run needs more to show its heating; take 500.")
    time, kinetic = log["time_fs"][kept] / 1000, 1000 * log["kinetic_eV"][kept] / len(atoms)
    slope, start = np.polyfit(time, kinetic, 1)
    length = float(time[-1] - time[0])
    sloshing = 1.96 * 2**0.5 * float((kinetic - slope * time - start).std(ddof=2))
    heating = float(2 * slope)
    return Estimate(heating, heating - 2 * sloshing / length, heating + 2 * sloshing / length)


def verdict(asymmetry: float) -> Verdict:
    """What an asymmetry says of the forces: up to `NEARLY`, up to `USUAL`, or beyond."""
    if asymmetry <= NEARLY:
        return "nearly_conservative"
    return "as_published_direct_models" if asymmetry <= USUAL else "far_from_conservative"


@dataclass(frozen=True)
class Jacobian:
    """Asymmetry on one hardware, at several step lengths.

    Attributes:
        name: of the hardware.
        by_step: step in Angstrom -> samples, over the same directions.
    """

    name: str
    by_step: dict[float, Asymmetry]

    @property
    def result(self) -> Asymmetry:
        """At `STEP`, the middle one."""
        return self.by_step[STEP]

    @property
    def has_plateau(self) -> bool:
        """Whether the asymmetries at the other steps lie within the interval of the middle one, or within a tenth."""
        middle = self.result.value
        reach = max((middle.high - middle.low) / 2, 0.1 * middle.value)
        return all(abs(a.value.value - middle.value) <= reach for a in self.by_step.values())


def jacobians(
    model: ForceField,
    frames: Sequence[Atoms],
    probes: int = PROBES,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Jacobian]:
    """On the hardware as trained with its noise off and, where there is a chip, on the ideal one."""
    hardware = {"as trained, noise off": model.hardware}
    if model.uses_chip:
        hardware["ideal chip"] = model.hardware.ideal()
    total, done, found = len(hardware) * len(STEPS) * len(frames), 0, []
    for name, setting in hardware.items():
        functions = [forces_of(model, atoms, setting) for atoms in frames]
        by_step = {}
        for step in STEPS:
            products = []
            for number, (f, atoms) in enumerate(zip(functions, frames, strict=True)):
                products.append(probe(f, atoms.positions, step, probes, seed, number))
                progress(done := done + 1, total)
            by_step[step] = Asymmetry(np.array(products))
        found.append(Jacobian(name, by_step))
    return found


@dataclass(frozen=True)
class Heating:
    """What the forces heat an NVE run by, meV/atom/ps.

    Attributes:
        noise_off: measured, with the chip read without noise.
        as_trained: measured with the read noise of the training; None without such noise.
        expected: what fresh noise in each step gives; None where reads do not vary.
        force_noise: standard deviation of a force component from read to read, eV/Angstrom.
    """

    noise_off: Estimate
    as_trained: Estimate | None = None
    expected: float | None = None
    force_noise: float | None = None


@dataclass(frozen=True)
class Push:
    """What forces do to a structure as a whole before it is removed, with the noise off.

    Attributes:
        net_force: see `net_force`.
        net_torque: see `net_torque`; None for a periodic structure.
    """

    net_force: float
    net_torque: float | None


@dataclass(frozen=True)
class Conservation:
    """How far the forces of a model are from those of an energy.

    Attributes:
        jacobians: on the hardware as trained and, where there is a chip, on the ideal one.
        pushes: of each structure.
        heating: in NVE from the middle structure.
        temperature: at which NVE began, K.
    """

    jacobians: list[Jacobian]
    pushes: list[Push]
    heating: Heating
    temperature: float

    @property
    def asymmetry(self) -> Estimate:
        """Lambda on the hardware as trained, with its noise off."""
        return self.jacobians[0].result.value

    @property
    def verdict(self) -> Verdict:
        """What the asymmetry says."""
        return verdict(self.asymmetry.value)


def structure_of(frame: Frame) -> Atoms:
    """The atoms of a frame, with its temperature in K in `info` where it is known."""
    atoms = frame.to_atoms()
    if frame.temperature is not None:
        atoms.info["temperature"] = frame.temperature
    return atoms


def measure_conservation(
    model: ForceField,
    structures: Sequence[Atoms],
    nve_steps: int = 500,
    seed: int = 0,
    listener: Listener = SILENT,
) -> Conservation:
    """Probe the Jacobian, the net force and torque, and the heating in NVE.

    Args:
        model: ready to predict.
        structures: what to look at; `info["temperature"]` in K is where NVE begins, else 300 K.
        nve_steps: steps of 1 fs.
        seed: of directions, velocities and noise.
        listener: is given the units of work that are finished, and may ask NVE to stop.

    Raises:
        InputError: too few steps.
        BrokenRunError, Interrupted: as of `rgnn.md.run_atoms`.
    """
    noisy = model.uses_chip and model.hardware.noise is not None
    runs = 2 if noisy else 1
    probed = 0

    def progress(done: int, total: int) -> None:
        nonlocal probed
        probed = total
        listener.progress(done, total + runs, "Jacobian")

    found = jacobians(model, structures, seed=seed, progress=progress)
    pushes = []
    for atoms in structures:
        forces = forces_of(model, atoms, model.hardware)(atoms.positions)
        pushes.append(Push(net_force(forces), None if atoms.pbc.any() else net_torque(atoms.positions, forces)))
    start = structures[len(structures) // 2]
    kelvin = float(start.info.get("temperature", 300.0))
    config = MDSettings(steps=nve_steps, temperature=kelvin, ensemble="nve", seed=seed, write_every=1, any_element=True)
    heating = Heating(nve_heating(model, start, config.override(noise=0.0), Named("NVE", listener)))
    listener.progress(probed + 1, probed + runs, "NVE")
    if noisy:
        trained = nve_heating(model, start, config, Named("NVE", listener))
        listener.progress(probed + 2, probed + runs, "NVE")
        heating = Heating(heating.noise_off, trained)
        if model.hardware.override(slow_noise=None).varies_between_reads:
            variance = read_noise(model, start, seed=seed)
            expected = expected_heating(variance, start.get_masses(), config.timestep)
            heating = Heating(heating.noise_off, trained, expected, float(variance.mean()) ** 0.5)
    return Conservation(found, pushes, heating, kelvin)
