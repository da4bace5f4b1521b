"""Log and trajectories of a run: written while it runs, cut back to the restart when it is resumed."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixCom
from ase.data import chemical_symbols
from ase.io.trajectory import Trajectory
from ase.stress import full_3x3_to_voigt_6_stress

from rgnn.base.errors import InputError
from rgnn.base.files import read_csv
from rgnn.md.barostat import moves_cell
from rgnn.md.constraints import freedom, has_fixed_bonds
from rgnn.md.contacts import ContactWatch, Pair, pair_name, pairs_of
from rgnn.md.settings import MDSettings
from rgnn.md.state import State

# A run's frames, in the order in which readers look for them.
TRAJECTORIES = ("trajectory.traj", "trajectory.xyz")


# Columns of models with an energy, and of their periodic structures; there is no pressure beside fixed bonds.
ENERGIES = ["potential_eV", "total_eV", "conserved_eV"]
PRESSURE, CELL = ["pressure_GPa"], ["volume_A3", "density_g_cm3"]
# Those of uncertain forces: the largest deviation in units of its element's limit, and in eV/Angstrom.
UNCERTAIN = ["uncertainty_ratio", "max_uncertainty"]


def energies(state: State) -> dict[str, float]:
    """Energies, pressure, volume and density of a state by their columns, as far as its model gives them.

    What is conserved is the potential energy and the work of the forces: the total energy without the heat of a
    thermostat. With a barostat it is the total energy and what cell, pressure and bath hold.
    """
    if state.energy is None:
        return {}
    atoms = state.atoms
    kinetic = atoms.get_kinetic_energy()
    total = state.energy + kinetic
    conserved = total + state.held if state.barostat is not None else state.energy + state.work
    found = {"potential_eV": state.energy, "total_eV": total, "conserved_eV": conserved}
    if state.stress is not None:
        volume = atoms.get_volume()
        pressure = (2 * kinetic / volume - np.trace(state.stress)) / 3
        mass = atoms.get_masses().sum() / units.kg * 1e3 / (volume * 1e-24)
        found |= {"pressure_GPa": pressure / units.GPa, "volume_A3": volume, "density_g_cm3": mass}
    return found


def distance_column(pair: Pair) -> str:
    """The column of the log with the distance of the closest atoms of a pair of elements, Angstrom."""
    return f"closest_{pair_name(pair)}"


class Outputs:
    """Log and trajectories, one entry for each `write_every` steps, and the speed since the last restart file."""

    def __init__(
        self,
        out: Path,
        atoms: Atoms,
        config: MDSettings,
        cut_back_to: int | None,
        *,
        uncertain: bool = False,
        has_energy: bool = False,
    ) -> None:
        self.out, self.timestep, self.config = out, config.timestep, config
        self.elements, self.pairs = sorted(set(atoms.numbers.tolist())), pairs_of(atoms.numbers)
        self.log_path, self.speed_path = out / "log.csv", out / "speed.csv"
        self.traj_path, self.xyz_path = (
            None if config.trajectory not in ("both", name.partition(".")[2]) else out / name for name in TRAJECTORIES
        )
        if cut_back_to is None:
            names = ["step", "time_fs", "temperature_K", "kinetic_eV", "max_force", "net_force", "work_eV", "heat_eV"]
            names += [*(f"T_{chemical_symbols[z]}" for z in self.elements), "target_K", "mean_force"]
            names += ["closest_ratio", *map(distance_column, self.pairs)]
            names += UNCERTAIN if uncertain else []
            names += ENERGIES if has_energy else []
            if has_energy and atoms.pbc.all():
                names += CELL if has_fixed_bonds(atoms) else [*PRESSURE, *CELL]
            self.log_path.write_text(",".join(names) + "\n", encoding="utf-8")
            # Speeds are beside the log, which is the same to the last bit however often a run was stopped.
            self.speed_path.write_text("step,seconds,steps_per_second\n", encoding="utf-8")
            for name in TRAJECTORIES:
                (out / name).unlink(missing_ok=True)
        else:
            n = cut_back_to // config.write_every + 1
            _keep_lines(self.log_path, n + 1)
            if self.xyz_path is not None:
                _keep_lines(self.xyz_path, n * (len(atoms) + 2))
            if self.traj_path is not None:
                _keep_frames(self.traj_path, n)

    def __enter__(self) -> "Outputs":
        with self.log_path.open(encoding="utf-8") as log:
            self.columns = log.readline().strip().split(",")  # those of the rgnn that began the run
        self.log: TextIO = self.log_path.open("a", encoding="utf-8")
        self.speed: TextIO = self.speed_path.open("a", encoding="utf-8")
        self.xyz: TextIO | None = None if self.xyz_path is None else self.xyz_path.open("a", encoding="utf-8")
        self.traj = None if self.traj_path is None else Trajectory(self.traj_path, "a")
        return self

    def __exit__(self, *error: object) -> None:
        for file in (self.log, self.speed, self.xyz, self.traj):
            if file is not None:
                file.close()

    def flush(self) -> None:
        """Bring everything to the disk, so that a restart file never knows more than the outputs."""
        for file in (self.log, self.xyz):
            if file is not None:
                file.flush()
                os.fsync(file.fileno())
        if self.traj_path is not None:
            with self.traj_path.open("rb") as traj:  # ASE flushes each frame, but keeps its descriptor to itself
                os.fsync(traj.fileno())

    def write(
        self,
        state: State,
        net_force: float,
        sigma: np.ndarray | None = None,
        ratio: float = float("nan"),
        contacts: ContactWatch | None = None,
    ) -> None:
        """One entry for this step, with what the watches have seen at it.

        Args:
            state: of the step.
            net_force: see `Mover`.
            sigma: see `Mover`.
            ratio: the largest sigma in units of its limit, see `UncertaintyMonitor`.
            contacts: has looked at the closest atoms; None leaves their columns without a number.
        """
        atoms, forces = state.atoms, state.forces
        assert forces is not None
        kinetic, sizes = atoms.get_kinetic_energy(), np.linalg.norm(forces, axis=1)
        ensemble = self.config.ensemble_at(state.step)
        held = ensemble not in ("nve", "nph")
        unknown = moves_cell(ensemble) and state.step > 0  # work and heat, where the stress does work too
        row = {
            "time_fs": state.step * self.timestep,
            "temperature_K": atoms.get_temperature(),
            "kinetic_eV": kinetic,
            "max_force": float(sizes.max()),
            "net_force": net_force,
            "work_eV": float("nan") if unknown else state.work,
            "heat_eV": float("nan") if unknown else kinetic - state.kinetic_start - state.work,
            "target_K": self.config.target(state.step) if held else float("nan"),
            "mean_force": float(sizes.mean()),
            "uncertainty_ratio": ratio,
            "max_uncertainty": float("nan") if sigma is None else float(sigma.max()),
            "closest_ratio": float("nan") if contacts is None else contacts.ratio,
        }
        seen = {} if contacts is None else contacts.closest
        row |= {distance_column(pair): seen.get(pair, float("nan")) for pair in self.pairs}
        row |= {f"T_{chemical_symbols[z]}": element_temperature(atoms, z) for z in self.elements}
        row |= energies(state)
        self.log.write(",".join([str(state.step), *(f"{row[name]:.8g}" for name in self.columns[1:])]) + "\n")
        frame = labelled_frame(state, self.timestep)
        if sigma is not None:
            frame.set_array("uncertainty", sigma)
        if self.xyz is not None:
            ase.io.write(self.xyz, frame, format="extxyz")
        if self.traj is not None:
            self.traj.write(frame)

    def write_speed(self, step: int, steps: int, seconds: float) -> None:
        """How long the steps up to this one took."""
        if steps:
            self.speed.write(f"{step},{seconds:.6g},{steps / max(seconds, 1e-9):.6g}\n")
            self.speed.flush()


def labelled_frame(state: State, timestep: float) -> Atoms:
    """The state as users see it: with the structure's constraints, forces, step and time."""
    frame = state.atoms.copy()
    frame.set_constraint([c for c in frame.constraints if type(c) is not FixCom])
    known: dict[str, Any] = {} if state.energy is None else {"energy": state.energy}
    known |= {} if state.stress is None else {"stress": full_3x3_to_voigt_6_stress(state.stress)}
    frame.calc = SinglePointCalculator(frame, forces=state.forces, **known)
    frame.info = {"step": state.step, "time_fs": state.step * timestep}
    return frame


def extended_xyz(frame: Atoms) -> str:
    """One frame as text."""
    text = io.StringIO()
    ase.io.write(text, frame, format="extxyz")
    return text.getvalue()


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
    """Kinetic temperature in K of the atoms of one element, with the degrees of freedom of `freedom`.

    0 where all of them are held.
    """
    mine, masses = atoms.numbers == atomic_number, atoms.get_masses()
    kinetic, free = 0.5 * float((atoms.get_momenta()[mine] ** 2 / masses[mine, None]).sum()), freedom(atoms)[mine].sum()
    return 2 * kinetic / (float(free) * units.kB) if free > 0 else 0.0


@contextmanager
def opened(out: str | Path) -> Iterator[Sequence[Atoms]]:
    """The frames of a run, of whichever file it has; read as they are asked for where that is trajectory.traj."""
    traj, xyz = (Path(out) / name for name in TRAJECTORIES)
    try:
        frames = Trajectory(traj) if traj.exists() else ase.io.read(xyz, ":", format="extxyz")
    except (OSError, ValueError) as error:
        raise InputError(f"{out}: has no trajectory to read ({error}); name a run of rgnn md.") from None
    try:
        yield frames
    finally:
        if not isinstance(frames, list):
            frames.close()


def read_log(out: str | Path) -> dict[str, np.ndarray]:
    """The columns of a run's log.csv by name, each [rows].

    Raises:
        InputError: the log is not there or damaged.
    """
    return read_csv(Path(out) / "log.csv", "resume the run to cut it back to its restart")
