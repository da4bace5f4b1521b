"""rgnn sweep: the same molecular dynamics on several settings of the hardware."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rgnn_cli.session import analysis, options
from rgnn_cli.session.options import HARDWARE, RUNNING

if TYPE_CHECKING:
    from rgnn.analysis import AnalysisSettings, SweepSettings
    from rgnn.models.base import ForceField
    from rgnn_cli.session.console import Reporter

DYNAMICS = "Dynamics"


def sweep(
    structure: Annotated[Path | None, typer.Argument(help="Any structure file that ASE reads.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder or training run; default: the newest here.")] = None,
    bits: Annotated[str | None, typer.Option(help="Input bits: 4 or 2:8 or 2,4,8.", rich_help_panel=HARDWARE)] = None,
    noise: Annotated[str | None, typer.Option(help="Fluctuations: 0,0.05,0.1.", rich_help_panel=HARDWARE)] = None,
    vary: Annotated[
        list[str] | None, typer.Option(help="Any other setting, such as stuck_on=0,0.01.", rich_help_panel=HARDWARE)
    ] = None,
    hardware: options.HardwareOption = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each run.", rich_help_panel=DYNAMICS)] = 10_000,
    temperature: Annotated[float, typer.Option(help="K.", rich_help_panel=DYNAMICS)] = 300.0,
    timestep: Annotated[float, typer.Option(help="fs.", rich_help_panel=DYNAMICS)] = 1.0,
    friction: Annotated[float, typer.Option(help="Of the thermostat, 1/fs.", rich_help_panel=DYNAMICS)] = 0.01,
    every: Annotated[int, typer.Option(min=1, help="Steps between frames.", rich_help_panel=DYNAMICS)] = 10,
    frame: Annotated[int, typer.Option(help="Frame of the structure file, from 0; -1 is the last.")] = -1,
    skip: analysis.Skip = "20%",
    width: analysis.Width = 0.02,
    reach: analysis.Reach = 6.0,
    fit_from: analysis.FitFrom = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: sweeps/NAME-001 and so on.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this sweep.", rich_help_panel=RUNNING)] = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """What hardware does to observables: the same run on the ideal chip, as trained, and on each setting.

    Example: rgnn sweep structure.xyz --bits 4,8 --noise 0,0.05,0.1 --steps 20000 --temperature 600

    Start, velocities and thermostat are the same in all runs. Shows how far g(r) moves from the ideal chip's,
    beside what statistics alone do, and how coordination, diffusion and heating change. Ctrl-C saves the state;
    rgnn sweep --resume DIR goes on, and keeps the runs that are finished.
    """
    from rgnn.models.checkpoints import load_model
    from rgnn_cli.session import workspace
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.session.device import choose_device

    report = Reporter(quiet, as_json)
    how = analysis.settings(skip, width, reach, fit_from)
    if resume is not None:
        workspace.refuse_beside_resume(
            structure=structure, model=model, bits=bits, noise=noise, vary=vary, hardware=hardware, out=out, seed=seed
        )
        config = _config_of(resume)
        loaded = load_model(config.origin.model, choose_device(report, device, threads))
        _go(report, loaded, config, resume, how)
        return
    md = {"steps": steps, "temperature": temperature, "timestep": timestep, "friction": friction}
    md |= {"write_every": every, "seed": seed or 0}
    path = _model_here(report, model)
    loaded = load_model(path, choose_device(report, device, threads))
    config = _config(loaded, path, structure, frame, md, (bits, noise, vary or []), hardware)
    if out is not None:
        workspace.refuse_existing(out, overwrite)
    folder = out or workspace.new_folder("sweeps", Path(config.origin.structure).stem)
    clear(folder)
    _go(report, loaded, config, folder, how)


def _model_here(report: Reporter, model: Path | None) -> Path:
    import os

    from rgnn_cli.session.find import find_here

    path = find_here(report, "model", model, "train one with rgnn train, or name one with --model")
    return Path(os.path.relpath(path.resolve())) if path.is_symlink() else path


def _config(
    model: ForceField,
    path: Path,
    structure: Path | None,
    frame: int,
    md: dict[str, Any],
    varied: tuple[str | None, str | None, Sequence[str]],
    hardware: str | None,
) -> SweepSettings:
    """All that the sweep depends on, checked before anything is written."""
    from rgnn.analysis import SweepSettings, on_hardware
    from rgnn.base.errors import InputError
    from rgnn.chip.presets import load_hardware
    from rgnn.evaluation import hardware_settings
    from rgnn.md import MDSettings, RunOrigin, check_structure, read_structure
    from rgnn.models.checkpoints import fingerprint
    from rgnn_cli.session import parse

    if structure is None:
        raise InputError("there is no structure to start from; name one, as in: rgnn sweep structure.xyz --bits 4,8")
    if not model.uses_chip:
        raise InputError("the model is all digital, so hardware means nothing to it; name a model with a chip.")
    base = model.hardware if hardware is None else load_hardware(hardware)
    settings = hardware_settings(model, base, parse.choices(*varied))
    for setting in settings:
        on_hardware(model, setting)
    check_structure(read_structure(structure, frame), model, where=str(structure))
    return SweepSettings(
        md=MDSettings(**md),
        origin=RunOrigin.of(structure, path, frame),
        fingerprint=fingerprint(model),
        settings=tuple(settings),
    )


def _config_of(folder: Path) -> SweepSettings:
    from rgnn.analysis import SweepSettings

    return SweepSettings.read(folder)


def _go(report: Reporter, model: ForceField, config: SweepSettings, folder: Path, how: AnalysisSettings) -> None:
    """Run what is left, analyse all, and show what came out."""
    from shlex import quote

    from rgnn.analysis import run_sweep
    from rgnn.base.errors import InputError, Interrupted
    from rgnn.base.files import sha256, write_atomic
    from rgnn.base.settings import dump_yaml
    from rgnn.md import read_structure
    from rgnn.md.sweep import names
    from rgnn.models.checkpoints import fingerprint
    from rgnn_cli.session.session import ConsoleListener
    from rgnn_cli.session.signals import asked_to_stop
    from rgnn_cli.show.sweep import show_and_write

    origin = config.origin
    if fingerprint(model) != config.fingerprint:
        raise InputError(f"{origin.model}: has changed since {folder} was begun; sweep anew.")
    if origin.structure_sha256 and sha256(origin.structure) != origin.structure_sha256:
        raise InputError(f"{origin.structure}: has changed since {folder} was begun; sweep anew.")
    atoms = read_structure(origin.structure, origin.frame, origin.format)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(
        folder / "config.yaml",
        f"# Goes on with: rgnn sweep --resume {quote(str(folder))}\n" + dump_yaml(config.to_mapping()),
    )
    titles = names(config.settings, model.hardware)
    md = config.md
    report.say(f"Structure: {origin.structure}; model: {origin.model}; {len(titles)} settings in {folder}")
    report.say(f"Dynamics: Langevin at {md.initial_temperature:g} K, {md.total_steps} steps of {md.timestep:g} fs each")
    with asked_to_stop() as stop, report.progress("Sweeping", None, "steps") as meter:
        try:
            folders = run_sweep(atoms, model, config, folder, ConsoleListener(report, meter, stop))
        except Interrupted as stopped:
            raise Interrupted(str(stopped), "sweep", folder) from None
    show_and_write(report, config, titles, folders, folder, how)


def clear(folder: Path) -> None:
    """Empty the folder of an earlier sweep, which holds nothing but what a sweep writes.

    Raises:
        InputError: it holds something else, which is left alone with all the rest.
    """
    import shutil

    from rgnn_cli.session import workspace

    if folder.is_dir():
        runs = [p for p in folder.iterdir() if (p / "hardware.yaml").is_file()]
        workspace.refuse_foreign(folder, beside={p.name for p in runs})
        for run in runs:
            shutil.rmtree(run)
    workspace.clear_run(folder)
