"""Molecular dynamics with a force-only model: Langevin or velocity Verlet, exact restart, safeguards.

A run folder holds config.yaml, log.csv, trajectory.traj, trajectory.xyz, restart.safetensors, final.xyz and
summary.json. Every random stream is keyed by seed and step, and a resumed run first cuts its outputs back to
the restart's step, so it ends with the same frames and rows as an unbroken one on the same device. Forces in
the files are those that moved the atoms: the net force is removed, and its size before that is logged.
"""

import io
import json
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self, TextIO

import ase.io
import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixCom
from ase.data import atomic_masses, chemical_symbols
from ase.io.trajectory import Trajectory
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet

from rgnn.calculator import RGNNCalculator, require_elements
from rgnn.checkpoints import fingerprint
from rgnn.config import Settings, dump_yaml, read_yaml, require
from rgnn.errors import BrokenRunError, InputError, Interrupted
from rgnn.files import sha256, write_aside
from rgnn.graphs import edge_vectors, neighbour_list
from rgnn.model import RGNN
from rgnn.runs import Versions
from rgnn.streams import numpy_stream
from rgnn.tensorfiles import read_tensors, write_tensors
from rgnn.trajectories import LARGEST_FORCE, safe_format

FORMAT, VERSION = "rgnn dynamics restart", 1
# A run this many times hotter than asked for (or than 300 K) has left the region where the model means anything.
HOTTEST = 20.0
# Atoms closer than this, in Angstrom, lie on top of each other: a doubled atom or a wrong unit.
CLOSEST = 0.3
NVE_WARNING = (
    "NVE with direct forces does not conserve energy: a model without an energy and with fresh read noise heats or "
    "cools the system; take NVT unless this is what you study (Bigi et al. 2025, arXiv 2412.11569)."
)


@dataclass(frozen=True)
class MDConfig(Settings):
    """How a run goes.

    Attributes:
        steps: in total, over all restarts.
        temperature: K; of the starting velocities, and in NVT of the thermostat.
        timestep: fs.
        ensemble: "nvt" (Langevin) or "nve" (velocity Verlet).
        friction: of the Langevin thermostat, 1/fs; 0.01 couples over 100 fs.
        bits, noise: hardware; None is as trained.
        seed: of velocities, thermostat and read noise, each in a stream of its own.
        write_every, restart_every: steps between frames and log rows, and between restart files.
        any_element: accept elements that the model was not trained on.
    """

    steps: int = 10_000
    temperature: float = 300.0
    timestep: float = 1.0
    ensemble: Literal["nvt", "nve"] = "nvt"
    friction: float = 0.01
    bits: int | None = None
    noise: float | None = None
    seed: int = 0
    write_every: int = 10
    restart_every: int = 500
    any_element: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "write_every", "restart_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(0 < self.temperature <= 20_000, "temperature", self.temperature, "above 0 and at most 20000 K")
        require(0 < self.timestep <= 20, "timestep", self.timestep, "above 0 and at most 20 fs")
        require(0 < self.friction <= 1, "friction", self.friction, "above 0 and at most 1 per fs")
        require(self.seed >= 0, "seed", self.seed, "0 or more")

    @property
    def warning(self) -> str:
        """What a user should know before such a run, or nothing."""
        return NVE_WARNING if self.ensemble == "nve" else ""


@dataclass(frozen=True)
class Origin(Settings):
    """Where structure and model come from, for the record: paths, the structure's SHA-256, and its frame."""

    structure: str = ""
    structure_sha256: str = ""
    frame: int = -1
    format: str | None = None
    model: str = ""

    @classmethod
    def of(cls, structure: str | Path, model: str | Path, frame: int = -1, format: str | None = None) -> Self:  # noqa: A002
        """The record of these files; a folder that ASE reads has no checksum."""
        checksum = sha256(structure) if Path(structure).is_file() else ""
        return cls(str(structure), checksum, frame, format, str(model))


@dataclass(frozen=True)
class MDVersions(Versions):
    """What ran; the thermostat is ASE's."""

    ase: str = ""

    @classmethod
    def here(cls) -> "MDVersions":
        """Those of this process."""
        return cls(**vars(Versions.here()), ase=version("ase"))


@dataclass(frozen=True)
class MDRecord(Settings):
    """The config.yaml of a run: `md` is used when it is read, the rest tells where the run came from."""

    md: MDConfig = MDConfig()
    origin: Origin = Origin()
    model_fingerprint: str = ""
    versions: MDVersions = MDVersions()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a YAML file, or the config.yaml of a run folder; what it leaves out takes its default."""
        path = Path(path)
        file = path / "config.yaml" if path.is_dir() else path
        return cls.from_mapping(read_yaml(file), str(file))


@dataclass(frozen=True)
class MDResult:
    """What a run came to; means are over its second half.

    Attributes:
        steps: done in total.
        temperature: K.
        element_temperature: K, of each element by its symbol.
        net_force: mean size of the sum of forces before its removal, eV/Angstrom; it grades the model.
        work: done by the model's forces, meV/atom/ps; forces of an energy average to zero in equilibrium, so
            what stays is heating by the model (direct forces, read noise), which a thermostat carries off.
        seconds, steps_per_second, ns_per_day: of this process.
        warning: as of the settings.
    """

    steps: int
    temperature: float
    element_temperature: dict[str, float]
    net_force: float
    work: float
    seconds: float
    steps_per_second: float
    ns_per_day: float
    warning: str = ""


class Thermostat:
    """Normal random numbers in a stream of its own for each step; what ASE's Langevin asks of an `rng`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def begin(self, step: int) -> None:
        """Start the stream of a step."""
        self.stream = numpy_stream(self.seed, "thermostat", step)

    def standard_normal(self, size: tuple[int, ...]) -> np.ndarray:
        """The stream's next numbers."""
        return self.stream.standard_normal(size)


def read_structure(path: str | Path, frame: int = -1, format: str | None = None) -> Atoms:  # noqa: A002 (ASE's word)
    """One frame of any structure file that ASE reads without running it; labels are left behind.

    Raises:
        InputError: unreadable, cut short, without that frame, or of a format whose reader would run code.
    """
    name = safe_format(path, format)
    try:
        atoms = ase.io.read(str(path), index=frame, format=name, do_not_split_by_at_sign=True)
    except Exception as error:  # ASE's readers raise whatever their parsing runs into
        reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
        raise InputError(
            f"{path}: frame {frame} cannot be read as {name} ({reason}); is the file whole, and has it that frame?"
        ) from None
    atoms.calc = None
    return atoms


def check_structure(atoms: Atoms, model: RGNN, any_element: bool = False, where: str = "the structure") -> None:
    """Refuse a structure whose run could not mean anything; `where` names it in errors.

    Raises:
        InputError: not finite, no cell, atoms on top of each other, held atoms, elements that the model was not
            trained on, or no neighbours.
    """
    if len(atoms) < 2 or not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell[:]).all()):
        raise InputError(f"{where}: has fewer than two atoms, or positions that are not numbers; mend the file.")
    flat = np.flatnonzero(atoms.pbc & (np.abs(atoms.cell[:]).sum(axis=1) == 0))
    if len(flat):
        raise InputError(f"{where}: is periodic along cell vector {flat[0]}, which is zero; give it a cell.")
    if any(len(constraint.get_indices()) for constraint in atoms.constraints if hasattr(constraint, "get_indices")):
        raise InputError(f"{where}: holds atoms fixed, which rgnn does not do; remove the constraints from the file.")
    if not any_element:
        require_elements(model, atoms)
    cutoff = model.config.cutoff
    index, shift = neighbour_list(atoms.positions, atoms.cell[:], atoms.pbc, cutoff)
    if not index.shape[1]:
        raise InputError(
            f"{where}: no atom has a neighbour within the model's cutoff of {cutoff:g} Angstrom; check units and cell."
        )
    lengths = np.linalg.norm(edge_vectors(atoms.positions, atoms.cell[:], index, shift), axis=1)
    i, j = index[:, lengths.argmin()]
    if lengths.min() < CLOSEST:
        raise InputError(
            f"{where}: atoms {i} and {j} are {lengths.min():.3g} Angstrom apart; remove one, or check the cell."
        )


def _unwatched(step: int, temperature: float) -> None:
    """Nothing."""


def run_md(
    atoms: Atoms | None,
    model: RGNN,
    config: MDConfig,
    out: str | Path,
    *,
    resume: bool = False,
    origin: Origin | None = None,
    progress: Callable[[int, float], None] = _unwatched,
    stop: Callable[[], bool] = lambda: False,
) -> MDResult:
    """Run molecular dynamics into the folder `out`.

    Velocities always start from a Maxwell-Boltzmann distribution; those of the structure are not used.

    Args:
        atoms: where to start; None on `resume`, which starts from the restart file.
        model: on the device to compute on.
        config: how to run; on `resume` the same but for `steps`.
        out: run folder; made where absent.
        resume: go on from out/restart.safetensors.
        origin: where atoms and model come from, for config.yaml.
        progress: told of (step, temperature in K) after each step.
        stop: asked before each step; True saves the state and raises Interrupted.

    Raises:
        InputError: a structure or restart that does not fit, or a folder that holds a run already.
        BrokenRunError: absurd forces, an atom lost or a runaway temperature; the last restart file is kept.
        Interrupted: `stop` said so; the state is saved.
    """
    out = Path(out)
    if resume:
        state = State.load(out, model, config)
    elif atoms is None:
        raise InputError("there is nothing to start from; give a structure, or resume a run.")
    elif (out / "log.csv").exists():
        raise InputError(f"{out}: holds a run already; resume it, or choose another folder.")
    else:
        state = State.start(atoms, model, config)
    run = Run(state, model, config, out)
    out.mkdir(parents=True, exist_ok=True)
    _write_record(out, model, config, origin, resume)
    with Outputs(out, state.atoms, config, cut_back_to=state.step if atoms is None else None) as outputs:
        run.go(outputs, progress, stop)
    return run.finish()


def _write_record(out: Path, model: RGNN, config: MDConfig, origin: Origin | None, resume: bool) -> None:
    """Write config.yaml, before the first step."""
    if resume and origin is None and (out / "config.yaml").is_file():
        origin = MDRecord.read(out).origin
    record = MDRecord(config, origin or Origin(), fingerprint(model), MDVersions.here())
    folder = shlex.quote(str(out))
    note = f"# Goes on with: rgnn md --resume {folder}\n# Repeats with: rgnn md --config {folder}/config.yaml\n"
    write_aside(out / "config.yaml", note + dump_yaml(record.to_mapping()))


@dataclass
class State:
    """All that the future of a run depends on.

    Attributes:
        atoms: with momenta; positions are never wrapped.
        step: done so far.
        forces: [N, 3] at this step, eV/Angstrom; None before the first call of the model.
        work: done by the forces so far, eV.
        kinetic_start: kinetic energy at step 0, eV.
    """

    atoms: Atoms
    step: int
    forces: np.ndarray | None
    work: float
    kinetic_start: float

    @classmethod
    def start(cls, atoms: Atoms, model: RGNN, config: MDConfig) -> "State":
        """Fresh Maxwell-Boltzmann velocities without drift."""
        check_structure(atoms, model, config.any_element)
        atoms = _bare(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, atoms.get_masses())
        velocities = numpy_stream(config.seed, "velocities")
        MaxwellBoltzmannDistribution(atoms, temperature_K=config.temperature, rng=velocities)
        Stationary(atoms, preserve_temperature=False)
        return cls(atoms, 0, None, 0.0, atoms.get_kinetic_energy())

    def save(self, out: Path, model: str, config: MDConfig) -> None:
        """Write the restart file; `model` is its fingerprint."""
        a = self.atoms
        arrays = {
            "numbers": a.numbers,
            "masses": a.get_masses(),
            "positions": a.positions,
            "momenta": a.get_momenta(),
            "cell": a.cell[:],
            "pbc": a.pbc,
        }
        if self.forces is not None:
            arrays["forces"] = self.forces
        settings = {
            "format": FORMAT,
            "version": VERSION,
            "step": self.step,
            "work": self.work,
            "kinetic_start": self.kinetic_start,
            "config": config.to_mapping(),
            "model": model,
        }
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
        write_tensors(out / "restart.safetensors", tensors, settings)

    @classmethod
    def load(cls, out: Path, model: RGNN, config: MDConfig) -> "State":
        """Read the restart file of the same run."""
        file = out / "restart.safetensors"
        if not file.is_file():
            raise InputError(f"{out}: has no restart file, so there is no run to resume; start it again.")
        tensors, settings = read_tensors(file, FORMAT, VERSION)
        if settings["model"] != fingerprint(model):
            raise InputError(f"{file}: was written with another model; resume with that one, or start a new run.")
        mine, step = config.to_mapping(), int(settings["step"])
        for name in sorted(set(mine) - {"steps"}):
            if settings["config"].get(name) != mine[name]:
                raise InputError(
                    f"{file}: the run was started with {name} = {settings['config'].get(name)}, not {mine[name]}; "
                    "resume with the same value, or start a new run."
                )
        if config.steps < step:
            raise InputError(
                f"{file}: the run has done {step} steps, but steps is {config.steps}; that counts the total: give more."
            )
        a = {name: tensor.numpy() for name, tensor in tensors.items()}
        atoms = _bare(a["numbers"], a["positions"], a["cell"], a["pbc"], a["masses"])
        atoms.set_momenta(a["momenta"])
        return cls(atoms, step, a.get("forces"), float(settings["work"]), float(settings["kinetic_start"]))


def _bare(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, masses: np.ndarray) -> Atoms:
    """Atoms without the labels of a file, so that a resumed run writes the same frames; masses only where unusual."""
    atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=pbc)
    if not np.array_equal(masses, atomic_masses[numbers]):
        atoms.set_masses(masses)
    return atoms


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
        frame = _frame(state, self.timestep)
        ase.io.write(self.xyz, frame, format="extxyz")
        self.traj.write(frame)


def _frame(state: State, timestep: float) -> Atoms:
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


class Run:
    """The loop over steps."""

    def __init__(self, state: State, model: RGNN, config: MDConfig, out: Path) -> None:
        self.state, self.model, self.config, self.out = state, model, config, out
        self.fingerprint = fingerprint(model)
        c, atoms = config, state.atoms
        # Langevin's own fixcm does not sample the right distribution; with this one the temperature counts 3 N - 3.
        atoms.set_constraint(FixCom())
        self.calculator = RGNNCalculator(
            model, c.bits, c.noise, c.seed, remove_net_force=True, any_element=c.any_element
        )
        self.calculator.calls = state.step + (state.forces is not None)  # one call for each step, and one for step 0
        atoms.calc = self.calculator
        self.thermostat = Thermostat(c.seed)
        self.dynamics: MolecularDynamics
        if c.ensemble == "nvt":
            self.dynamics = Langevin(
                atoms,
                c.timestep * units.fs,
                temperature_K=c.temperature,
                friction=c.friction / units.fs,
                fixcm=False,
                rng=self.thermostat,
            )
        else:
            self.dynamics = VelocityVerlet(atoms, c.timestep * units.fs)
        self.began, self.first = time.monotonic(), state.step

    def go(self, outputs: Outputs, progress: Callable[[int, float], None], stop: Callable[[], bool]) -> None:
        """To the last step."""
        state, config = self.state, self.config
        self.alone = self._isolated()
        if state.forces is None:
            state.forces = state.atoms.get_forces(md=True)
            self._check()
            outputs.write(state, self._net_force())
            self._save(outputs)
        while state.step < config.steps:
            if stop():
                self._save(outputs)
                raise Interrupted(
                    f"stopped at step {state.step} as asked; the state is saved, and "
                    f"'rgnn md --resume {shlex.quote(str(self.out))}' goes on."
                )
            self._step()
            self._check()
            outputs.write(state, self._net_force())
            if state.step % config.restart_every == 0 or state.step == config.steps:
                self._save(outputs)
            progress(state.step, state.atoms.get_temperature())

    def _step(self) -> None:
        """One step of the integrator, and the work of the forces along it (trapezoidal)."""
        state = self.state
        before, positions = state.forces, state.atoms.get_positions()
        self.thermostat.begin(state.step)
        state.forces = self.dynamics.step(before)
        state.step += 1
        state.work += 0.5 * float(((before + state.forces) * (state.atoms.positions - positions)).sum())

    def finish(self) -> MDResult:
        """Write the last structure and the summary."""
        seconds = time.monotonic() - self.began
        text = io.StringIO()
        ase.io.write(text, _frame(self.state, self.config.timestep), format="extxyz")
        write_aside(self.out / "final.xyz", text.getvalue())
        log = read_log(self.out)
        half = log["step"] >= min(self.state.step / 2, log["step"][-1])
        time_ps, work = log["time_fs"][half] / 1000, log["work_eV"][half] * 1000 / len(self.state.atoms)
        rate = (self.state.step - self.first) / max(seconds, 1e-9)
        elements = [name.removeprefix("T_") for name in log if name.startswith("T_")]
        result = MDResult(
            self.state.step,
            float(log["temperature_K"][half].mean()),
            {e: float(log[f"T_{e}"][half].mean()) for e in elements},
            float(log["net_force"][half].mean()),
            float((work[-1] - work[0]) / (time_ps[-1] - time_ps[0])) if len(work) > 1 else 0.0,
            seconds,
            rate,
            rate * self.config.timestep * 86_400e-6,
            self.config.warning,
        )
        write_aside(self.out / "summary.json", json.dumps(asdict(result), indent=2) + "\n")
        return result

    def _net_force(self) -> float:
        return float(np.linalg.norm(self.calculator.net_force))

    def _isolated(self) -> np.ndarray:
        a = self.state.atoms
        index, _ = neighbour_list(a.positions, a.cell[:], a.pbc, self.model.config.cutoff)
        return np.bincount(index[0], minlength=len(a)) == 0

    def _save(self, outputs: Outputs) -> None:
        outputs.flush()
        self.state.save(self.out, self.fingerprint, self.config)

    def _check(self) -> None:
        """Stop a run that has stopped to mean anything."""
        state, forces = self.state, self.state.forces
        assert forces is not None
        largest = np.abs(forces).max(axis=1)
        worst = int(np.nan_to_num(largest, nan=np.inf).argmax())
        if not largest[worst] <= LARGEST_FORCE:
            raise self._broken(f"the force on {self._atom(worst)} is {largest[worst]:.4g} eV/Angstrom")
        isolated = self.calculator.isolated
        lost = np.flatnonzero(isolated & ~self.alone)
        if len(lost):
            raise self._broken(f"{self._atom(lost[0])} lost its last neighbour")
        self.alone = isolated
        temperature = state.atoms.get_temperature()
        if not temperature <= HOTTEST * max(self.config.temperature, 300.0):
            raise self._broken(f"the temperature reached {temperature:.4g} K")

    def _atom(self, index: int) -> str:
        return f"atom {index} ({chemical_symbols[self.state.atoms.numbers[index]]})"

    def _broken(self, what: str) -> BrokenRunError:
        kept = "the restart file keeps the last whole state" if self.state.step else "nothing has moved yet"
        return BrokenRunError(
            f"{self.out}: at step {self.state.step} {what}; {kept}. Start again with a smaller --timestep or a lower "
            "--temperature, or train the model further on frames like these."
        )


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
