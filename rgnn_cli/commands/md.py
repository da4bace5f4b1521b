"""rgnn md: molecular dynamics with a trained model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rgnn_cli.session import options
from rgnn_cli.session.options import RUNNING
from rgnn_cli.show.md import Show, _hardware, _introduce, finish, introduce_uncertainty

if TYPE_CHECKING:
    from rgnn.md import MDRecord, MDSettings
    from rgnn_cli.session.console import Reporter

DYNAMICS, OUTPUT, MACHINES = "Dynamics", "Output", "Many machines"


class Engine(StrEnum):
    """What moves the atoms."""

    ASE = "ase"
    LAMMPS = "lammps"


class Ghosts(StrEnum):
    """What LAMMPS' processes know of each other's atoms."""

    EXCHANGE = "exchange"
    DEEP = "deep"


class Ensemble(StrEnum):
    """What is kept constant."""

    NVT = "nvt"
    BUSSI = "bussi"
    NOSE_HOOVER = "nose-hoover"
    NVE = "nve"


class UncertaintyBy(StrEnum):
    """What tells how sure forces are."""

    AUTO = "auto"
    POSTERIOR = "posterior"
    COMMITTEE = "committee"
    NONE = "none"


class Trajectory(StrEnum):
    """Which files of frames are written."""

    BOTH = "both"
    XYZ = "xyz"
    TRAJ = "traj"


def md(
    structures: Annotated[
        list[Path] | None, typer.Argument(help="Any structure file that ASE reads; several run together.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder or training run; default: the newest here.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps in total; default 10000.", rich_help_panel=DYNAMICS)
    ] = None,
    temperature: Annotated[
        str | None, typer.Option(help="K, or from one to another as 300:1500; default 300.", rich_help_panel=DYNAMICS)
    ] = None,
    timestep: Annotated[float | None, typer.Option(help="fs; default 1.", rich_help_panel=DYNAMICS)] = None,
    ensemble: Annotated[
        Ensemble | None,
        typer.Option(help="Default nvt (Langevin); bussi rescales velocities; nve drifts.", rich_help_panel=DYNAMICS),
    ] = None,
    friction: Annotated[
        float | None, typer.Option(help="Of the thermostat, 1/fs; default 0.01.", rich_help_panel=DYNAMICS)
    ] = None,
    minimise: Annotated[
        float | None,
        typer.Option(help="Relax first, until no force is above this, eV/Å.", rich_help_panel=DYNAMICS),
    ] = None,
    any_element: Annotated[
        bool, typer.Option("--any-element", help="Accept elements not trained on.", rich_help_panel=DYNAMICS)
    ] = False,
    engine: Annotated[
        Engine | None,
        typer.Option(help="Default ase; lammps runs on any number of processes (mpirun).", rich_help_panel=MACHINES),
    ] = None,
    ghosts: Annotated[
        Ghosts | None,
        typer.Option(help="Exchange features (default), or keep deep ghosts: slow.", rich_help_panel=MACHINES),
    ] = None,
    input: Annotated[  # noqa: A002
        Path | None, typer.Option(help="A LAMMPS input of your own; rgnn gives forces.", rich_help_panel=MACHINES)
    ] = None,
    elements: Annotated[
        str | None, typer.Option(help="Of the types 1, 2, ... of --input: Li,O,P", rich_help_panel=MACHINES)
    ] = None,
    bits: options.Bits = None,
    noise: options.Noise = None,
    uncertainty: Annotated[
        UncertaintyBy | None,
        typer.Option(
            help="Of forces, at each log row; default auto: the best the model has.", rich_help_panel=DYNAMICS
        ),
    ] = None,
    frame: Annotated[
        int | None, typer.Option(help="Frame of the structure file, from 0; default -1, the last.")
    ] = None,
    frames: Annotated[
        str | None, typer.Option(help="Several frames of the file, run together: 0:10, 0:100:10 or all.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Of the structure file, where ASE cannot tell it.")] = None,  # noqa: A002
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: md/NAME-001 and so on.", rich_help_panel=OUTPUT)
    ] = None,
    every: Annotated[
        int | None, typer.Option(min=1, help="Steps between frames and log rows; default 10.", rich_help_panel=OUTPUT)
    ] = None,
    trajectory: Annotated[
        Trajectory | None, typer.Option(help="Files of frames to write; default both.", rich_help_panel=OUTPUT)
    ] = None,
    config: options.Config = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run, or with all runs of this batch.", rich_help_panel=RUNNING)
    ] = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Run molecular dynamics with a trained model, on the hardware it was trained for unless told otherwise.

    Example: rgnn md structure.xyz --steps 10000 --temperature 600
    On many machines: mpirun -n 16 rgnn md structure.xyz --engine lammps

    Writes log, trajectory (.traj and extended XYZ), restart file, final structure and a figure. Velocities
    start from a Maxwell-Boltzmann distribution; constraints of the structure hold. Stages such as melt, quench and
    hold are a list in the --config file. Ctrl-C saves the state; rgnn md --resume DIR goes on, with the settings and
    the model of that run.
    """
    from rgnn.md import RunOrigin, check_structure, outside_training, read_structure, run_md
    from rgnn.models.checkpoints import load_model
    from rgnn.models.uncertainty import chosen_uncertainty
    from rgnn_cli.session import mpi as lammps
    from rgnn_cli.session import workspace
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.session.device import choose_device
    from rgnn_cli.session.signals import asked_to_stop
    from rgnn_cli.show.batch import BatchRuns, is_batch, run_batch

    report = Reporter(quiet, as_json)
    given: dict[str, Any] = {"timestep": timestep, "friction": friction, "minimise": minimise}
    given |= {"bits": bits, "noise": noise, "seed": seed, "write_every": every, "any_element": any_element or None}
    words: dict[str, StrEnum | None] = {"ensemble": ensemble, "trajectory": trajectory, "ghosts": ghosts}
    words |= {"engine": engine, "uncertainty": uncertainty}
    given |= {name: None if word is None else word.value for name, word in words.items()}
    world = lammps.join(report) if engine is Engine.LAMMPS or input is not None else None
    if input is not None and world is not None:
        own: dict[str, Any] = {"structure": structures or None, "steps": steps, "temperature": temperature}
        own |= {"frame": frame, "frames": frames, "format": format, "out": out, "config": config, "resume": resume}
        lammps.run_input(report, world, input, model, elements, {**given, **own}, device, threads)
        return
    if resume is None:
        first = structures[0] if structures else None
        record = _settings(report, config, first, model, frame, format)
        if out is not None:
            workspace.refuse_existing(out, overwrite)
    else:
        workspace.refuse_beside_resume(
            structure=structures or None, frame=frame, frames=frames, format=format, out=out, config=config
        )
        if is_batch(resume):
            runs = BatchRuns.there(resume, lambda folder: _settings_of(folder, model), report)
            runs = runs.varied(lambda settings: _varied(settings, steps, temperature, given))
            first_run = runs.records[0]
            loaded = load_model(first_run.origin.model, choose_device(report, device, threads))
            known = chosen_uncertainty(first_run.origin.model, loaded, first_run.md.uncertainty)
            run_batch(report, runs, loaded, known, resume=True)
            return
        out, record = resume, _settings_of(resume, model)
    settings, origin = _varied(record.md, steps, temperature, given), record.origin
    together = resume is None and (frames is not None or len(structures or ()) > 1)
    lammps.refuse_what_has_no_use(settings, elements, ghosts is not None, together)
    if settings.engine == "lammps":
        lammps.run(report, world or lammps.join(report), settings, origin, out, resume, device, threads)
        return
    loaded = load_model(origin.model, choose_device(report, device, threads))
    known = chosen_uncertainty(origin.model, loaded, settings.uncertainty)
    hardware = _hardware(loaded, settings)
    if together:
        named = structures or [Path(origin.structure)]
        batch = BatchRuns.begun(record.override(md=settings), named, frames, loaded, out)
        report.say(f"Model: {origin.model}, {hardware}")
        run_batch(report, batch, loaded, known)
        return
    atoms = None
    if resume is None:
        atoms = read_structure(origin.structure, origin.frame, origin.format)
        check_structure(atoms, loaded, settings.any_element, origin.structure)
        origin = RunOrigin.of(origin.structure, origin.model, origin.frame, origin.format)
    folder = out or workspace.new_folder("md", Path(record.origin.structure).stem)
    if resume is None:
        workspace.clear_run(folder)
    _introduce(report, settings, origin, hardware, folder)
    introduce_uncertainty(report, known, loaded, settings)
    for message in [] if atoms is None else outside_training(atoms, loaded):
        report.warn(message)
    with asked_to_stop() as stop, report.progress("Dynamics", None, "steps") as meter:
        show = Show(meter, settings.total_steps)
        result = run_md(
            atoms,
            loaded,
            settings,
            folder,
            resume=resume is not None,
            origin=origin,
            progress=show,
            stop=stop,
            tell=report.say,
            warn=report.warn,
            uncertainty=known,
        )
    finish(report, result, folder, settings)


def _varied(settings: MDSettings, steps: int | None, temperature: str | None, given: dict[str, Any]) -> MDSettings:
    """The settings with what the command line gives; two temperatures make one stage of all steps."""
    from rgnn.base.errors import InputError
    from rgnn.md import Stage

    first, _, last = (temperature or "").partition(":")
    try:
        kelvin, to = (float(part) if part else None for part in (first, last))
    except ValueError:
        raise InputError(f"--temperature is '{temperature}', but it must be one number, or two as 300:1500.") from None
    if to is not None:
        total = steps or settings.total_steps
        ramp = Stage(name="ramp", steps=total, temperature_from=kelvin, temperature_to=to)
        given |= {"stages": (ramp,), "steps": total, "temperature": kelvin}
    else:
        given |= {"steps": steps, "temperature": kelvin}
    return settings.override(**{name: value for name, value in given.items() if value is not None})


def _settings(
    report: Reporter,
    config: Path | None,
    structure: Path | None,
    model: Path | None,
    frame: int | None,
    kind: str | None,
) -> MDRecord:
    """The file's settings, with structure and model as named, as in the file, or as made last."""
    from rgnn.base.errors import InputError
    from rgnn.md import MDRecord, RunOrigin
    from rgnn_cli.session import workspace

    record = MDRecord() if config is None else MDRecord.read(config)
    known = record.origin
    if structure is None and not known.structure:
        raise InputError("there is no structure to start from; name one, as in: rgnn md structure.xyz")
    if structure is not None:  # frame and format in the file belong to the file's structure
        known = RunOrigin(structure=str(structure), model=known.model)
    if model is None and not known.model:
        model = workspace.last("model")
        if model is None:
            raise InputError("there is no model here yet; train one with rgnn train, or name one with --model.")
        report.say(f"Model: {model} (the one made last here)")
    path = _named(model) if model is not None else None
    named = {"model": path, "frame": frame, "format": kind}
    return record.override(origin=known.override(**{name: value for name, value in named.items() if value is not None}))


def _settings_of(folder: Path, model: Path | None) -> MDRecord:
    """Those of a run to resume; its model may have been moved."""
    from rgnn.base.errors import InputError
    from rgnn.md import MDRecord

    if not (folder / "config.yaml").is_file():
        raise InputError(f"{folder}: is no run (it has no config.yaml); name a folder such as md/structure-001.")
    record = MDRecord.read(folder)
    if model is None and not record.origin.model:
        raise InputError(f"{folder}/config.yaml: names no model; name it with --model.")
    return record if model is None else record.override(origin=record.origin.override(model=_named(model)))


def _named(model: Path) -> str:
    """The path to record: a link such as runs/latest will point elsewhere tomorrow."""
    import os

    return os.path.relpath(model.resolve()) if model.is_symlink() else str(model)
