"""rgnn eval: force errors of a model under hardware settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rgnn.base.estimate import evenly
from rgnn_cli.session import options
from rgnn_cli.session.find import find_here
from rgnn_cli.session.options import HARDWARE, RUNNING

if TYPE_CHECKING:
    from rgnn.data.store.reader import GraphStore
    from rgnn.evaluation import EvaluationSettings
    from rgnn.models.base import ForceField
    from rgnn_cli.session.console import Reporter

SEARCH, CHECK = "Search", "Conservation"


def evaluate(
    model: Annotated[
        Path | None, typer.Argument(help="Model folder or training run; default: the newest here.")
    ] = None,
    store: Annotated[Path | None, typer.Argument(help="Graph store; default: the one it was trained on.")] = None,
    bits: Annotated[
        str | None, typer.Option(help="Input bits to sweep: 4 or 2:8 or 2,4,8.", rich_help_panel=HARDWARE)
    ] = None,
    noise: Annotated[
        str | None, typer.Option(help="Fluctuations to sweep: 0,0.02,0.05,0.1.", rich_help_panel=HARDWARE)
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="Any other setting to sweep, such as adc_bits=4:8.", rich_help_panel=HARDWARE),
    ] = None,
    hardware: options.HardwareOption = None,
    repeats: Annotated[int, typer.Option(min=1, help="Fresh noise draws of each frame.", rich_help_panel=HARDWARE)] = 5,
    chips: Annotated[
        int, typer.Option(min=1, help="Fresh draws of what is frozen on a chip.", rich_help_panel=HARDWARE)
    ] = 1,
    find: Annotated[
        str | None,
        typer.Option(help="Cheapest hardware: bits, noise, adc_bits or several of them.", rich_help_panel=SEARCH),
    ] = None,
    within: Annotated[
        str, typer.Option(help="How much larger than the ideal chip's its error may be.", rich_help_panel=SEARCH)
    ] = "10%",
    conservation: Annotated[
        bool,
        typer.Option("--conservation", help="How far its forces are from those of an energy.", rich_help_panel=CHECK),
    ] = False,
    nve_steps: Annotated[
        int, typer.Option(min=10, help="Of 1 fs, in NVE: what the model heats.", rich_help_panel=CHECK)
    ] = 500,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Evaluate on so many frames, evenly chosen.", rich_help_panel=RUNNING)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results; default: eval/NAME-001 and so on.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this evaluation.", rich_help_panel=RUNNING)] = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Force errors in total, per element and per temperature, for the ideal chip and for hardware settings.

    Example: rgnn eval runs/latest data/test.zarr --bits 2:8 --noise 0,0.05,0.1

    On the store that the model was trained on, only the frames held out of training count. Writes report.html
    with all figures and tables, eval.json and eval.csv. With --find bits,noise --within 10%, searches for the
    cheapest hardware instead; with --conservation, measures how far the forces are from those of an energy.
    """
    from rgnn.chip.presets import load_hardware
    from rgnn.data.store.reader import GraphStore, require_cutoff
    from rgnn.models.checkpoints import load_model
    from rgnn_cli.session import parse as sweeps
    from rgnn_cli.session import workspace
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.session.device import choose_device

    report = Reporter(quiet, as_json)
    if resume is not None:
        workspace.refuse_beside_resume(
            model=model, store=store, bits=bits, noise=noise, vary=vary, hardware=hardware, find=find, frames=frames,
            out=out,
        )  # fmt: skip
        _resumed(report, resume, device, threads)
        return
    path = find_here(report, "model", model, "train one with rgnn train, or name a model folder")
    loaded = load_model(path, choose_device(report, device, threads))
    store = store or (Path(loaded.provenance.data) if Path(loaded.provenance.data).exists() else None)
    data = GraphStore(find_here(report, "store", store, "make one with rgnn convert, or name one"))
    require_cutoff(data, loaded.settings.cutoff)
    _warn_of_elements(report, loaded, data)
    held_out, why = _frames(loaded, data, frames)
    base = loaded.hardware if hardware is None else load_hardware(hardware)
    varied = sweeps.choices(bits, noise, vary or [])
    settings = sweeps.settings(loaded, base, varied)
    config = _config(path, loaded, data, held_out, settings, repeats, chips, seed or 0)
    if out is not None:
        workspace.refuse_existing(out, overwrite)
    folder = out or workspace.new_folder("eval", _name(path))
    workspace.clear_run(folder)
    report.say(f"Model: {_shown(path)}; frames: {data.path}, {why}")
    if conservation:
        from rgnn_cli.show.conservation import judge

        judge(report, loaded, data, config, frames, nve_steps, folder)
    elif find is not None:
        from rgnn_cli.show.find import search

        search(report, loaded, data, config, base, find, sweeps.percentage(within, "--within"), folder)
    else:
        _go(report, loaded, data, config, folder)


def _config(
    path: Path,
    model: ForceField,
    data: GraphStore,
    frames: Sequence[int],
    settings: Sequence[Any],
    repeats: int,
    chips: int,
    seed: int,
) -> EvaluationSettings:
    """All that the evaluation depends on, with the frames that missing ranges are to be made from."""
    from rgnn.data.store.split import held_out_frames
    from rgnn.evaluation import EvaluationSettings
    from rgnn.models.calibration import CALIBRATION_FRAMES, needs_calibration
    from rgnn.models.checkpoints import fingerprint

    calibration: list[int] = []
    if any(needs_calibration(model, h) for h in settings):
        held_out = held_out_frames(model.provenance, data)
        trained_on = sorted(set(range(len(data))) - set(held_out)) if held_out is not None else list(frames)
        calibration = evenly(trained_on, CALIBRATION_FRAMES)
    return EvaluationSettings(
        model=str(path),
        fingerprint=fingerprint(model),
        store=str(data.path),
        checksum=data.checksum,
        frames=tuple(int(k) for k in frames),
        calibration=tuple(calibration),
        settings=tuple(settings),
        repeats=repeats,
        chips=chips,
        seed=seed,
    )


def _resumed(report: Reporter, folder: Path, device: options.Device, threads: int | None) -> None:
    from rgnn.base.errors import InputError
    from rgnn.base.settings import read_yaml
    from rgnn.data.store.reader import GraphStore
    from rgnn.evaluation import EvaluationSettings
    from rgnn.models.checkpoints import fingerprint, load_model
    from rgnn_cli.session import workspace
    from rgnn_cli.session.device import choose_device

    folder = workspace.run_folder(folder)
    file = folder / "config.yaml"
    config = EvaluationSettings.from_mapping(read_yaml(file), str(file))
    model = load_model(config.model, choose_device(report, device, threads))
    data = GraphStore(config.store)
    for what, mine, theirs in (
        (config.model, fingerprint(model), config.fingerprint),
        (config.store, data.checksum, config.checksum),
    ):
        if mine != theirs:
            raise InputError(f"{what}: has changed since {folder} was begun; evaluate it anew.")
    report.say(f"Model: {_shown(Path(config.model))}; frames: {data.path}, {len(config.frames)}; goes on in {folder}")
    _go(report, model, data, config, folder)


def _go(report: Reporter, model: ForceField, data: GraphStore, config: EvaluationSettings, folder: Path) -> None:
    """Evaluate into the folder, and show what came out."""
    from rgnn.base.files import write_atomic
    from rgnn.base.settings import dump_yaml
    from rgnn.evaluation import evaluate as run_evaluation
    from rgnn.models.uncertainty import load_uncertainties
    from rgnn_cli.session.signals import asked_to_stop
    from rgnn_cli.show.evaluate import show, write
    from rgnn_cli.show.uncertainty import look

    folder.mkdir(parents=True, exist_ok=True)
    note = f"# Goes on with: rgnn eval --resume {folder}\n"
    write_atomic(folder / "config.yaml", note + dump_yaml(config.to_mapping()))
    known = list(load_uncertainties(config.model, model).values())  # before ranges are made, which change the model
    prepare(report, model, data, config)
    with asked_to_stop() as stop, report.progress("Evaluating", None, "passes") as meter:

        def progress(done: int, total: int) -> None:
            if meter.total is None:
                meter.start(0, total)
            meter.update(done)

        results = run_evaluation(
            model, data, config.frames, config.settings, config.repeats, config.chips, config.seed,
            keep=folder / "settings", progress=progress, stop=stop,
        )  # fmt: skip
    groups = _temperatures(data, config.frames)
    uncertainty = look(report, known, model, data, config)
    files = write(folder, model, data, config, results, groups, uncertainty)
    show(report, results, groups, model, data, uncertainty)
    report.say(f"Results: {', '.join(str(file) for file in files)}")
    settings, certain = ([r.to_mapping(groups) for r in rows] for rows in (results, uncertainty))
    report.result({"out": str(folder), "settings": settings, "uncertainty": certain})


def prepare(report: Reporter, model: ForceField, data: GraphStore, config: EvaluationSettings) -> None:
    """Make the ranges that the model lacks, from the hardware that disturbs most."""
    from rgnn.models.calibration import calibrate, needs_calibration

    missing = [h for h in config.settings if needs_calibration(model, h)]
    if missing:
        report.say(f"Calibrating converters that training did not: {len(config.calibration)} frames")
        loudest = max(missing, key=lambda h: h.noise or 0.0)
        loudest = next((h for h in missing if h.adc_bits is not None and h.noise == loudest.noise), loudest)
        calibrate(model, [data.graph(k) for k in config.calibration], loudest, config.seed)


def _shown(path: Path) -> Path:
    from rgnn.models.checkpoints import find_model

    return find_model(path)


def _warn_of_elements(report: Reporter, model: ForceField, data: GraphStore) -> None:
    from ase.data import chemical_symbols

    strange = [chemical_symbols[z] for z in data.elements if model.elements and z not in model.elements]
    if strange:
        report.warn(f"the model was not trained on {', '.join(strange)}, so errors there tell nothing of it.")


def _name(path: Path) -> str:
    resolved = path.resolve()
    return resolved.parent.name if resolved.name in ("best", "last") else resolved.name


def _frames(model: ForceField, data: GraphStore, limit: int | None) -> tuple[list[int], str]:
    """The frames to evaluate on, and in words which they are."""
    from rgnn.data.store.split import held_out_frames

    chosen, why = list(range(len(data))), f"all {len(data)}"
    held_out = held_out_frames(model.provenance, data)
    if held_out is not None:
        chosen, why = held_out, f"the {len(held_out)} held out of its training"
    if limit is not None and limit < len(chosen):
        chosen, why = evenly(chosen, limit), f"{limit} of {why}"
    return chosen, why


def _temperatures(data: GraphStore, frames: Sequence[int]) -> dict[str, list[int]]:
    """Positions in `frames` of each temperature, where the store knows it."""
    import numpy as np

    groups: dict[float, list[int]] = {}
    for position, temperature in enumerate(data.column("temperature")[list(frames)].tolist()):
        if not np.isnan(temperature):
            groups.setdefault(temperature, []).append(position)
    return {f"{t:g} K": groups[t] for t in sorted(groups)}
