"""rgnn md: molecular dynamics with a trained model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rgnn_cli import options
from rgnn_cli.options import RUNNING

if TYPE_CHECKING:
    from rgnn.dynamics import MDConfig, MDRecord, MDResult, Origin
    from rgnn.model import RGNN
    from rgnn_cli.console import Meter, Reporter

DYNAMICS, OUTPUT = "Dynamics", "Output"


class Ensemble(StrEnum):
    """What is kept constant."""

    NVT = "nvt"
    NVE = "nve"


def md(
    structure: Annotated[Path | None, typer.Argument(help="Any structure file that ASE reads.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder or training run; default: the newest here.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps in total; default 10000.", rich_help_panel=DYNAMICS)
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="K; default 300.", rich_help_panel=DYNAMICS)] = None,
    timestep: Annotated[float | None, typer.Option(help="fs; default 1.", rich_help_panel=DYNAMICS)] = None,
    ensemble: Annotated[
        Ensemble | None, typer.Option(help="Default nvt (Langevin); nve drifts.", rich_help_panel=DYNAMICS)
    ] = None,
    friction: Annotated[
        float | None, typer.Option(help="Of the thermostat, 1/fs; default 0.01.", rich_help_panel=DYNAMICS)
    ] = None,
    any_element: Annotated[
        bool, typer.Option("--any-element", help="Accept elements not trained on.", rich_help_panel=DYNAMICS)
    ] = False,
    bits: options.Bits = None,
    noise: options.Noise = None,
    frame: Annotated[
        int | None, typer.Option(help="Frame of the structure file, from 0; default -1, the last.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Of the structure file, where ASE cannot tell it.")] = None,  # noqa: A002
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: md/NAME-001 and so on.", rich_help_panel=OUTPUT)
    ] = None,
    every: Annotated[
        int | None, typer.Option(min=1, help="Steps between frames and log rows; default 10.", rich_help_panel=OUTPUT)
    ] = None,
    config: options.Config = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run.", rich_help_panel=RUNNING)] = None,
    device: options.DeviceOption = options.Device.AUTO,
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Run molecular dynamics with a trained model, on the hardware it was trained for unless told otherwise.

    Example: rgnn md structure.xyz --steps 10000 --temperature 600

    Writes log, trajectory (.traj and extended XYZ), restart file, final structure and a figure. Velocities
    start from a Maxwell-Boltzmann distribution. Ctrl-C saves the state; rgnn md --resume DIR goes on, with
    the settings and the model of that run.
    """
    from rgnn.checkpoints import load_model
    from rgnn.dynamics import Origin, check_structure, read_structure, run_md
    from rgnn.plots.dynamics import run_figure
    from rgnn_cli import workspace
    from rgnn_cli.console import Reporter
    from rgnn_cli.device import choose_device
    from rgnn_cli.signals import asked_to_stop

    report = Reporter(quiet, as_json)
    given: dict[str, Any] = {"steps": steps, "temperature": temperature, "timestep": timestep, "friction": friction}
    given |= {"bits": bits, "noise": noise, "seed": seed, "write_every": every, "any_element": any_element or None}
    given |= {"ensemble": ensemble.value if ensemble else None}
    if resume is None:
        record = _settings(report, config, structure, model, frame, format)
        if out is not None:
            workspace.refuse_existing(out, overwrite)
    else:
        workspace.refuse_beside_resume(structure=structure, frame=frame, format=format, out=out, config=config)
        out, record = resume, _settings_of(resume, model)
    settings, origin = record.md.replace(**given), record.origin
    loaded = load_model(origin.model, choose_device(report, device, threads))
    hardware = _hardware(loaded, settings)
    atoms = None
    if resume is None:
        atoms = read_structure(origin.structure, origin.frame, origin.format)
        check_structure(atoms, loaded, settings.any_element, origin.structure)
        origin = Origin.of(origin.structure, origin.model, origin.frame, origin.format)
    folder = out or workspace.new_folder("md", Path(record.origin.structure).stem)
    if resume is None:
        workspace.clear_run(folder)
    _introduce(report, settings, origin, hardware, folder)
    with asked_to_stop() as stop, report.progress("Dynamics", None, "steps") as meter:
        show = _Show(meter, settings.steps)
        going_on = resume is not None
        result = run_md(atoms, loaded, settings, folder, resume=going_on, origin=origin, progress=show, stop=stop)
    target = settings.temperature if settings.ensemble == "nvt" else None
    figure, peaks = run_figure(folder, folder / "dynamics.png", target)
    _finish(report, result, peaks, folder, figure, target)


def _settings(
    report: Reporter,
    config: Path | None,
    structure: Path | None,
    model: Path | None,
    frame: int | None,
    kind: str | None,
) -> MDRecord:
    """The file's settings, with structure and model as named, as in the file, or as made last."""
    from rgnn.dynamics import MDRecord, Origin
    from rgnn.errors import InputError
    from rgnn_cli import workspace

    record = MDRecord() if config is None else MDRecord.read(config)
    known = record.origin
    if structure is None and not known.structure:
        raise InputError("there is no structure to start from; name one, as in: rgnn md structure.xyz")
    if structure is not None:  # frame and format in the file belong to the file's structure
        known = Origin(structure=str(structure), model=known.model)
    if model is None and not known.model:
        model = workspace.last("model")
        if model is None:
            raise InputError("there is no model here yet; train one with rgnn train, or name one with --model.")
        report.say(f"Model: {model} (the one made last here)")
    path = _named(model) if model is not None else None
    return record.replace(origin=known.replace(model=path, frame=frame, format=kind))


def _settings_of(folder: Path, model: Path | None) -> MDRecord:
    """Those of a run to resume; its model may have been moved."""
    from rgnn.dynamics import MDRecord
    from rgnn.errors import InputError

    if not (folder / "config.yaml").is_file():
        raise InputError(f"{folder}: is no run (it has no config.yaml); name a folder such as md/structure-001.")
    record = MDRecord.read(folder)
    if model is None and not record.origin.model:
        raise InputError(f"{folder}/config.yaml: names no model; name it with --model.")
    return record.replace(origin=record.origin.replace(model=None if model is None else _named(model)))


def _named(model: Path) -> str:
    """The path to record: a link such as runs/latest will point elsewhere tomorrow."""
    import os

    return os.path.relpath(model.resolve()) if model.is_symlink() else str(model)


def _hardware(model: RGNN, settings: MDConfig) -> str:
    """In words, checked."""
    hardware = model.hardware.varied(settings.bits, settings.noise)
    if not model.config.uses_chip:
        return "all digital"
    return hardware.describe() + (" (as trained)" if hardware == model.hardware else "")


def _introduce(report: Reporter, settings: MDConfig, origin: Origin, hardware: str, folder: Path) -> None:
    """What is about to run, in three lines."""
    report.say(f"Structure: {origin.structure}; model: {origin.model}, {hardware}")
    kept = (
        f"Langevin at {settings.temperature:g} K"
        if settings.ensemble == "nvt"
        else f"NVE from {settings.temperature:g} K"
    )
    report.say(f"Dynamics: {kept}, {settings.steps} steps of {settings.timestep:g} fs")
    report.say(f"Run: {folder}")
    if settings.warning:
        report.warn(settings.warning)


class _Show:
    """Shows steps and temperature on a meter that begins where the run does."""

    def __init__(self, meter: Meter, total: int) -> None:
        self.meter, self.total, self.started = meter, total, False

    def __call__(self, step: int, temperature: float) -> None:
        if not self.started:
            self.meter.start(step - 1, self.total)
            self.started = True
        self.meter.update(step, f"{temperature:.0f} K")


def _finish(
    report: Reporter, result: MDResult, peaks: dict[str, float], folder: Path, figure: Path, target: float | None
) -> None:
    """The table, the files, and what to type next."""
    from dataclasses import asdict
    from shlex import quote

    wanted = "" if target is None else f" (thermostat {target:g} K)"
    facts = {"temperature": f"{result.temperature:.0f} K{wanted}"}
    facts |= {f"  of {element}": f"{kelvin:.0f} K" for element, kelvin in result.element_temperature.items()}
    facts |= {f"first peak of {pair}": f"{r:.2f} Å" for pair, r in peaks.items()}
    facts["net force, removed"] = f"{result.net_force:.3g} eV/Å"
    facts["work of the forces"] = f"{result.work:.3g} meV/atom/ps"
    facts["speed"] = f"{result.steps_per_second:.3g} steps/s, {result.ns_per_day:.3g} ns/day"
    report.facts(f"{result.steps} steps; means over the second half", facts)
    files = ", ".join(("log.csv", "trajectory.traj", "trajectory.xyz", "final.xyz", "summary.json", figure.name))
    report.say(f"In [bold]{folder}[/]: {files}")
    report.say(f"Next: look at {figure}   or   rgnn md --resume {quote(str(folder))} --steps {2 * result.steps}")
    report.result({"out": str(folder), "figure": str(figure), "first_peaks": peaks, **asdict(result)})
