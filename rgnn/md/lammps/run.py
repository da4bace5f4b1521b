"""A run of molecular dynamics in LAMMPS: the same folder as a run in ASE, written by rank 0."""

from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms, units

from rgnn.base.errors import InputError
from rgnn.base.events import SILENT, Listener
from rgnn.base.run_folder import held
from rgnn.md.lammps.engine import Engine
from rgnn.md.lammps.forces import RankForces
from rgnn.md.lammps.world import MPIWorld, peak_memory
from rgnn.md.loop import Loop
from rgnn.md.record import write_record
from rgnn.md.run import opened_state
from rgnn.md.settings import MDResult, MDSettings, MDVersions, RunOrigin
from rgnn.md.state import State
from rgnn.models.base import ForceField


@dataclass(frozen=True)
class RanksResult(MDResult):
    """The result of a run on several processes.

    Attributes:
        ranks: processes that shared it.
        memory_gb: peak memory of each rank, in GB.
    """

    ranks: int = 1
    memory_gb: tuple[float, ...] = ()


def run_lammps(
    atoms: Atoms | None,
    model: ForceField,
    settings: MDSettings,
    out: str | Path,
    world: MPIWorld,
    *,
    resume: bool = False,
    origin: RunOrigin | None = None,
    listener: Listener = SILENT,
) -> RanksResult:
    """Run molecular dynamics in LAMMPS into the folder `out`; every rank must call, with the same arguments.

    Args:
        atoms: where to start; None on `resume`, which starts from the restart file.
        model: on the device to compute on.
        settings: how to run; the ensemble is "nvt" or "nve".
        out: run folder, which all ranks can read; rank 0 writes to it.
        world: the ranks.
        resume: continue from out/restart.safetensors, on any number of ranks.
        origin: where atoms and model come from, for config.yaml.
        listener: receives (steps, temperature); True from `stop` on any rank saves the state and raises Interrupted
            on all.

    Raises:
        FetchError: LAMMPS is not installed.
        InputError: as `run_atoms`, or hardware that ranks cannot share.
        BrokenRunError: absurd forces, an atom lost or a runaway temperature; the last restart file is kept.
        Interrupted: the listener asked to stop; the state is saved.
    """
    with held(out) if world.rank == 0 else nullcontext():
        return _run(atoms, model, settings, Path(out), world, resume, origin, listener)


def _run(
    atoms: Atoms | None,
    model: ForceField,
    settings: MDSettings,
    out: Path,
    world: MPIWorld,
    resume: bool,
    origin: RunOrigin | None,
    listener: Listener,
) -> RanksResult:
    world.sum(np.zeros(1))  # rank 0 may still be writing what it was stopped at
    _require_supported(settings)
    state = opened_state(atoms, model, settings, out, resume, listener)
    if state.constraints:
        raise _unsupported("constraints of the structure")
    hardware = model.hardware.with_given(settings.bits, settings.noise)
    forces = RankForces(model, hardware, settings.seed, settings.ghosts, world)
    mover = LammpsMover(state, settings, forces, world)
    if world.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        write_record(out, model, settings, origin, resume, MDVersions.here().override(lammps=version("lammps")))
    found = Loop(mover, model, settings, out, resumed=resume, listener=listener).run()
    assert isinstance(found, RanksResult)
    return found


def _require_supported(settings: MDSettings) -> None:
    """Refuse what only the ASE engine does.

    Raises:
        InputError: naming it.
    """
    strange = [e for e in {s.ensemble or settings.ensemble for s in settings.schedule} if e not in ("nvt", "nve")]
    for wrong, what in (
        (strange, f"the ensemble {', '.join(strange)}"),
        (settings.minimise is not None, "minimisation"),
        (settings.uncertainty not in ("auto", "none"), "the uncertainty of forces"),
    ):
        if wrong:
            raise _unsupported(what)


def _unsupported(what: str) -> InputError:
    return InputError(f"the engine lammps does not do {what}; leave it out, or use the engine ase.")


class LammpsMover:
    """Moves the atoms of a run by LAMMPS, which shares space out among the ranks.

    Args:
        state, settings: of the run.
        forces: of this rank's atoms.
        world: the ranks.
    """

    def __init__(self, state: State, settings: MDSettings, forces: RankForces, world: MPIWorld) -> None:
        self.state, self.world, self.writes = state, world, world.rank == 0
        self.engine = Engine(state, settings, forces, world)
        self.work_before = state.work
        self.freedom = 3 * len(state.atoms) - 3

    @property
    def net_force(self) -> float:
        """Size of the sum of the forces of the last step, before its removal."""
        return float(self.engine.fix.net_force)

    @property
    def sigma(self) -> None:
        """The uncertainty is not estimated on several processes."""

    def start(self) -> None:
        """Nothing: LAMMPS has computed the first forces."""

    def stopping(self, asked: bool) -> bool:
        """Whether any rank was asked to stop."""
        return bool(self.world.sum(np.array([float(asked)]))[0])

    def step(self, estimate: bool) -> float:
        """One step on all ranks."""
        self.engine.step(self.state.step)
        self.state.step += 1
        kinetic, work = self.engine.sums()
        self.state.work = self.work_before + float(work)
        return 2 * float(kinetic) / (self.freedom * units.kB)

    def fault(self) -> None:
        """What goes wrong raises an error in the step itself, on all ranks."""

    def hottest(self) -> str:
        """Not known: no rank holds all atoms."""
        return ""

    def good(self) -> None:
        """No rank holds a state to keep; the last restart file does."""

    def update(self) -> bool:
        """Gather the state on rank 0."""
        return self.engine.update(self.state)

    def result(self, found: MDResult | None) -> MDResult:
        """The result on all ranks, with their number and memory."""
        memory = self.world.all_to_all([np.array([peak_memory()])] * self.world.size)
        result = None
        if found is not None:
            each = tuple(round(float(m[0]), 3) for m in memory)
            result = RanksResult(**vars(found), ranks=self.world.size, memory_gb=each)
        same: RanksResult = self.world.broadcast_object(result)
        return same

    def close(self) -> None:
        """End LAMMPS."""
        self.engine.close()
