"""A cell that moves under a pressure: the equations of Martyna, Tobias and Klein, in steps that can be resumed.

J. Chem. Phys. 101, 4177 (1994), doi 10.1063/1.467468, in the splitting of ASE's IsotropicMTKNPT and MTKNPT. With f
degrees of freedom of the atoms, c of the cell, target kT, thermostat time t and barostat time s, the masses are
W = (f / 3 + 1) kT s^2 of the cell, f kT t^2, kT t^2, ... of the thermostat's chain and c kT s^2, kT s^2, ... of the
barostat's. The rate of strain is symmetric, so the cell does not turn.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from scipy.special import exprel

from rgnn.base.errors import InputError
from rgnn.md.settings import MDSettings
from rgnn.models.base import ForceField

# Steps of the fourth-order scheme of Suzuki and Yoshida, as parts of the whole.
FOURTH_ORDER = (1 / (2 - 2 ** (1 / 3)), -(2 ** (1 / 3)) / (2 - 2 ** (1 / 3)), 1 / (2 - 2 ** (1 / 3)))
# Links of a chain.
LINKS = 3
# Degrees of freedom of the cell: its size; stretches along x, y and z; these and its angles.
FREEDOM = {"isotropic": 1, "anisotropic": 3, "full": 6}


@dataclass
class Barostat:
    """What the motion of a cell leaves from one step to the next.

    Attributes:
        rate: [3, 3] symmetric rate of strain, 1/ASE's unit of time.
        thermostat: [LINKS] velocities of the chain of the atoms, 1/ASE's unit of time; at rest without a thermostat.
        chain: [LINKS] velocities of the chain of the cell.
        bath: energy that both chains have taken up through their positions, eV.
    """

    rate: np.ndarray
    thermostat: np.ndarray
    chain: np.ndarray
    bath: float = 0.0

    @classmethod
    def at_rest(cls) -> "Barostat":
        """A cell that does not move yet."""
        return cls(np.zeros((3, 3)), np.zeros(LINKS), np.zeros(LINKS))

    @classmethod
    def from_array(cls, values: np.ndarray) -> "Barostat":
        """From `to_array`."""
        rate, thermostat, chain, bath = np.split(values, [9, 9 + LINKS, 9 + 2 * LINKS])
        return cls(rate.reshape(3, 3), thermostat, chain, float(bath[0]))

    def to_array(self) -> np.ndarray:
        """[9 + 2 LINKS + 1] for a restart file."""
        return np.concatenate([self.rate.ravel(), self.thermostat, self.chain, [self.bath]])


class CellIntegrator:
    """Steps at constant pressure, with a thermostat ("npt") or without ("nph").

    Args:
        atoms: with a calculator that gives forces and stress.
        settings: of the run.
        freedom: degrees of freedom of the atoms.
    """

    def __init__(self, atoms: Atoms, settings: MDSettings, freedom: int) -> None:
        self.atoms, self.settings, self.freedom = atoms, settings, freedom
        self.masses = atoms.get_masses()[:, None]
        self.cell_freedom = FREEDOM[settings.cell]
        self.dt = settings.timestep * units.fs
        self.times = units.fs / settings.friction, settings.barostat_time * units.fs

    def step(
        self, barostat: Barostat, forces: np.ndarray, stress: np.ndarray, kelvin: float, pressure: float, *, bath: bool
    ) -> np.ndarray:
        """Move atoms and cell by one step; the forces [N, 3] after it.

        Args:
            barostat: changed in place.
            forces: [N, 3] before the step, eV/Angstrom.
            stress: [3, 3] before the step, of the atoms' interaction, eV/Angstrom^3.
            kelvin: target temperature; it gives the masses even without a thermostat.
            pressure: target, eV/Angstrom^3.
            bath: a thermostat acts on atoms and cell.
        """
        atoms, half, b = self.atoms, 0.5 * self.dt, barostat
        p, q, h = atoms.get_momenta(), atoms.get_positions(), atoms.cell[:].copy()
        p = self._chains(b, p, kelvin, half, cell_first=True) if bath else p
        self._push_cell(b, p, stress, kelvin, pressure, half)
        p = self._push(b, p, forces, half)
        values, u = np.linalg.eigh(b.rate)
        growth, drift = np.exp(values * self.dt), self.dt * exprel(values * self.dt)
        q = ((q @ u) * growth + (p @ u) / self.masses * drift) @ u.T
        atoms.set_cell(((h @ u) * growth) @ u.T, scale_atoms=False)
        atoms.set_positions(q, apply_constraint=False)
        forces = np.asarray(atoms.get_forces(md=True))
        stress = atoms.get_stress(voigt=False, apply_constraint=False)
        p = self._push(b, p, forces, half)
        self._push_cell(b, p, stress, kelvin, pressure, half)
        p = self._chains(b, p, kelvin, half, cell_first=False) if bath else p
        atoms.set_momenta(p)
        return forces

    def energy(self, barostat: Barostat, kelvin: float, pressure: float, *, bath: bool) -> float:
        """What cell, pressure and bath hold, eV: with that of the atoms a constant of the motion."""
        cell_mass, thermostat, chain = self._all_masses(kelvin)
        held = 0.5 * cell_mass * float((barostat.rate**2).sum()) + pressure * self.atoms.get_volume()
        if not bath:
            return float(held)
        moving = 0.5 * float(thermostat @ barostat.thermostat**2 + chain @ barostat.chain**2)
        return float(held + moving + barostat.bath)

    def _all_masses(self, kelvin: float) -> tuple[float, np.ndarray, np.ndarray]:
        """Of the cell, the thermostat's chain and the barostat's chain."""
        (t, s), kt = self.times, units.kB * kelvin
        thermostat, chain = np.full(LINKS, kt * t**2), np.full(LINKS, kt * s**2)
        thermostat[0] *= self.freedom
        chain[0] *= self.cell_freedom
        return (self.freedom / 3 + 1) * kt * s**2, thermostat, chain

    def _chains(self, b: Barostat, p: np.ndarray, kelvin: float, half: float, *, cell_first: bool) -> np.ndarray:
        """Half a step of both chains; momenta [N, 3] after it."""
        kt, (cell_mass, thermostat, chain) = units.kB * kelvin, self._all_masses(kelvin)
        for of_cell in (cell_first, not cell_first):
            if of_cell:
                twice = cell_mass * float((b.rate**2).sum())
                scale, taken = integrate_chain(b.chain, chain, kt, self.cell_freedom, twice, half)
                b.rate = b.rate * scale
            else:
                twice = float((p**2 / self.masses).sum())
                scale, taken = integrate_chain(b.thermostat, thermostat, kt, self.freedom, twice, half)
                p = p * scale
            b.bath += taken
        return p

    def _push(self, b: Barostat, p: np.ndarray, forces: np.ndarray, delta: float) -> np.ndarray:
        """Momenta after the forces have acted on them in the moving cell."""
        values, u = np.linalg.eigh(b.rate)
        kappa = -delta * (values + values.sum() / self.freedom)
        pushed: np.ndarray = ((p @ u) * np.exp(kappa) + delta * (forces @ u) * exprel(kappa)) @ u.T
        return pushed

    def _push_cell(
        self, b: Barostat, p: np.ndarray, stress: np.ndarray, kelvin: float, pressure: float, delta: float
    ) -> None:
        """The rate after the difference of the pressures has acted on it."""
        kinetic = p.T @ (p / self.masses)
        push = kinetic - self.atoms.get_volume() * (stress + pressure * np.eye(3))
        push = push + np.trace(kinetic) / self.freedom * np.eye(3)
        if self.settings.cell == "isotropic":
            push = np.trace(push) / 3 * np.eye(3)
        elif self.settings.cell == "anisotropic":
            push = np.diag(np.diag(push))
        b.rate = b.rate + delta * 0.5 * (push + push.T) / self._all_masses(kelvin)[0]


def integrate_chain(
    velocities: np.ndarray, masses: np.ndarray, kt: float, freedom: int, twice_kinetic: float, delta: float
) -> tuple[float, float]:
    """A Nose-Hoover chain over a time: the factor of the momenta, and the energy in eV that its positions take up.

    Args:
        velocities: [M] of the chain, changed in place.
        masses: [M].
        kt: target, eV.
        freedom: degrees of freedom that the first link holds.
        twice_kinetic: twice their kinetic energy at the begin, eV.
        delta: the time.
    """
    v, last, scale, taken = velocities, len(velocities) - 1, 1.0, 0.0

    def kick(j: int, d: float) -> None:
        drag = np.exp(-0.25 * d * v[j + 1]) if j < last else 1.0
        excess = twice_kinetic - freedom * kt if j == 0 else masses[j - 1] * v[j - 1] ** 2 - kt
        v[j] = (v[j] * drag + 0.5 * d * excess / masses[j]) * drag

    for part in FOURTH_ORDER:
        d = part * delta
        for j in range(last, -1, -1):
            kick(j, d)
        taken += d * kt * float(freedom * v[0] + v[1:].sum())
        shrink = float(np.exp(-d * v[0]))
        scale, twice_kinetic = scale * shrink, twice_kinetic * shrink**2
        for j in range(last + 1):
            kick(j, d)
    return scale, taken


def moves_cell(ensemble: str) -> bool:
    """Whether the cell moves in this ensemble."""
    return ensemble in ("npt", "nph")


def require_moving_cell(atoms: Atoms, model: ForceField, settings: MDSettings, where: str = "the structure") -> None:
    """Refuse a run whose cell is to move where it cannot.

    Raises:
        InputError: the model has no stress, or the structure is not periodic in three directions or has constraints.
    """
    asked = [e for e in (stage.ensemble or settings.ensemble for stage in settings.schedule) if moves_cell(e)]
    if not asked:
        return
    if "stress" not in model.outputs:
        raise InputError(
            f"the ensemble is {asked[0]}, which needs a stress, but the model gives forces only; take nvt, or train a "
            "model with an energy (rgnn train --preset energy)."
        )
    if not atoms.pbc.all():
        raise InputError(
            f"{where}: the ensemble is {asked[0]}, but the structure is not periodic in all three directions; take nvt."
        )
    if any(type(c).__name__ != "FixCom" for c in atoms.constraints):
        raise InputError(f"{where}: has constraints, which do not hold in a cell that moves; remove them or take nvt.")
