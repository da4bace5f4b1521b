"""rgnn md --engine lammps and --input: molecular dynamics on many processes, one of which talks to the user."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgnn_cli.session.console import Reporter, stderr
from rgnn_cli.session.options import Device

if TYPE_CHECKING:
    from rgnn.md import MDSettings, RunOrigin
    from rgnn.md.lammps.world import MPIWorld
    from rgnn.models.base import ForceField

# What --input leaves to the options.
_BESIDE_INPUT = ("engine", "ghosts", "bits", "noise", "seed", "any_element")
_OPTION = {"write_every": "every"}


def join(report: Reporter) -> MPIWorld:
    """The ranks; all but the first show nothing from here on."""
    from rgnn.md.lammps.world import MPIWorld

    world = MPIWorld(lambda error: _show_alone(world, error))
    if world.rank:
        report.mute()
        stderr.quiet = True
    return world


def _show_alone(world: MPIWorld, error: BaseException) -> int:
    """Show an error; where rank 0 has it as well, it has ended all before the others speak."""
    from rgnn_cli.session.errors import show

    if world.rank:
        time.sleep(1)
        stderr.quiet = False
    return show(error)


@contextmanager
def _one_fate(world: MPIWorld) -> Iterator[None]:
    """An error that all ranks have ends the command as always; one that some have ends all ranks."""
    from rgnn.base.errors import Interrupted

    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:
        if not world.all_come_here():
            world.fail(error)
        raise


def refuse_what_has_no_use(settings: MDSettings, elements: str | None, ghosts: bool, together: bool) -> None:
    """Raise InputError where an option was given that means nothing with this engine."""
    from rgnn.base.errors import InputError

    if elements is not None:
        raise InputError("--elements names the atom types of --input; give that as well, or leave it out.")
    if settings.engine == "lammps" and together:
        raise InputError("--engine lammps runs one structure at a time; name one, or leave --engine out.")
    if settings.engine != "lammps" and ghosts:
        raise InputError("--ghosts is for LAMMPS' processes; give --engine lammps as well, or leave it out.")


def run(
    report: Reporter,
    world: MPIWorld,
    settings: MDSettings,
    origin: RunOrigin,
    out: Path | None,
    resume: Path | None,
    device: Device,
    threads: int | None,
) -> None:
    """Run with these settings, into `out` or a new folder, or go on with `resume`."""
    from rgnn.md import RunOrigin, check_structure, read_structure
    from rgnn.md.lammps.run import run_lammps
    from rgnn_cli.session import workspace
    from rgnn_cli.session.signals import asked_to_stop
    from rgnn_cli.show.md import finish

    with _one_fate(world):
        model = _model(report, world, origin.model, device, threads)
        atoms = None
        if resume is None:
            atoms = read_structure(origin.structure, origin.frame, origin.format)
            check_structure(atoms, model, settings.any_element, origin.structure)
            origin = RunOrigin.of(origin.structure, origin.model, origin.frame, origin.format)
        folder = resume
        if folder is None and world.rank == 0:
            folder = out or workspace.new_folder("md", Path(origin.structure).stem)
            workspace.clear_run(folder)
        folder = world.same(folder)
        _introduce(report, world, model, settings, origin, folder)
        with asked_to_stop() as stop, report.progress("Dynamics", settings.total_steps, "steps") as meter:
            result = run_lammps(
                atoms,
                model,
                settings,
                folder,
                world,
                resume=resume is not None,
                origin=origin,
                started=lambda step: meter.start(step, settings.total_steps),
                progress=lambda step, kelvin: meter.update(step, f"{kelvin:.0f} K"),
                stop=stop,
            )
        if world.rank == 0:
            more = {"ranks": str(result.ranks), "memory of each rank": _memory(result.memory_gb)}
            alone = "" if result.ranks == 1 else f"mpirun -n {result.ranks} "
            finish(report, result, folder, settings, more, f"{alone}rgnn md")


def run_input(
    report: Reporter,
    world: MPIWorld,
    path: Path,
    model: Path | None,
    elements: str | None,
    given: dict[str, Any],
    device: Device,
    threads: int | None,
) -> None:
    """Run a user's LAMMPS input; `given` are the options of md, most of which the input itself decides on."""
    from dataclasses import asdict

    from rgnn.base.errors import InputError
    from rgnn.md import MDSettings
    from rgnn.md.lammps.script import run_script
    from rgnn_cli.session import workspace

    with _one_fate(world):
        for name in sorted(name for name, value in given.items() if value is not None and name not in _BESIDE_INPUT):
            what = "a structure" if name == "structure" else f"--{_OPTION.get(name, name)}"
            raise InputError(f"--input says itself what runs and how, so {what} cannot be given; leave it out.")
        settings = MDSettings(**{name: given[name] for name in _BESIDE_INPUT if given[name] is not None})
        found = model or workspace.last("model")
        if found is None:
            raise InputError("there is no model here yet; train one with rgnn train, or name one with --model.")
        loaded = _model(report, world, str(found), device, threads)
        hardware = loaded.hardware.with_given(settings.bits, settings.noise)
        report.say(f"Input: {path}; model: {found}, {_hardware(loaded, settings)}; {_ranks(world.size)}")
        names = [name.strip() for name in (elements or "").split(",") if name.strip()]
        result = run_script(
            path,
            loaded,
            names,
            world,
            hardware=hardware,
            seed=settings.seed,
            ghosts=settings.ghosts,
            any_element=settings.any_element,
        )
        facts = {
            "net force, removed": f"{result.net_force:.3g} eV/Å",
            "speed": f"{result.steps_per_second:.3g} steps/s",
            "memory of each rank": _memory(result.memory_gb),
        }
        report.facts(f"{result.steps} steps on {_ranks(result.ranks)}", facts)
        report.result({"input": str(path), **asdict(result)})


def _model(report: Reporter, world: MPIWorld, path: str, device: Device, threads: int | None) -> ForceField:
    """The model, with one thread for each of several ranks unless something else is asked for."""
    from rgnn.models.checkpoints import load_model
    from rgnn_cli.session.device import choose_device

    if threads is None and world.size > 1 and "OMP_NUM_THREADS" not in os.environ:
        threads = 1
    return load_model(path, choose_device(report, device, threads))


def _hardware(model: ForceField, settings: MDSettings) -> str:
    if not model.uses_chip:
        return "all digital"
    return model.hardware.with_given(settings.bits, settings.noise).describe()


def _ranks(size: int) -> str:
    return f"{size} rank{'s' if size > 1 else ''}"


def _memory(gigabytes: tuple[float, ...]) -> str:
    low, high = min(gigabytes), max(gigabytes)
    return f"{high:.2f} GB" if high - low < 0.01 else f"{low:.2f} to {high:.2f} GB"


def _introduce(
    report: Reporter, world: MPIWorld, model: ForceField, settings: MDSettings, origin: RunOrigin, folder: Path
) -> None:
    """What is about to run, in four lines."""
    from rgnn_cli.show.md import in_words

    report.say(f"Structure: {origin.structure}; model: {origin.model}, {_hardware(model, settings)}")
    report.say(f"Dynamics: {in_words(settings)}, {settings.total_steps} steps of {settings.timestep:g} fs")
    how = (
        f"ghosts within {model.settings.cutoff:g} Å, features exchanged after each layer"
        if settings.ghosts == "exchange"
        else f"ghosts within {model.locality.reach:.3g} Å, nothing exchanged"
    )
    report.say(f"LAMMPS: {_ranks(world.size)}, {how}")
    report.say(f"Run: {folder}")
    if settings.warning:
        report.warn(settings.warning)
