"""A run of molecular dynamics in LAMMPS: the same folder as a run in ASE, written by rank 0."""

import json
import resource
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms, units

from rgnn.base.errors import BrokenRunError, InputError, Interrupted
from rgnn.base.files import write_atomic
from rgnn.md.lammps.engine import Engine
from rgnn.md.lammps.forces import RankForces
from rgnn.md.lammps.world import MPIWorld
from rgnn.md.loop import HOTTEST
from rgnn.md.outputs import Outputs, extended_xyz, labelled_frame
from rgnn.md.record import summarise, write_record
from rgnn.md.settings import MDResult, MDSettings, MDVersions, RunOrigin
from rgnn.md.state import State
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import fingerprint


@dataclass(frozen=True)
class RanksResult(MDResult):
    """What a run came to.

    Attributes:
        ranks: processes that shared it.
        memory_gb: peak memory of each rank, in GB.
    """

    ranks: int = 1
    memory_gb: tuple[float, ...] = ()


def peak_memory() -> float:
    """Of this process, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _unwatched(step: int, temperature: float) -> None:
    """Nothing."""


def run_lammps(
    atoms: Atoms | None,
    model: ForceField,
    config: MDSettings,
    out: str | Path,
    world: MPIWorld,
    *,
    resume: bool = False,
    origin: RunOrigin | None = None,
    started: Callable[[int], None] = lambda step: None,
    progress: Callable[[int, float], None] = _unwatched,
    stop: Callable[[], bool] = lambda: False,
) -> RanksResult:
    """Run molecular dynamics in LAMMPS into the folder `out`; every rank must call, with the same arguments.

    Args:
        atoms: where to start; None on `resume`, which starts from the restart file.
        model, config: as for `run_md`; "nvt" or "nve".
        out: run folder, which all ranks can read; rank 0 writes to it.
        world: the ranks.
        resume: go on from out/restart.safetensors, on any number of ranks.
        origin: where atoms and model come from, for config.yaml.
        started: told of the step that the run starts from, when the atoms are ready to move.
        progress: told of (step, temperature in K) after each step.
        stop: asked before each step; True on any rank saves the state and raises Interrupted on all.

    Raises:
        FetchError: LAMMPS is not installed.
        InputError: as `run_md`, or hardware that ranks cannot share.
        BrokenRunError: absurd forces, an atom lost or a runaway temperature; the last restart file is kept.
        Interrupted: `stop` said so; the state is saved.
    """
    out = Path(out)
    world.sum(np.zeros(1))  # rank 0 may still be writing what it was stopped at
    if resume:
        state = State.load(out, model, config)
    elif atoms is None:
        raise InputError("there is nothing to start from; give a structure, or resume a run.")
    elif (out / "log.csv").exists():
        raise InputError(f"{out}: holds a run already; resume it, or choose another folder.")
    else:
        state = State.start(atoms, model, config)
    _require_supported(config, state)
    hardware = model.hardware.with_given(config.bits, config.noise)
    forces = RankForces(model, hardware, config.seed, config.ghosts, world)
    run = Run(state, Engine(state, config, forces, world), model, config, out)
    if world.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        versions = MDVersions.here().override(lammps=version("lammps"))
        write_record(out, model, config, origin, resume, "mpirun -n 2 rgnn md", versions)
    try:
        files = Outputs(out, state.atoms, config, state.step if resume else None) if world.rank == 0 else nullcontext()
        with files as outputs:
            started(state.step)
            run.go(outputs, not resume, progress, stop)
        return run.finish()
    finally:
        run.engine.close()


def _require_supported(config: MDSettings, state: State) -> None:
    """Refuse what only the ASE engine does.

    Raises:
        InputError: naming it.
    """
    strange = [e for e in {s.ensemble or config.ensemble for s in config.schedule} if e not in ("nvt", "nve")]
    for wrong, what in (
        (strange, f"the ensemble {', '.join(strange)}"),
        (config.minimise is not None, "minimisation"),
        (state.constraints, "constraints of the structure"),
        (config.uncertainty in ("posterior", "committee"), "the uncertainty of forces"),
    ):
        if wrong:
            raise InputError(f"--engine lammps does not do {what}; leave it out, or run without --engine.")


class Run:
    """The loop over steps, the same on every rank."""

    def __init__(self, state: State, engine: Engine, model: ForceField, config: MDSettings, out: Path) -> None:
        self.state, self.engine, self.config, self.out = state, engine, config, out
        self.fingerprint = fingerprint(model)
        self.began, self.first, self.work_before = time.monotonic(), state.step, state.work
        self.saved = self.began, self.first

    def go(
        self, outputs: Outputs | None, fresh: bool, progress: Callable[[int, float], None], stop: Callable[[], bool]
    ) -> None:
        """To the last step; `outputs` on rank 0."""
        state, config = self.state, self.config
        if fresh:
            self._write(outputs, save=True)
        freedom = 3 * len(state.atoms) - 3
        stopping = self.engine.sums(stop())[2]
        while state.step < config.total_steps:
            if stopping:
                self._write(outputs, save=True)
                raise Interrupted(
                    f"stopped at step {state.step} as asked; the state is saved, and "
                    f"'rgnn md --resume {shlex.quote(str(self.out))}' goes on, under mpirun on any number of ranks."
                )
            self.engine.step(state.step)
            state.step += 1
            kinetic, work, stopping = self.engine.sums(stop())
            state.work = self.work_before + float(work)
            temperature = 2 * float(kinetic) / (freedom * units.kB)
            if not temperature <= HOTTEST * max(config.target(state.step), 300.0):
                raise BrokenRunError(
                    f"{self.out}: at step {state.step} the temperature reached {temperature:.4g} K; the restart file "
                    "keeps an earlier state. Start again with a smaller --timestep or a lower --temperature, or train "
                    "the model further on frames like these."
                )
            self._write(outputs, save=state.step % config.restart_every == 0 or state.step == config.total_steps)
            progress(state.step, temperature)

    def _write(self, outputs: Outputs | None, *, save: bool) -> None:
        """What is due at this step; all ranks take part."""
        due = self.state.step % self.config.write_every == 0
        if (due or save) and self.engine.update(self.state) and outputs is not None:
            outputs.write(self.state, self.engine.fix.net_force)
            if save:
                outputs.flush()
                self.state.save(self.out, self.fingerprint, self.config)
                now, step = time.monotonic(), self.state.step
                outputs.write_speed(step, step - self.saved[1], now - self.saved[0])
                self.saved = now, step

    def finish(self) -> RanksResult:
        """Write the last structure and the summary."""
        world, state, seconds = self.engine.world, self.state, time.monotonic() - self.began
        memory = world.swap([np.array([peak_memory()])] * world.size)
        self.engine.update(state)
        result = None
        if world.rank == 0:
            last = extended_xyz(labelled_frame(state, self.config.timestep))
            write_atomic(self.out / "final.xyz", last)
            found = summarise(self.out, state, self.config, seconds, self.first)
            each = tuple(round(float(m[0]), 3) for m in memory)
            result = RanksResult(**vars(found), ranks=world.size, memory_gb=each)
            write_atomic(self.out / "summary.json", json.dumps(asdict(result), indent=2) + "\n")
        return world.same(result)
