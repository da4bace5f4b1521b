"""The loop over steps: safeguards, restart, outputs."""

import json
import math
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
from ase import Atoms
from ase.constraints import FixCom
from ase.data import chemical_symbols

from rgnn.base.errors import BrokenRunError, InputError, Interrupted
from rgnn.base.files import write_atomic
from rgnn.calculator import RGNNCalculator
from rgnn.data.frames import LARGEST_FORCE
from rgnn.graphs.neighbours import neighbour_list
from rgnn.md.constraints import constraints_of, hold
from rgnn.md.domain_watch import UncertaintyMonitor
from rgnn.md.integrators import Integrator
from rgnn.md.minimisation import minimise
from rgnn.md.outputs import Outputs, extended_xyz, labelled_frame
from rgnn.md.record import summarise, write_record
from rgnn.md.settings import MDResult, MDSettings, RunOrigin
from rgnn.md.state import State
from rgnn.md.structures import check_structure
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import fingerprint
from rgnn.models.uncertainty import Uncertainty

# A run this many times hotter than asked for (or than 300 K) has left the region where the model means anything.
HOTTEST = 20.0
# Steps of a minimisation at most.
MINIMISATION = 500


def _unwatched(step: int, temperature: float) -> None:
    """Nothing."""


def _untold(message: str) -> None:
    """Nothing."""


def run_md(
    atoms: Atoms | None,
    model: ForceField,
    config: MDSettings,
    out: str | Path,
    *,
    resume: bool = False,
    origin: RunOrigin | None = None,
    progress: Callable[[int, float], None] = _unwatched,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = _untold,
    warn: Callable[[str], None] = _untold,
    uncertainty: Uncertainty | None = None,
) -> MDResult:
    """Run molecular dynamics into the folder `out`.

    Velocities always start from a Maxwell-Boltzmann distribution; those of the structure are not used. Its
    constraints hold.

    Args:
        atoms: where to start; None on `resume`, which starts from the restart file.
        model: on the device to compute on.
        config: how to run; on `resume` the same but for `steps`.
        out: run folder; made where absent.
        resume: go on from out/restart.safetensors.
        origin: where atoms and model come from, for config.yaml.
        progress: told of (step, temperature in K) after each step.
        stop: asked before each step; True saves the state and raises Interrupted.
        tell: told in a sentence how a minimisation went, and of forces beyond those of the training set.
        warn: told in a sentence when the run leaves what the model was trained on, once for each element.
        uncertainty: of this model, by which that is seen at each log row; None does not look.

    Raises:
        InputError: a structure or restart that does not fit, or a folder that holds a run already.
        BrokenRunError: absurd forces, an atom too fast or lost, or a runaway temperature; the restart file keeps the
            last good step, and broken.xyz what came of it.
        Interrupted: `stop` said so; the state is saved.
    """
    run = Run.prepare(
        atoms, model, config, Path(out), resume=resume, origin=origin, stop=stop, tell=tell, warn=warn,
        uncertainty=uncertainty,
    )  # fmt: skip
    return run.go(progress, stop)


def _minimised(
    atoms: Atoms,
    model: ForceField,
    config: MDSettings,
    out: Path,
    stop: Callable[[], bool],
    tell: Callable[[str], None],
) -> Atoms:
    """The structure after its forces were followed downhill, on the chip without read noise; out/minimised.xyz."""
    assert config.minimise is not None
    check_structure(atoms, model, config.any_element)
    out.mkdir(parents=True, exist_ok=True)
    atoms = atoms.copy()
    hold(atoms, constraints_of(atoms))
    atoms.calc = RGNNCalculator(model, config.bits, 0.0, remove_net_force=True, any_element=config.any_element)
    done = minimise(atoms, config.minimise, MINIMISATION, stop)
    way = f"from {done.before:.3g} to {done.after:.3g} eV/Angstrom in {done.steps} steps"
    atoms.set_constraint([c for c in atoms.constraints if type(c) is not FixCom])
    write_atomic(out / "minimised.xyz", extended_xyz(atoms))
    tell(
        f"Minimised: the largest force went {way}."
        if done.converged
        else f"Minimisation stopped after {MINIMISATION} steps short of {config.minimise:g} eV/Angstrom: the largest "
        f"force went {way}; dynamics goes on from there."
    )
    return atoms


class Run:
    """One run: its state, its integrator and its checks."""

    def __init__(
        self,
        state: State,
        model: ForceField,
        config: MDSettings,
        out: Path,
        calculator: Callable[..., RGNNCalculator] = RGNNCalculator,
        uncertainty: Uncertainty | None = None,
        warn: Callable[[str], None] = _untold,
    ) -> None:
        self.state, self.model, self.config, self.out = state, model, config, out
        self.fingerprint = fingerprint(model)
        c, atoms = config, state.atoms
        self.calculator = calculator(
            model, c.bits, c.noise, c.seed, remove_net_force=True, any_element=c.any_element, uncertainty=uncertainty
        )
        self.watch = None if uncertainty is None else UncertaintyMonitor(uncertainty, atoms.numbers, warn)
        self.calculator.calls = state.step + (state.forces is not None)  # one call for each step, and one for step 0
        atoms.calc = self.calculator
        self.integrator = Integrator(state, config)
        self.good = state.copy()
        self.cut_back_to: int | None = None
        self.tell: Callable[[str], None] = _untold

    @classmethod
    def prepare(
        cls,
        atoms: Atoms | None,
        model: ForceField,
        config: MDSettings,
        out: Path,
        *,
        resume: bool,
        origin: RunOrigin | None,
        stop: Callable[[], bool],
        tell: Callable[[str], None],
        warn: Callable[[str], None],
        uncertainty: Uncertainty | None,
        calculator: Callable[..., RGNNCalculator] = RGNNCalculator,
    ) -> Self:
        """Read or make the state, and write config.yaml; arguments and errors as `run_md`."""
        if resume:
            state = State.load(out, model, config)
        elif atoms is None:
            raise InputError("there is nothing to start from; give a structure, or resume a run.")
        elif (out / "log.csv").exists():
            raise InputError(f"{out}: holds a run already; resume it, or choose another folder.")
        else:
            if config.minimise is not None:
                atoms = _minimised(atoms, model, config, out, stop, tell)
            state = State.start(atoms, model, config)
        run = cls(state, model, config, out, calculator, uncertainty, warn)
        run.cut_back_to, run.tell = state.step if resume else None, tell
        out.mkdir(parents=True, exist_ok=True)
        write_record(out, model, config, origin, resume)
        return run

    def go(self, progress: Callable[[int, float], None], stop: Callable[[], bool]) -> MDResult:
        """To the last step; writes all the outputs."""
        self.began, self.first = time.monotonic(), self.state.step
        self.saved = self.began, self.first
        uncertain = self.watch is not None
        with Outputs(self.out, self.state.atoms, self.config, self.cut_back_to, uncertain=uncertain) as outputs:
            try:
                self._steps(outputs, progress, stop)
            except BrokenRunError:
                self._keep_what_broke(outputs)
                raise
        return self._finish()

    def _steps(self, outputs: Outputs, progress: Callable[[int, float], None], stop: Callable[[], bool]) -> None:
        state, config = self.state, self.config
        self.alone = self._isolated()
        if state.forces is None:
            state.forces = state.atoms.get_forces(md=True)
            self._check()
            self._compare_with_training()
            self._write(outputs)
            self._save(outputs)
        while state.step < config.total_steps:
            if stop():
                self._save(outputs)
                raise Interrupted(
                    f"stopped at step {state.step} as asked; the state is saved, and "
                    f"'rgnn md --resume {shlex.quote(str(self.out))}' goes on."
                )
            self.good = state.copy()
            self.calculator.estimates = self.watch is not None and outputs.due(state.step + 1)
            self._step()
            self._check()
            self._write(outputs)
            if state.step % config.restart_every == 0 or state.step == config.total_steps:
                self._save(outputs)
            progress(state.step, state.atoms.get_temperature())

    def _write(self, outputs: Outputs) -> None:
        """What is due at this step, after a look at how sure its forces are."""
        sigma, ratio = self.calculator.sigma, math.nan
        if self.watch is not None and sigma is not None:
            self.watch.look(self.state.step, sigma)
            ratio = self.watch.ratio(sigma)
        outputs.write(self.state, float(np.linalg.norm(self.calculator.net_force)), sigma, ratio)

    def _step(self) -> None:
        """One step of the integrator, and the work of the forces along it (trapezoidal)."""
        state = self.state
        before, positions = state.forces, state.atoms.get_positions()
        assert before is not None
        try:
            state.forces = self.integrator.step(before)
        except RuntimeError as error:
            if "converge" not in str(error):  # what ASE says where atoms fly apart that a constraint holds together
                raise
            raise self._broken("bonds of fixed length could not be kept", 1) from None
        state.step += 1
        self.moved = state.atoms.positions - positions
        state.work += 0.5 * float(((before + state.forces) * self.moved).sum())

    def _finish(self) -> MDResult:
        """Write the last structure and the summary."""
        state, seconds = self.state, time.monotonic() - self.began
        write_atomic(self.out / "final.xyz", self._frame(state))
        (self.out / "broken.xyz").unlink(missing_ok=True)  # of an earlier end
        result = summarise(self.out, state, self.config, seconds, self.first)
        write_atomic(self.out / "summary.json", json.dumps(asdict(result), indent=2) + "\n")
        return result

    def _frame(self, state: State) -> str:
        """A state in extended XYZ."""
        return extended_xyz(labelled_frame(state, self.config.timestep))

    def _isolated(self) -> np.ndarray:
        a = self.state.atoms
        index, _ = neighbour_list(a.positions, a.cell[:], a.pbc, self.model.settings.cutoff)
        return np.bincount(index[0], minlength=len(a)) == 0

    def _save(self, outputs: Outputs) -> None:
        outputs.flush()
        self.state.save(self.out, self.fingerprint, self.config)
        now, step = time.monotonic(), self.state.step
        outputs.write_speed(step, step - self.saved[1], now - self.saved[0])
        self.saved = now, step

    def _compare_with_training(self) -> None:
        """Tell of starting forces far beyond those that the model has seen."""
        seen, forces = self.model.provenance.seen.largest_force, self.state.forces
        assert forces is not None
        largest = float(np.linalg.norm(forces, axis=1).max())
        if seen and largest > seen:
            self.tell(
                f"The largest force at the start is {largest:.3g} eV/Angstrom, where the training set has "
                f"{seen:.3g} at most; --minimise relaxes the structure first."
            )

    def _check(self) -> None:
        """Stop a run that has stopped to mean anything."""
        state, forces = self.state, self.state.forces
        assert forces is not None
        largest = np.abs(forces).max(axis=1)
        worst = int(np.nan_to_num(largest, nan=np.inf).argmax())
        if not largest[worst] <= LARGEST_FORCE:
            raise self._broken(f"the force on {self._atom(worst)} is {largest[worst]:.4g} eV/Angstrom")
        if state.step > self.good.step:
            path = np.linalg.norm(self.moved, axis=1)
            farthest = int(path.argmax())
            if not path[farthest] <= self.config.max_displacement:
                raise self._broken(
                    f"{self._atom(farthest)} moved {path[farthest]:.3g} Angstrom in one step, more than "
                    f"max_displacement = {self.config.max_displacement:g}"
                )
        isolated = self.calculator.isolated
        lost = np.flatnonzero(isolated & ~self.alone)
        if len(lost):
            raise self._broken(f"{self._atom(lost[0])} lost its last neighbour")
        self.alone = isolated
        temperature = state.atoms.get_temperature()
        if not temperature <= HOTTEST * max(self.config.target(state.step), 300.0):
            momenta, masses = state.atoms.get_momenta(), state.atoms.get_masses()
            fastest = int(((momenta**2).sum(axis=1) / masses).argmax())
            raise self._broken(
                f"the temperature reached {temperature:.4g} K, with {self._atom(fastest)} the most energetic"
            )

    def _atom(self, index: int) -> str:
        return f"atom {index} ({chemical_symbols[self.state.atoms.numbers[index]]})"

    def _broken(self, what: str, later: int = 0) -> BrokenRunError:
        step = self.state.step + later
        kept = f"the restart file keeps step {self.good.step}" if step else "nothing has moved yet"
        return BrokenRunError(
            f"{self.out}: at step {step} {what}; {kept}, broken.xyz what came after. Start again with --minimise, a "
            "smaller --timestep or a lower --temperature, or train the model further on frames like these."
        )

    def _keep_what_broke(self, outputs: Outputs) -> None:
        """Save the last good step, and beside it the frame that was not."""
        write_atomic(self.out / "broken.xyz", self._frame(self.state))
        if self.good.forces is not None:
            outputs.flush()
            self.good.save(self.out, self.fingerprint, self.config)
