"""rgnn train: a force field from a graph store, on a simulated chip."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgnn_cli.session import options
from rgnn_cli.session.options import RUNNING

if TYPE_CHECKING:
    from rgnn.training.distributed import Processes
    from rgnn.training.run import RunSettings, TrainingRun
    from rgnn.training.validation import FitResult
    from rgnn_cli.session.console import Reporter

TRAINING = "Training"


class Preset(StrEnum):
    """Settings to start from."""

    DEFAULT = "default"
    PUBLISHED = "published"
    GNNFF = "gnnff"
    RIDGE = "ridge"
    MOMENTS = "moments"


class Split(StrEnum):
    """How validation frames are chosen."""

    BLOCKS = "blocks"
    RANDOM = "random"


class Loss(StrEnum):
    """What training makes small."""

    MSE = "mse"
    MAE = "mae"
    HUBER = "huber"


def train(
    store: Annotated[Path | None, typer.Argument(help="Graph store; default: the one made last here.")] = None,
    bits: options.Bits = None,
    noise: options.Noise = None,
    hardware: options.HardwareOption = None,
    chip: Annotated[
        Path | None,
        typer.Option(help="Chip folder; default: a synthetic chip.", rich_help_panel=options.HARDWARE),
    ] = None,
    chips: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Solve the ridge preset on so many chips; forces are the mean.",
            rich_help_panel=options.HARDWARE,
        ),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="Settings to start from: gnnff is all digital, ridge takes one pass, moments minutes.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training frames.", rich_help_panel=TRAINING)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of Adam, at the start.", rich_help_panel=TRAINING)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Frames a step.", rich_help_panel=TRAINING)] = None,
    loss: Annotated[Loss | None, typer.Option(help="Over force components.", rich_help_panel=TRAINING)] = None,
    split: Annotated[
        Split | None,
        typer.Option(help="Hold out contiguous blocks of frames, or single ones.", rich_help_panel=TRAINING),
    ] = None,
    add_to: Annotated[
        Path | None,
        typer.Option(help="Add the store's frames to this run of the ridge preset.", rich_help_panel=TRAINING),
    ] = None,
    config: options.Config = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/train-001 and so on.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run.", rich_help_panel=RUNNING)] = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train a force field; reservoir weights stay as the chip has them.

    Example: rgnn train data/sample.zarr --bits 4 --noise 0.05 --epochs 20

    Settings not given here come from --config, then from the preset (see config.yaml of any run for
    all of them). Ctrl-C saves the state; rgnn train --resume RUN goes on as if nothing had happened.
    Several processes share the frames of each step: torchrun --nproc-per-node 2 --no-python rgnn train ...
    """
    from rgnn.base.errors import InputError
    from rgnn.chip.presets import load_hardware
    from rgnn.plots.learning import training_curve
    from rgnn.training.run import RunSettings, TrainingRun
    from rgnn_cli.session import workspace
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.session.device import choose_device
    from rgnn_cli.session.session import ConsoleListener
    from rgnn_cli.session.signals import asked_to_stop
    from rgnn_cli.session.torchrun import together

    report = Reporter(quiet, as_json)
    given: dict[str, object] = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "loss": loss,
    }
    given |= {"split": split, "seed": seed}
    training = {key: getattr(value, "value", value) for key, value in given.items() if value is not None}
    with together(report) as processes:
        if not processes.first:
            _take_part(report, processes, device, threads)
            return
        if resume is None:
            run = _settings(report, config, preset, store, chip, chips, add_to)
            if out is not None:
                workspace.refuse_existing(out, overwrite)
                if run.adds_to is not None and out.resolve() == Path(run.adds_to).resolve():
                    raise InputError(f"{out}: is the run that frames are added to; give another --out.")
        else:
            workspace.refuse_beside_resume(
                store=store, chip=chip, chips=chips, preset=preset, add_to=add_to, config=config, out=out, bits=bits,
                noise=noise, hardware=hardware,
            )  # fmt: skip
            out = workspace.run_folder(resume)
            run = RunSettings.read(out / "config.yaml")
        of_steps = "epochs", "learning_rate", "batch_size", "loss"
        unused = [f"--{key.replace('_', '-')}" for key in of_steps if given[key] is not None]
        if run.model.is_solved and unused:
            raise InputError(f"a ridge readout is solved for in one pass, without {', '.join(unused)}; leave that out.")
        base = run.hardware if hardware is None else load_hardware(hardware)
        run = run.override(hardware=base.with_given(bits, noise), training=run.training.override(**training))
        ready = TrainingRun.prepare(run, choose_device(report, device, threads, processes), processes)
        folder = out or workspace.new_folder("runs", "train")
        _introduce(report, ready, folder)
        if resume is None:
            workspace.clear_run(folder)
        processes.broadcast_object({"run": run.to_mapping(), "folder": str(folder)})
        alone = processes.count == 1
        with asked_to_stop(insisting=alone) as stop, report.progress("Training", None, "steps") as meter:
            result = ready.run(folder, resume=resume is not None, listener=ConsoleListener(report, meter, stop))
    curve = ""
    if not run.model.is_solved:  # which is one point
        curve = f"; curve: {training_curve(result.history, folder / 'training.png')}"
    workspace.remember("model", folder)
    workspace.link_latest(folder)
    best = result.best
    if result.stopped_early:
        report.say(f"Stopped after epoch {len(result.history)}: no better for {run.training.stop_after} epochs.")
    report.say(
        f"Best model: [bold]{folder / 'best'}[/] (epoch {best.epoch}, validation error "
        f"[bold]{100 * best.relative_error:.1f}%[/] of the mean force, MAE {best.mae:.4f} eV/Å){curve}"
    )
    _say_what_is_clipped(report, ready, result)
    if run.model.is_solved:
        by = "the spread of the chips and the posterior" if run.chips > 1 else "the posterior"
        report.say(f"Uncertainty of forces: by {by}, calibrated on the validation frames; rgnn eval shows how well")
    report.say(f"Next: rgnn eval {folder}   or   rgnn md STRUCTURE --steps 10000")
    report.result(
        {"run": str(folder), "epochs": len(result.history), "best": vars(best), "stopped_early": result.stopped_early}
    )


def _take_part(report: Reporter, processes: Processes, device: options.Device, threads: int | None) -> None:
    """In the run that the first process has made ready."""
    from rgnn.training.run import RunSettings, TrainingRun
    from rgnn_cli.session.device import choose_device
    from rgnn_cli.session.session import ConsoleListener
    from rgnn_cli.session.signals import asked_to_stop

    told = processes.broadcast_object(None)
    run = RunSettings.from_mapping(told["run"])
    ready = TrainingRun.prepare(run, choose_device(report, device, threads, processes), processes)
    with asked_to_stop(insisting=False) as stop, report.progress("Training", None, "steps") as meter:
        ready.run(told["folder"], listener=ConsoleListener(report, meter, stop))


def _settings(
    report: Reporter, config: Path | None, preset: Preset | None, store: Path | None, chip: Path | None,
    chips: int | None, add_to: Path | None,
) -> RunSettings:  # fmt: skip
    """Defaults, then the preset, the file or the run to add to, then the store and chip named or made last."""
    from rgnn.base.errors import InputError
    from rgnn.data.store.reader import GraphStore
    from rgnn.training.run import RunSettings
    from rgnn_cli.session import workspace

    if sum(given is not None for given in (config, preset, add_to)) > 1:
        raise InputError("--config, --preset and --add-to each set everything; give one of them.")
    if add_to is not None:
        if chips is not None or chip is not None:
            raise InputError("--add-to takes the chips of the run; leave --chip and --chips out.")
        if store is None:
            raise InputError("--add-to adds the frames of a store; name it: rgnn train STORE --add-to RUN.")
        run = RunSettings.adding_to(workspace.run_folder(add_to))
    else:
        run = RunSettings.read(config) if config else RunSettings.preset(preset.value if preset else "default")
    if store is None and not run.store:
        store = workspace.last("store")
        if store is not None:
            report.say(f"Store: {store} (the one made last here)")
        else:
            from rgnn_cli.commands.fetch_data import fetch_sample

            store = fetch_sample(Path("data"), report)
            report.say(f"Store: {store} (no store here yet, so the packaged sample)")
    named = {"store": store and str(store), "chip": chip and str(chip), "chips": chips}
    run = run.override(**{name: value for name, value in named.items() if value is not None})
    asked = config is not None or add_to is not None or preset is Preset.PUBLISHED
    if not asked:  # for a cutoff, so the store's will do
        run = run.override(model=run.model.override(cutoff=GraphStore(run.store).cutoff))
    return run


def _introduce(report: Reporter, ready: TrainingRun, folder: Path) -> None:
    """What is about to be trained, in three lines."""
    run, store = ready.config, ready.store
    model, hardware = run.model, run.hardware
    wide = model.recommended_cutoff
    wider = wide is not None and store.cutoff < wide and not run.adds_to
    hint = f" (this preset does better with {wide:g}: rgnn convert --cutoff {wide:g})" if wider else ""
    report.say(f"Data: {run.store}, {len(store)} frames, cutoff {store.cutoff:g} Å{hint}")
    layers = model.describe()
    if model.uses_chip:
        chip = run.chip if run.chip and run.chips == 1 else ready.model.provenance.chip
        report.say(f"Model: {layers}; chip: {chip}; {hardware.describe()}")
    else:
        report.say(f"Model: {layers}, all digital")
    length = "one pass" if model.is_solved else f"{run.training.epochs} epochs"
    several = f", frames shared by {ready.processes.count} processes" if ready.processes.count > 1 else ""
    report.say(f"Run: {folder}, {length}{several}")


def _say_what_is_clipped(report: Reporter, ready: TrainingRun, result: FitResult) -> None:
    from rgnn.evaluation.diagnosis import diagnose

    model = result.model
    if model.uses_chip:
        found = diagnose(model, ready.store, ready.validation, model.hardware)
        saturated = "" if found.saturated is None else f", {100 * found.saturated:.3f}% of the output conversions"
        clipped = f"{100 * found.clipped:.3f}% of inputs{saturated}"
        report.say(f"Outside of the converters' ranges on validation frames: {clipped}")
