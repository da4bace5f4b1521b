"""The loop over steps: thermostat, safeguards, restart."""

import io
import json
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.data import chemical_symbols
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from rgnn.calculator import RGNNCalculator
from rgnn.checkpoints import fingerprint
from rgnn.config import dump_yaml
from rgnn.dynamics.outputs import Outputs, labelled_frame, read_log
from rgnn.dynamics.settings import MDConfig, MDRecord, MDResult, MDVersions, Origin
from rgnn.dynamics.state import State
from rgnn.errors import BrokenRunError, InputError, Interrupted
from rgnn.files import write_aside
from rgnn.frames import LARGEST_FORCE
from rgnn.model import RGNN
from rgnn.neighbours import neighbour_list
from rgnn.streams import numpy_stream

# A run this many times hotter than asked for (or than 300 K) has left the region where the model means anything.
HOTTEST = 20.0


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
        ase.io.write(text, labelled_frame(self.state, self.config.timestep), format="extxyz")
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
