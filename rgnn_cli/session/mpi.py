"""rgnn md --engine lammps and --input: molecular dynamics on many processes, one of which talks to the user."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rgnn.base.errors import InputError, Interrupted
from rgnn_cli.session.console import stderr
from rgnn_cli.session.session import Session

if TYPE_CHECKING:
    from rgnn.md.lammps.world import MPIWorld
    from rgnn.md.plan import Job, MDRequest

# Options that a LAMMPS input leaves open.
_BESIDE_INPUT = ("engine", "ghosts", "bits", "noise", "seed", "any_element")


def is_wanted(request: MDRequest, elements: str | None) -> bool:
    """Whether LAMMPS moves the atoms of what is asked for.

    Raises:
        InputError: an option was given that means nothing with the engine.
    """
    from rgnn.md.plan import is_batch
    from rgnn.md.settings import MDRecord

    if elements is not None:
        raise InputError("--elements names the atom types of --input; give that as well, or leave it out.")
    engine = request.changes.get("engine")
    source = request.config if request.resume is None else request.resume
    if engine is None and source is not None and not is_batch(source):
        engine = MDRecord.read(source).md.engine
    if engine == "lammps" and request.together:
        raise InputError("--engine lammps runs one structure at a time; name one, or leave --engine out.")
    if engine != "lammps" and "ghosts" in request.changes:
        raise InputError("--ghosts is for LAMMPS' processes; give --engine lammps as well, or leave it out.")
    return engine == "lammps"


@contextmanager
def joined(session: Session) -> Iterator[MPIWorld]:
    """The ranks: all but the first show nothing, and an error that only some of them have ends all."""
    from rgnn.md.lammps.world import MPIWorld

    world = MPIWorld(lambda error: _show_alone(world, error))
    if world.rank:
        session.report.mute()
        stderr.quiet = True
    if world.size > 1 and "OMP_NUM_THREADS" not in os.environ:
        session.default_threads(1)
    try:
        yield world
    except Interrupted:
        raise
    except BaseException as error:
        if not world.all_come_here():
            world.fail(error)
        raise


def _show_alone(world: MPIWorld, error: BaseException) -> int:
    """Show an error; where rank 0 has it as well, it has ended all before the others speak."""
    from rgnn_cli.session.errors import show

    if world.rank:
        time.sleep(1)
        stderr.quiet = False
    return show(error)


def run(session: Session, request: MDRequest) -> None:
    """Run, or continue, what is asked for on all ranks."""
    from rgnn.md.lammps.run import run_lammps
    from rgnn.md.plan import plan
    from rgnn_cli.show.md import finish

    with joined(session) as world:
        # Rank 0 makes the folder; the others load the same model and structure and are given its name.
        first = plan(request, session.device, session.newest_model) if world.rank == 0 else None
        folder = world.broadcast_object(None if first is None else first.out)
        job = plan(request, session.device, session.newest_model, folder) if first is None else first
        _introduce(session, world, job)
        with session.listening("Dynamics", "steps") as listener:
            result = run_lammps(
                None if job.structures is None else job.structures[0], job.model, job.settings, job.out, world,
                resume=job.resume, origin=None if job.resume else job.origin, listener=listener,
            )  # fmt: skip
        if world.rank == 0:
            more = {"ranks": str(result.ranks), "memory of each rank": _memory(result.memory_gb)}
            alone = "" if result.ranks == 1 else f"mpirun -n {result.ranks} "
            finish(session, result, job.out, job.settings, more, f"{alone}rgnn md")


def run_input(session: Session, request: MDRequest, path: Path, elements: str | None) -> None:
    """Run a user's LAMMPS input, which decides itself what runs and how."""
    from rgnn.md.lammps.script import run_script
    from rgnn.md.settings import MDSettings
    from rgnn.models.checkpoints import load_model
    from rgnn.reports.dynamics import script_mapping

    with joined(session) as world:
        _refuse_beside_input(request)
        settings = MDSettings().override(**request.changes)
        found = request.model or session.newest_model()
        model = load_model(found, session.device)
        hardware = model.hardware.with_given(settings.bits, settings.noise)
        said = hardware.describe() if model.uses_chip else "all digital"
        session.report.say(f"Input: {path}; model: {found}, {said}; {_ranks(world.size)}")
        names = [name.strip() for name in (elements or "").split(",") if name.strip()]
        result = run_script(
            path, model, names, world, hardware=hardware, seed=settings.seed, ghosts=settings.ghosts,
            any_element=settings.any_element,
        )  # fmt: skip
        facts = {
            "net force, removed": f"{result.net_force:.3g} eV/Å",
            "speed": f"{result.steps_per_second:.3g} steps/s",
            "memory of each rank": _memory(result.memory_gb),
        }
        session.report.facts(f"{result.steps} steps on {_ranks(result.ranks)}", facts)
        session.result({"input": str(path), **script_mapping(result)})


def _refuse_beside_input(request: MDRequest) -> None:
    """Raise InputError where an option is given that the input decides on."""
    options = {"write_every": "every"}
    given: dict[str, object] = {"a structure": request.structures or None, "--temperature": request.temperature}
    given |= {"--frame": request.frame, "--frames": request.frames, "--format": request.format, "--out": request.out}
    given |= {"--config": request.config, "--resume": request.resume, "--driver": request.board}
    given |= {"--slow-model": request.slow_model}
    given |= {f"--{options.get(n, n)}": v for n, v in request.changes.items() if n not in _BESIDE_INPUT}
    for what, value in sorted(given.items()):
        if value is not None:
            raise InputError(f"--input decides itself what runs and how, so {what} cannot be given; leave it out.")


def _introduce(session: Session, world: MPIWorld, job: Job) -> None:
    """What is about to run, in four lines."""
    from rgnn_cli.show.md import hardware_in_words, in_words

    say, settings, near = session.report.say, job.settings, job.model.locality
    say(f"Structure: {job.origin.structure}; model: {job.origin.model}, {hardware_in_words(job)}")
    say(f"Dynamics: {in_words(settings)}, {settings.total_steps} steps of {settings.timestep:g} fs")
    how = (
        f"ghosts within {near.cutoff:g} Å, features exchanged after each layer"
        if settings.ghosts == "exchange"
        else f"ghosts within {near.reach:.3g} Å, nothing exchanged"
    )
    say(f"LAMMPS: {_ranks(world.size)}, {how}")
    say(f"Run: {job.out}")
    for message in job.warnings:
        session.report.warn(message)


def _ranks(size: int) -> str:
    return f"{size} rank{'s' if size > 1 else ''}"


def _memory(gigabytes: tuple[float, ...]) -> str:
    low, high = min(gigabytes), max(gigabytes)
    return f"{high:.2f} GB" if high - low < 0.01 else f"{low:.2f} to {high:.2f} GB"
