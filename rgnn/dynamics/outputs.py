"""Log and trajectories of a run: written as it goes, cut back to the restart when it goes on."""

import os
from pathlib import Path
from typing import Any, TextIO

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.io.trajectory import Trajectory

from rgnn.dynamics.settings import MDConfig
from rgnn.dynamics.state import State
from rgnn.errors import InputError


class Outputs:
    """Log and trajectories, one entry for each `write_every` steps."""

    def __init__(self, out: Path, atoms: Atoms, config: MDConfig, cut_back_to: int | None) -> None:
        self.out, self.every, self.timestep = out, config.write_every, config.timestep
        self.elements = sorted(set(atoms.numbers.tolist()))
        self.log_path, self.xyz_path, self.traj_path = (
            out / name for name in ("log.csv", "trajectory.xyz", "trajectory.traj")
        )
        if cut_back_to is None:
            names = ["step", "time_fs", "temperature_K", "kinetic_eV", "max_force", "net_force", "work_eV", "heat_eV"]
            names += [f"T_{chemical_symbols[z]}" for z in self.elements]
            self.log_path.write_text(",".join(names) + "\n", encoding="utf-8")
            self.xyz_path.unlink(missing_ok=True)
            self.traj_path.unlink(missing_ok=True)
        else:
            n = cut_back_to // self.every + 1
            _keep_lines(self.log_path, n + 1)
            _keep_lines(self.xyz_path, n * (len(atoms) + 2))
            _keep_frames(self.traj_path, n)

    def __enter__(self) -> "Outputs":
        self.log: TextIO = self.log_path.open("a", encoding="utf-8")
        self.xyz: TextIO = self.xyz_path.open("a", encoding="utf-8")
        self.traj = Trajectory(self.traj_path, "a")
        return self

    def __exit__(self, *error: object) -> None:
        for file in (self.log, self.xyz, self.traj):
            file.close()

    def flush(self) -> None:
        """Bring everything to the disk, so that a restart file never knows more than the outputs."""
        for file in (self.log, self.xyz):
            file.flush()
            os.fsync(file.fileno())
        with self.traj_path.open("rb") as traj:  # ASE flushes each frame, but keeps its descriptor to itself
            os.fsync(traj.fileno())

    def write(self, state: State, net_force: float) -> None:
        """One entry for this step, where it is due."""
        if state.step % self.every:
            return
        atoms, forces = state.atoms, state.forces
        assert forces is not None
        kinetic = atoms.get_kinetic_energy()
        values = [state.step * self.timestep, atoms.get_temperature(), kinetic]
        values += [float(np.linalg.norm(forces, axis=1).max()), net_force]
        values += [state.work, kinetic - state.kinetic_start - state.work]
        values += [element_temperature(atoms, z) for z in self.elements]
        self.log.write(",".join([str(state.step), *(f"{value:.8g}" for value in values)]) + "\n")
        frame = labelled_frame(state, self.timestep)
        ase.io.write(self.xyz, frame, format="extxyz")
        self.traj.write(frame)


def labelled_frame(state: State, timestep: float) -> Atoms:
    """The state as users see it: with forces, step and time."""
    frame = state.atoms.copy()
    frame.set_constraint()
    frame.calc = SinglePointCalculator(frame, forces=state.forces)
    frame.info = {"step": state.step, "time_fs": state.step * timestep}
    return frame


def _keep_lines(path: Path, n: int) -> None:
    """Cut a text file after its first n lines.

    Raises:
        InputError: it has fewer, so it does not belong to the restart file.
    """
    lines = 0
    try:
        with path.open("r+b") as file:
            while lines < n and file.readline().endswith(b"\n"):
                lines += 1
            file.truncate(file.tell())
    except FileNotFoundError:
        pass
    if lines < n:
        raise InputError(f"{path}: has {lines} lines where the restart file needs {n}; start the run again.")


def _keep_frames(path: Path, n: int) -> None:
    """The same for the frames of an ASE trajectory, which is copied only where it has more."""
    try:
        with Trajectory(path) as old:
            found = len(old)
            if found > n:
                kept = path.with_name(path.name + ".partial")
                with Trajectory(kept, "w") as new:
                    for index in range(n):
                        new.write(old[index])
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); start the run again.") from None
    if found < n:
        raise InputError(f"{path}: has {found} frames where the restart file needs {n}; start the run again.")
    if found > n:
        kept.replace(path)


def element_temperature(atoms: Atoms, atomic_number: int) -> float:
    """Kinetic temperature in K of the atoms of one element, where the centre of mass is at rest.

    Equipartition gives each atom 3 (1 - m / M) degrees of freedom then, M the mass of all: 3 N - 3 in sum.
    """
    mine, masses = atoms.numbers == atomic_number, atoms.get_masses()
    kinetic = 0.5 * float((atoms.get_momenta()[mine] ** 2 / masses[mine, None]).sum())
    return 2 * kinetic / (3 * float((1 - masses[mine] / masses.sum()).sum()) * units.kB)


def read_log(out: str | Path) -> dict[str, np.ndarray]:
    """The columns of a run's log.csv by name."""
    file = Path(out) / "log.csv"
    try:
        with file.open(encoding="utf-8") as lines:
            names = lines.readline().strip().split(",")
            rows: Any = np.loadtxt(lines, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); resume the run to cut it back to its restart.") from None
    return dict(zip(names, rows.T, strict=True))
