"""What rgnn train shows of a run, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgnn.base.errors import InputError
from rgnn_cli.session import workspace
from rgnn_cli.session.sample import fetch_sample

if TYPE_CHECKING:
    import typer

    from rgnn.training.request import TrainingRequest
    from rgnn.training.run import RunSettings, TrainingRun
    from rgnn.training.validation import FitResult
    from rgnn_cli.session.session import Session


def store_of(session: Session) -> Path:
    """The store made last here, or else the packaged sample; a line says which."""
    try:
        return session.newest_store()
    except InputError:
        store = fetch_sample(Path("data"), session.report)
        session.report.say(f"Store: {store} (no store here yet, so the packaged sample)")
        return store


def given_training(ctx: typer.Context) -> dict[str, Any]:
    """The training settings that the user typed; --validation is a store here, not a fraction."""
    from rgnn.training.settings import TrainingSettings
    from rgnn_cli.session.session import given

    found = given(ctx, TrainingSettings)
    found.pop("validation", None)
    return found


def new_run(
    session: Session, request: TrainingRequest, out: Path | None, overwrite: bool
) -> tuple[RunSettings, Path | None]:
    """Settings of a run that begins, and its folder where one is named."""
    if request.unused:
        session.report.say(f"Not used of {request.config}: {', '.join(request.unused)}")
    settings = request.settings(lambda: store_of(session))
    if out is not None:
        read = [settings.store, settings.chip, request.adds_to, settings.from_model, settings.replay]
        read += [settings.validation_store, settings.split_file]
        workspace.refuse_existing(out, overwrite, *read)
    return settings, out


def resumed_run(
    request: TrainingRequest,
    resume: Path,
    out: Path | None,
    bits: int | None,
    noise: float | None,
    overwrite: bool,
) -> tuple[RunSettings, Path]:
    """Settings of a run that is continued, and its folder."""
    from rgnn.training.run import RunSettings

    r = request
    workspace.refuse_beside_resume(
        store=r.store, chip=r.chip, chips=r.chips, preset=r.preset, add_to=r.adds_to, config=r.config, out=out,
        bits=bits, noise=noise, hardware=r.hardware, narrow=r.narrow or None, reuse_cells=r.reuse_cells or None,
        replay=r.replay, replay_share=r.replay_share, validation=r.validation_store,
        split=r.training.get("split"), overwrite=overwrite or None, **{"from": r.from_model},
    )  # fmt: skip
    folder = workspace.run_folder(resume)
    return request.changed(RunSettings.read(folder / "config.yaml")), folder


def prepared(session: Session, settings: RunSettings, out: Path | None, resumes: bool) -> tuple[TrainingRun, Path]:
    """The run made ready, shown and agreed on with the other processes; and its folder."""
    from rgnn.training.run import TrainingRun

    assert session.processes is not None
    run = TrainingRun.prepare(settings, session.device, session.processes)
    folder = out or workspace.new_folder("runs", "train")
    introduction(session, run, folder)
    if not resumes:
        workspace.clear_run(folder)
    session.processes.broadcast_object({"run": settings.to_mapping(), "folder": str(folder)})
    return run, folder


def introduction(session: Session, run: TrainingRun, folder: Path) -> None:
    """What is about to be trained, in three lines."""
    from rgnn.data.nearness import related

    settings, store, say = run.config, run.store, session.report.say
    model, wide = settings.model, settings.model.recommended_cutoff
    wider = wide is not None and store.cutoff < wide and not settings.adds_to
    hint = f" (this preset does better with {wide:g}: rgnn convert --cutoff {wide:g})" if wider else ""
    say(f"Data: {settings.store}, {len(store)} frames, cutoff {store.cutoff:g} Å{hint}")
    if run.model.uses_chip:
        chip = settings.chip if settings.chip and settings.chips == 1 else run.model.provenance.chip
        hardware = settings.hardware.describe()
        if settings.board.driver:
            hardware = f"{settings.hardware.bits} bits, measured on the board '{settings.board.driver}'"
        say(f"Model: {model.describe()}; chip: {chip}; {hardware}")
        if (reuse := run.reuse) is not None:
            say(f"Cells: {reuse}")
    else:
        say(f"Model: {model.describe()}, all digital")
    epochs, minutes = settings.training.epochs, settings.training.minutes
    length = "one pass" if model.is_solved else f"{epochs} epoch{'' if epochs == 1 else 's'}"
    length = f"{settings.training.steps:,} steps" if settings.training.steps is not None else length
    length = length if minutes is None else f"{minutes:g} min"
    several = f", frames shared by {run.processes.count} processes" if run.processes.count > 1 else ""
    if settings.from_model is not None:
        begins(session, run)
    parts = run.parts
    say(f"Frames: {len(parts.train)} train, {len(parts.validation)} validate. {parts.how}")
    if run.validated is not None and (found := related(store, run.validated)) is not None:
        session.report.warn(
            f"frames of {settings.validation_store} lie {found[0]:.2f} Å from the nearest training frame, unrelated "
            f"training frames {found[1]:.2f} Å from each other: they are of the same trajectories, and their error is "
            "smaller than that of another."
        )
    say(f"Run: {folder}, {length}{several}")


def begins(session: Session, run: TrainingRun) -> None:
    """What a run begins with, what it replays, and what it knows of that; epoch 0 is its error on validation frames."""
    from ase.data import chemical_symbols

    settings, memory, say = run.config, run.memory, session.report.say
    new = " ".join(chemical_symbols[z] for z in run.new_elements)
    say(f"Begins with: {settings.from_model}{f', with new rows for {new}' if new else ''}")
    if memory is not None and memory.share:
        say(f"Replay: {100 * memory.share:.0f}% of the frames of an epoch are of {settings.replay}")
    if (before := run.remembered(run.model)) is not None:
        say(f"Relative force error before, on held-out frames of {settings.replay}: {100 * before:.1f}%")


def take_part(session: Session) -> None:
    """Take part in the run that the first process has prepared."""
    from rgnn.training.run import RunSettings, TrainingRun

    processes = session.processes
    assert processes is not None
    said = processes.broadcast_object(None)
    run = TrainingRun.prepare(RunSettings.from_mapping(said["run"]), session.device, processes)
    with session.listening("Training", "steps", insisting=False) as listener:
        run.run(said["folder"], listener=listener)


def result(session: Session, run: TrainingRun, result: FitResult, folder: Path, as_typed: bool = False) -> None:
    """The best model, the curve, what the converters clip, and what to type next."""
    from rgnn.plots.learning import training_curve
    from rgnn.reports.contents import epoch_mapping, outlook_mapping

    settings, best, say = run.config, result.best, session.report.say
    curve = ""
    if not settings.model.is_solved:  # whose curve would be one point
        curve = f"; curve: {training_curve(result.history, folder / 'training.png')}"
    workspace.remember("model", folder)
    workspace.link_latest(folder)
    if result.stopped_early:
        say(f"Stopped after epoch {result.history[-1].epoch}: no better for {settings.training.stop_after} epochs.")
    say(
        f"Best model: [bold]{folder / 'best'}[/] (epoch {best.epoch}, on validation frames: relative force "
        f"error [bold]{100 * best.relative_error:.1f}%[/], MAE {best.mae:.4f} eV/Å){curve}"
    )
    if settings.from_model is not None and best.epoch == 0:
        say("No epoch was better on the validation frames than the model it began with, which is kept.")
    if best.energy_error is not None:
        say(f"Energy: validation error {1000 * best.energy_error:.2f} meV/atom")
    if best.relative_error >= 1:
        session.report.warn("this model is no better than forces of zero; lower the learning rate, or train longer.")
    found: dict[str, object] = {"run": str(folder), "epochs": result.history[-1].epoch, "best": epoch_mapping(best)}
    if (kept := run.remembered(result.model)) is not None:
        found["old_data_relative_error"] = kept
        say(f"On the held-out frames of {settings.replay} it now has {100 * kept:.1f}%")
    if (expected := run.outlook(result)) is not None:
        (session.report.warn if expected.is_worse else say)(expected.describe())
        found["outlook"] = outlook_mapping(expected)
    _clipped(session, run, result)
    by = "the posterior" if settings.model.is_solved else "how far atoms are from those of training"
    by = f"the spread of the chips and {by}" if settings.chips > 1 else by
    say(f"Uncertainty of forces: by {by}, calibrated on the validation frames; rgnn eval shows how well")
    if as_typed:
        reference(session, run)
    say(f"Next: rgnn eval {folder}   or   rgnn md STRUCTURE --steps 10000")
    session.result({**found, "stopped_early": result.stopped_early})


def reference(session: Session, run: TrainingRun) -> None:
    """What the best preset has reached where this architecture was measured, too."""
    from rgnn.training.reference import BEST
    from rgnn.training.run import RunSettings

    cutoff, convert = RunSettings.preset(BEST.preset).model.recommended_cutoff or 0.0, ""
    if run.store.cutoff < cutoff:
        convert = f"rgnn convert {run.config.store} --out wide.zarr --cutoff {cutoff:g}, then "
    store = "wide.zarr" if convert else run.config.store
    command = f"{convert}rgnn train {store} --preset {BEST.preset} --minutes {BEST.minutes:g}"
    session.report.say(
        f"For reference: on another sample of {BEST.material} --preset {BEST.preset} has {100 * BEST.error:.1f}% after "
        f"{BEST.minutes:g} minutes of one core, this architecture {100 * BEST.published:.1f}% after "
        f"{BEST.published_minutes:g}. To try it: {command}"
    )


def _clipped(session: Session, run: TrainingRun, result: FitResult) -> None:
    from rgnn.evaluation.diagnosis import diagnose

    model = result.model
    if model.uses_chip:
        found = diagnose(model, run.validation_store, run.validation, model.hardware)
        saturated = "" if found.saturated is None else f", {100 * found.saturated:.3f}% of the output conversions"
        clipped = f"{100 * found.clipped:.3f}% of inputs{saturated}"
        session.report.say(f"Outside of the converters' ranges on validation frames: {clipped}")
