"""rgnn train: a force field from a graph store, on a simulated chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn.base.choices import Loss, Preset, Split
from rgnn_cli.session import options
from rgnn_cli.session.options import HARDWARE, RUNNING

TRAINING = "Training"

StoreArgument = Annotated[Path | None, typer.Argument(help="Graph store; default: the one made last here.")]
ChipOption = Annotated[
    Path | None, typer.Option(help="Chip folder; default: a synthetic chip.", rich_help_panel=HARDWARE)
]
Chips = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of chips for --preset ridge, whose forces are averaged; default: 1.",
        rich_help_panel=HARDWARE,
    ),
]
PresetOption = Annotated[
    Preset,
    typer.Option(
        "--preset",
        help="Settings to start from: gnnff is all digital, ridge takes one pass, moments and energy minutes.",
        rich_help_panel=TRAINING,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, help="Passes over the training frames; default: the preset's.", rich_help_panel=TRAINING),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        help="Length of the training in place of passes, min; the learning rate falls to its end.",
        rich_help_panel=TRAINING,
    ),
]
LearningRate = Annotated[
    float | None, typer.Option(help="Initial learning rate; default: the preset's.", rich_help_panel=TRAINING)
]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Frames per training step; default: the preset's.", rich_help_panel=TRAINING)
]
LossOption = Annotated[
    Loss | None, typer.Option("--loss", help="Loss function; default: the preset's.", rich_help_panel=TRAINING)
]
SplitOption = Annotated[
    Split | None,
    typer.Option(
        "--split",
        help="Validation frames: blocks of neighbours, or single ones; default: blocks.",
        rich_help_panel=TRAINING,
    ),
]
Narrow = Annotated[
    bool,
    typer.Option(
        "--narrow", help="A model as narrow as the chip demands, if it is too small.", rich_help_panel=HARDWARE
    ),
]
ReuseCells = Annotated[
    bool,
    typer.Option(
        "--reuse-cells", help="Several uses of each cell of a chip that is too small.", rich_help_panel=HARDWARE
    ),
]
AddTo = Annotated[
    Path | None,
    typer.Option(help="Run of --preset ridge to add the store's frames to.", rich_help_panel=TRAINING),
]
Out = Annotated[Path | None, typer.Option(help="Run folder; default: runs/train-001 and so on.")]
Resume = Annotated[Path | None, typer.Option(help="Run to continue.", rich_help_panel=RUNNING)]


def train(
    ctx: typer.Context,
    store: StoreArgument = None,
    bits: options.Bits = None,
    noise: options.Noise = None,
    hardware: options.HardwareOption = None,
    chip: ChipOption = None,
    chips: Chips = None,
    narrow: Narrow = False,
    driver: options.Driver = None,
    timeout: options.BoardTimeout = 60.0,
    reuse_cells: ReuseCells = False,
    preset: PresetOption = "default",
    epochs: Epochs = None,
    minutes: Minutes = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    loss: LossOption = None,
    split: SplitOption = None,
    add_to: AddTo = None,
    config: options.Config = None,
    out: Out = None,
    resume: Resume = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train a force field; reservoir weights stay as the chip has them.

    Example: rgnn train data/sample.zarr --bits 4 --noise 0.05 --epochs 20

    Settings that are not given here come from --config, then from the preset;
    the config.yaml of any run shows all of them. Ctrl-C saves the state, and
    rgnn train --resume RUN continues from it with the same result.
    Several processes: torchrun --nproc-per-node 2 --no-python rgnn train ...
    """
    from rgnn.training.request import TrainingRequest
    from rgnn.training.run import RunSettings, TrainingRun
    from rgnn.training.settings import TrainingSettings
    from rgnn_cli.session import workspace
    from rgnn_cli.session.session import Session, given, was_typed
    from rgnn_cli.session.torchrun import together
    from rgnn_cli.show import board
    from rgnn_cli.show import train as show

    session = Session(quiet=quiet, as_json=as_json, device=device, threads=threads)
    with together(session.report) as session.processes:
        if not session.processes.first:
            show.take_part(session)
            return
        request = TrainingRequest(
            store, preset if was_typed(ctx, "preset") else None, config, add_to, chip, chips, hardware,
            {name: n for name, n in (("bits", bits), ("noise", noise)) if n is not None}, given(ctx, TrainingSettings),
            narrow, board.named(ctx), reuse_cells,
        )  # fmt: skip
        if request.unused:
            session.report.say(f"Not used of {config}: {', '.join(request.unused)}")
        if resume is None:
            settings = request.settings(lambda: show.store_of(session))
            if out is not None:
                workspace.refuse_existing(out, overwrite, settings.store, settings.chip, add_to)
        else:
            workspace.refuse_beside_resume(
                store=store, chip=chip, chips=chips, preset=request.preset, add_to=add_to, config=config, out=out,
                bits=bits, noise=noise, hardware=hardware, narrow=narrow or None, reuse_cells=reuse_cells or None,
            )  # fmt: skip
            out = workspace.run_folder(resume)
            settings = request.changed(RunSettings.read(out / "config.yaml"))
        run = TrainingRun.prepare(settings, session.device, session.processes)
        folder = out or workspace.new_folder("runs", "train")
        show.introduction(session, run, folder)
        if resume is None:
            workspace.clear_run(folder)
        session.processes.broadcast_object({"run": settings.to_mapping(), "folder": str(folder)})
        with session.listening("Training", "steps", insisting=session.processes.count == 1) as listener:
            result = run.run(folder, resume=resume is not None, listener=listener)
    show.result(session, run, result, folder)
