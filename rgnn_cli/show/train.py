"""What rgnn train shows of a run, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rgnn.base.errors import InputError
from rgnn_cli.session import workspace
from rgnn_cli.session.sample import fetch_sample

if TYPE_CHECKING:
    from rgnn.training.run import TrainingRun
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


def introduction(session: Session, run: TrainingRun, folder: Path) -> None:
    """What is about to be trained, in three lines."""
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
    length = length if minutes is None else f"{minutes:g} min"
    several = f", frames shared by {run.processes.count} processes" if run.processes.count > 1 else ""
    say(f"Run: {folder}, {length}{several}")


def take_part(session: Session) -> None:
    """Take part in the run that the first process has prepared."""
    from rgnn.training.run import RunSettings, TrainingRun

    processes = session.processes
    assert processes is not None
    said = processes.broadcast_object(None)
    run = TrainingRun.prepare(RunSettings.from_mapping(said["run"]), session.device, processes)
    with session.listening("Training", "steps", insisting=False) as listener:
        run.run(said["folder"], listener=listener)


def result(session: Session, run: TrainingRun, result: FitResult, folder: Path) -> None:
    """The best model, the curve, what the converters clip, and what to type next."""
    from rgnn.plots.learning import training_curve
    from rgnn.reports.contents import epoch_mapping

    settings, best, say = run.config, result.best, session.report.say
    curve = ""
    if not settings.model.is_solved:  # whose curve would be one point
        curve = f"; curve: {training_curve(result.history, folder / 'training.png')}"
    workspace.remember("model", folder)
    workspace.link_latest(folder)
    if result.stopped_early:
        say(f"Stopped after epoch {len(result.history)}: no better for {settings.training.stop_after} epochs.")
    say(
        f"Best model: [bold]{folder / 'best'}[/] (epoch {best.epoch}, on validation frames: relative force "
        f"error [bold]{100 * best.relative_error:.1f}%[/], MAE {best.mae:.4f} eV/Å){curve}"
    )
    if best.energy_error is not None:
        say(f"Energy: validation error {1000 * best.energy_error:.2f} meV/atom")
    if best.relative_error >= 1:
        session.report.warn("this model is no better than forces of zero; lower the learning rate, or train longer.")
    _clipped(session, run, result)
    if settings.model.is_solved:
        by = "the spread of the chips and the posterior" if settings.chips > 1 else "the posterior"
        say(f"Uncertainty of forces: by {by}, calibrated on the validation frames; rgnn eval shows how well")
    say(f"Next: rgnn eval {folder}   or   rgnn md STRUCTURE --steps 10000")
    found = {"run": str(folder), "epochs": len(result.history), "best": epoch_mapping(best)}
    session.result({**found, "stopped_early": result.stopped_early})


def _clipped(session: Session, run: TrainingRun, result: FitResult) -> None:
    from rgnn.evaluation.diagnosis import diagnose

    model = result.model
    if model.uses_chip:
        found = diagnose(model, run.store, run.validation, model.hardware)
        saturated = "" if found.saturated is None else f", {100 * found.saturated:.3f}% of the output conversions"
        clipped = f"{100 * found.clipped:.3f}% of inputs{saturated}"
        session.report.say(f"Outside of the converters' ranges on validation frames: {clipped}")
