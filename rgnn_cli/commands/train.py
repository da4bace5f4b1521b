"""rgnn train: a force field from a graph store, on a simulated chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn.base.choices import Loss, Preset
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
        help="Number of chips with a model each, whose forces are averaged; default: 1.",
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
Steps = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Length of the training in place of passes, steps; the learning rate falls to its end.",
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
    str | None,
    typer.Option(
        "--split",
        help="Validation frames: auto, blocks, random, or a file of frame numbers; default: the preset's.",
        rich_help_panel=TRAINING,
    ),
]
Validation = Annotated[
    Path | None,
    typer.Option(help="Store of frames to validate on; default: frames held out.", rich_help_panel=TRAINING),
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
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Trained model to begin with: its shape, hardware, cells and weights.",
        rich_help_panel=TRAINING,
    ),
]
Replay = Annotated[
    str | None,
    typer.Option(
        help="Store to keep in mind beside --from, or none; default: that of the model.", rich_help_panel=TRAINING
    ),
]
ReplayShare = Annotated[
    float | None,
    typer.Option(
        min=0, max=0.99, help="Share of replayed frames in each epoch; default: 0.25.", rich_help_panel=TRAINING
    ),
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
    steps: Steps = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    loss: LossOption = None,
    split: SplitOption = None,
    validation: Validation = None,
    add_to: AddTo = None,
    from_model: From = None,
    replay: Replay = None,
    replay_share: ReplayShare = None,
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
    from rgnn_cli.session.session import Session, was_typed
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
            {name: n for name, n in (("bits", bits), ("noise", noise)) if n is not None}, show.given_training(ctx),
            narrow, board.named(ctx), reuse_cells, from_model, replay, replay_share, validation,
        )  # fmt: skip
        if resume is None:
            settings, folder = show.new_run(session, request, out, overwrite)
        else:
            settings, folder = show.resumed_run(request, resume, out, bits, noise, overwrite)
        run, folder = show.prepared(session, settings, folder, resume is not None)
        with session.listening("Training", "steps", insisting=session.processes.count == 1) as listener:
            result = run.run(folder, resume=resume is not None, listener=listener)
    show.result(session, run, result, folder, as_typed=resume is None and request.is_plain)
