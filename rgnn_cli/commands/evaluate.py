"""rgnn eval: force errors of a model under hardware settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgnn_cli.session import options
from rgnn_cli.session.options import HARDWARE, RUNNING

if TYPE_CHECKING:
    from rgnn.evaluation import EvaluationPlan
    from rgnn_cli.session.session import Session

# Options that --resume takes from the run.
FROM_THE_RUN = (
    "model", "store", "bits", "noise", "slow_noise", "programming_noise", "vary", "hardware", "repeats", "chips",
    "frames", "seed", "find", "conservation", "config", "out", "chip", "driver", "timeout", "refit",
)  # fmt: skip
SEARCH, CHECK = "Search", "Conservation"

Model = Annotated[Path | None, typer.Argument(help="Model folder or training run; default: the newest here.")]
Store = Annotated[Path | None, typer.Argument(help="Graph store; default: the one the model was trained on.")]
Repeats = Annotated[int, typer.Option(min=1, help="Draws of the read noise for each frame.", rich_help_panel=HARDWARE)]
Chips = Annotated[int, typer.Option(min=1, help="Draws of what is frozen on a chip.", rich_help_panel=HARDWARE)]
OtherChip = Annotated[
    Path | None, typer.Option("--chip", help="Other chip to deploy the model on.", rich_help_panel=HARDWARE)
]
Find = Annotated[
    str | None,
    typer.Option(help="Cheapest hardware by bits, noise, adc_bits or several of them.", rich_help_panel=SEARCH),
]
Within = Annotated[
    str,
    typer.Option(help="Largest growth of the error over the ideal chip's, % or a fraction.", rich_help_panel=SEARCH),
]
Conservation = Annotated[
    bool,
    typer.Option("--conservation", help="Distance of the forces from those of an energy.", rich_help_panel=CHECK),
]
NveSteps = Annotated[int, typer.Option(min=10, help="Length of the NVE check, steps of 1 fs.", rich_help_panel=CHECK)]
Config = Annotated[
    Path | None,
    typer.Option(help="eval.json of the published program; the options override it.", rich_help_panel=RUNNING),
]
Frames = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of frames, evenly chosen; default: all, 3 with --conservation.", rich_help_panel=RUNNING
    ),
]
Predictions = Annotated[
    bool | None,
    typer.Option(
        "--predictions/--no-predictions",
        help="Predictions beside the labels as extended XYZ; default: up to 200,000 atoms.",
        rich_help_panel=RUNNING,
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder for results; default: eval/NAME-001 and so on.")]
Resume = Annotated[Path | None, typer.Option(help="Folder of an evaluation to continue.", rich_help_panel=RUNNING)]


def evaluate(
    ctx: typer.Context,
    model: Model = None,
    store: Store = None,
    bits: options.SweptBits = None,
    noise: options.SweptNoise = None,
    slow_noise: options.SweptSlowNoise = None,
    programming_noise: options.SweptProgrammingNoise = None,
    vary: options.Vary = None,
    hardware: options.HardwareOption = None,
    repeats: Repeats = 5,
    chips: Chips = 1,
    chip: OtherChip = None,
    driver: options.Driver = None,
    timeout: options.BoardTimeout = 60.0,
    refit: options.Refit = 0,
    find: Find = None,
    within: Within = "10%",
    conservation: Conservation = False,
    nve_steps: NveSteps = 500,
    frames: Frames = None,
    predictions: Predictions = None,
    config: Config = None,
    out: Out = None,
    resume: Resume = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Measure errors of forces, energies and stresses on hardware settings.

    Example: rgnn eval runs/latest data/test.zarr --bits 2:8 --noise 0,0.05,0.1

    Errors are in total, per element and per temperature, with 95% intervals; of
    energies and stresses where the model has them. On the store that the model
    was trained on, only the frames held out of training count. Writes report.html
    with all figures and tables, eval.json, eval.csv and predictions.xyz. --find
    bits,noise --within 10% searches for the cheapest hardware; --conservation
    measures how far the forces are from those of an energy. With --driver, all
    products are measured on a board, with --chip on another; --refit adapts to it.
    """
    from rgnn import evaluation
    from rgnn.chip.presets import load_hardware
    from rgnn_cli.session import parse, workspace
    from rgnn_cli.session.session import Session, refuse_typed_beside_resume
    from rgnn_cli.show import board, other_chip
    from rgnn_cli.show.conservation import FRAMES, judge
    from rgnn_cli.show.evaluate import introduce
    from rgnn_cli.show.find import search

    session = Session(quiet=quiet, as_json=as_json, device=device, threads=threads)
    if resume is not None:
        refuse_typed_beside_resume(ctx, *FROM_THE_RUN)
        folder = workspace.run_folder(resume)
        plan = evaluation.resume(folder, session.device)
        introduce(session.report, plan)
        _go(session, plan, folder, predictions)
        return
    seed = _seed(session, config) if seed is None else seed
    choices = parse.choices(bits, noise, vary or [], slow_noise, programming_noise)
    path = model or session.newest_model()
    plan = evaluation.plan(
        path, store, vary=choices, hardware=hardware, repeats=repeats, chips=chips, frames=frames, seed=seed or 0,
        device=session.device, newest_store=session.newest_store,
    )  # fmt: skip
    plan = board.chosen(ctx, plan)
    folder = _folder(plan, path, out, overwrite)
    introduce(session.report, plan)
    if chip is not None:
        other_chip.evaluate(session, plan, chip, refit, folder)
    elif conservation:
        judge(session, plan, frames or FRAMES, nve_steps, folder)
    elif find is not None:
        base = plan.model.hardware if hardware is None else load_hardware(hardware)
        search(session, plan, base, find, parse.percentage(within, "--within"), folder)
    else:
        _go(session, plan, folder, predictions)


def _folder(plan: EvaluationPlan, model: Path, out: Path | None, overwrite: bool) -> Path:
    """An empty folder for results; or as it is, where the same evaluation on the same board was begun in it."""
    from rgnn_cli.session import workspace
    from rgnn_cli.show import board

    if not overwrite and board.is_begun(plan, out):
        assert out is not None
        return out
    if out is not None:
        workspace.refuse_existing(out, overwrite, model, plan.store.path)
    folder = out or workspace.new_folder("eval", _name(model))
    workspace.clear_run(folder)
    return folder


def _seed(session: Session, config: Path | None) -> int | None:
    """That of a published eval.json; says what else of it has no counterpart."""
    from rgnn.training.published import read_published_evaluation

    if config is None:
        return None
    seed, unused = read_published_evaluation(config)
    session.report.say(f"Not used of {config}: {', '.join(unused)}")
    return seed


def _go(session: Session, plan: EvaluationPlan, folder: Path, predictions: bool | None) -> None:
    """Evaluate into the folder, and show the result."""
    from rgnn.evaluation import Evaluation
    from rgnn.reports.evaluation import write_evaluation, writes_predictions
    from rgnn_cli.show import board
    from rgnn_cli.show.evaluate import show

    if plan.settings.board.driver:
        board.evaluate(session, plan, folder)
        return
    writes_predictions(plan, predictions)
    with session.listening("Evaluating", "passes") as listener:
        rows = plan.run(listener, keep=folder)
    with session.listening("Comparing uncertainties", "frames") as listener:
        found = Evaluation(plan, rows, plan.reliability(listener))
    with session.listening("Drawing predictions", "frames") as listener:
        files = write_evaluation(found, folder, predictions, listener)
    show(session.report, found, files)
    session.result({"out": str(folder), **found.to_mapping()})


def _name(path: Path) -> str:
    resolved = path.resolve()
    return resolved.parent.name if resolved.name in ("best", "last") else resolved.name
