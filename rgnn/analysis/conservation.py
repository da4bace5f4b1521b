"""How far forces are from those of an energy: the asymmetry of their Jacobian, net force and torque, NVE.

Forces of an energy have a symmetric Jacobian J = dF/dx. Its antisymmetric part A = (J - J^T) / 2 over the whole,
lambda = |A|_F / |J|_F, is 0 for them and 1 at most (Bigi, Langer & Ceriotti 2025, arXiv 2412.11569). Of models that
have an energy, forces are compared with its finite differences, and the total energy in NVE is what has to stay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from ase.units import kB

from rgnn.analysis.nve import NVE, nve_run, read_noise
from rgnn.base.errors import InputError
from rgnn.base.estimate import Estimate
from rgnn.base.events import SILENT, Listener, Named
from rgnn.base.rng import numpy_stream
from rgnn.chip.hardware import Hardware
from rgnn.data.frames import Frame
from rgnn.graphs.graph import Graph
from rgnn.graphs.skin import SkinList
from rgnn.md import MDSettings
from rgnn.md.drift import GOOD, TOO_MUCH
from rgnn.models.base import ForceField
from rgnn.models.inference import predict

# Directions of a frame; every two of them are a sample, and each costs two evaluations for each step length.
PROBES = 24
# Finite-difference steps, Angstrom a component: a plateau over these says that the step plays no part.
STEPS = (0.005, 0.01, 0.02)
# The step whose result is the result.
STEP = 0.01
# Asymmetries of published direct models (Bigi et al. 2025): below them forces are nearly conservative.
PUBLISHED = (0.004, 0.03)
# Part of a temperature by which a model may heat in a picosecond of NVE, in a solid. Half is what moves Langevin
# dynamics of the default friction by a twentieth of its target, see `rgnn.md.heating`.
HEATS_TOO_MUCH = 0.5
# Up to this error of forces against finite differences of the energy they are its derivatives.
DERIVATIVE = 0.02

Forces = Callable[[np.ndarray], np.ndarray]
Energies = Callable[[np.ndarray], float]
Verdict = Literal[
    "breaks_off_in_nve",
    "heats_too_much",
    "nearly_conservative",
    "as_published_direct_models",
    "farther_than_published_direct_models",
    "forces_are_no_derivative",
    "conserves_energy",
    "drift_noticeable",
    "drift_too_much",
    "drift_unknown",
]


def forces_of(model: ForceField, atoms: Atoms, hardware: Hardware) -> Forces:
    """Positions [N, 3] in Angstrom -> forces [N, 3] in eV/Angstrom, on hardware that is read without noise."""
    neighbours = SkinList(model.settings.cutoff)
    clean = hardware.without_noise()

    def forces(positions: np.ndarray) -> np.ndarray:
        index, vector = neighbours.edges(positions, atoms.cell[:], atoms.pbc)
        g = Graph.from_arrays(atoms.numbers, index, vector)
        return predict(model, g, model.read(clean)).forces

    return forces


def energy_of(model: ForceField, atoms: Atoms, hardware: Hardware) -> Energies:
    """Positions [N, 3] in Angstrom -> energy in eV of a model that has one, read without noise."""
    neighbours = SkinList(model.settings.cutoff)
    clean = hardware.without_noise()

    def energy(positions: np.ndarray) -> float:
        index, vector = neighbours.edges(positions, atoms.cell[:], atoms.pbc)
        found = predict(model, Graph.from_arrays(atoms.numbers, index, vector), model.read(clean)).energy
        assert found is not None
        return float(found[0])

    return energy


@dataclass(frozen=True)
class Differences:
    """Slopes of an energy along random directions, by central differences and by its forces.

    Attributes:
        numerical: [samples] (E(x + h v) - E(x - h v)) / (2 h), eV/Angstrom.
        analytic: [samples] -F v.
    """

    numerical: np.ndarray
    analytic: np.ndarray

    @property
    def error(self) -> float:
        """Root mean square difference of the two over the root mean square of the slopes."""
        size = float(np.square(self.analytic).mean()) ** 0.5
        return float(np.square(self.numerical - self.analytic).mean()) ** 0.5 / size if size else float("nan")


def energy_differences(
    energy: Energies, forces: Forces, positions: np.ndarray, step: float, probes: int, seed: int, frame: int = 0
) -> Differences:
    """Of one frame, along the directions of `probe`."""
    v = numpy_stream(seed, "jacobian", frame).standard_normal((probes, *positions.shape))
    numerical = [(energy(positions + step * each) - energy(positions - step * each)) / (2 * step) for each in v]
    return Differences(np.array(numerical), -np.einsum("knx,nx->k", v, forces(positions)))


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


def asymmetry_verdict(asymmetry: float) -> Verdict:
    """What an asymmetry says of direct forces: below, among or beyond those of published models."""
    if asymmetry < PUBLISHED[0]:
        return "nearly_conservative"
    return "as_published_direct_models" if asymmetry <= PUBLISHED[1] else "farther_than_published_direct_models"


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
        nve: runs from the middle structure.
        temperature: at which NVE began, K.
        differences: step in Angstrom -> forces against differences of the energy; empty of direct models.
    """

    jacobians: list[Jacobian]
    pushes: list[Push]
    nve: NVE
    temperature: float
    differences: dict[float, Differences]

    @property
    def asymmetry(self) -> Estimate:
        """Lambda on the hardware as trained, with its noise off."""
        return self.jacobians[0].result.value

    @property
    def energy_error(self) -> float | None:
        """Of forces against differences of the energy at the middle step; None of direct models."""
        return self.differences[STEP].error if self.differences else None

    @property
    def heating_part(self) -> Estimate:
        """Part of the temperature that the hardware as trained heats a solid by in a picosecond, 3 k T an atom."""
        kt = 3000 * kB * self.temperature
        heating = self.nve.worst.heating
        return Estimate(heating.value / kt, heating.low / kt, heating.high / kt)

    @property
    def verdict(self) -> Verdict:
        """What the runs in NVE say and, of direct forces, the asymmetry or, of an energy, its differences."""
        if any(run.broke_off for run in self.nve.runs):
            return "breaks_off_in_nve"
        if self.energy_error is not None:
            return self._energy_verdict(self.energy_error)
        if self.heating_part.low > HEATS_TOO_MUCH:
            return "heats_too_much"
        return asymmetry_verdict(self.asymmetry.value)

    def _energy_verdict(self, error: float) -> Verdict:
        if not error <= DERIVATIVE:
            return "forces_are_no_derivative"
        drift = self.nve.worst.drift
        if drift is None or not drift.bounded:
            return "drift_unknown"
        least = max(0.0, drift.low, -drift.high)
        most = max(drift.high, -drift.low)
        if most <= GOOD:
            return "conserves_energy"
        if least > TOO_MUCH:
            return "drift_too_much"
        return "drift_unknown" if least == 0 else "drift_noticeable"


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
    """Probe the Jacobian, the net force and torque, and what happens in NVE; of an energy its differences too.

    Args:
        model: ready to predict.
        structures: what to look at; `info["temperature"]` in K is where NVE begins, else 300 K.
        nve_steps: steps of 1 fs.
        seed: of directions, velocities and noise.
        listener: is given the units of work that are finished, and may ask NVE to stop.

    Raises:
        InputError: too few steps.
        Interrupted: the listener asked to stop.
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
    off, trained = nve_run(model, start, config.override(noise=0.0), Named("NVE", listener)), None
    listener.progress(probed + 1, probed + runs, "NVE")
    variance: np.ndarray | None = None
    if noisy:
        trained = nve_run(model, start, config, Named("NVE", listener))
        listener.progress(probed + 2, probed + runs, "NVE")
        if model.hardware.override(slow_noise=None).varies_between_reads:
            variance = read_noise(model, start, seed=seed)
    nve = NVE.of(off, trained, variance, start.get_masses(), config.timestep)
    return Conservation(found, pushes, nve, kelvin, _differences(model, structures, seed))


def _differences(model: ForceField, structures: Sequence[Atoms], seed: int) -> dict[float, Differences]:
    """Of all structures together, for each step; nothing of models without an energy."""
    if "energy" not in model.outputs:
        return {}
    found = {}
    for step in STEPS:
        each = [
            energy_differences(
                energy_of(model, atoms, model.hardware), forces_of(model, atoms, model.hardware), atoms.positions, step,
                PROBES, seed, number,
            )
            for number, atoms in enumerate(structures)
        ]  # fmt: skip
        parts = [np.concatenate([getattr(d, name) for d in each]) for name in ("numerical", "analytic")]
        found[step] = Differences(*parts)
    return found
