"""rgnn learn: active learning of a material."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rgnn.base.choices import FrameChoice, LabelProgram, Preset
from rgnn_cli.session import options
from rgnn_cli.session.options import HARDWARE

LABELS, DYNAMICS, TRAINING = "Labels", "Dynamics", "Training"

Structure = Annotated[Path, typer.Argument(help="Structure file that ASE reads, where dynamics starts.")]
LabelOption = Annotated[
    str | None, typer.Option(help="ASE calculator that labels, as MODULE:NAME.", rich_help_panel=LABELS)
]
Inputs = Annotated[
    LabelProgram | None,
    typer.Option(help="Program whose inputs are written, to be run outside.", rich_help_panel=LABELS),
]
Template = Annotated[
    Path | None,
    typer.Option(help="Folder of a calculation of --inputs without its structure.", rich_help_panel=LABELS),
]
Frames = Annotated[
    Path | None,
    typer.Option(help="Labelled frames or store to start from; default: distorted copies.", rich_help_panel=LABELS),
]
Relabel = Annotated[
    bool, typer.Option("--relabel", help="New labels for --frames, of which --start are taken.", rich_help_panel=LABELS)
]
Start = Annotated[int, typer.Option(min=2, help="Number of distorted copies to start from.", rich_help_panel=LABELS)]
Rattle = Annotated[
    float, typer.Option(min=0, help="Displacement in the most distorted copy, Å.", rich_help_panel=LABELS)
]
Strain = Annotated[
    float, typer.Option(min=0, help="Largest stretch of a copy's cell, as a share.", rich_help_panel=LABELS)
]
Rounds = Annotated[int, typer.Option(min=1, help="Number of rounds at most.")]
Batch = Annotated[int, typer.Option(min=1, help="Frames labelled in a round.")]
Choice = Annotated[FrameChoice, typer.Option(help="Frames that are labelled: farthest from all known ones, or random.")]
Test = Annotated[
    Path | None, typer.Option(help="Labelled frames or store to test each round's model on; default: none.")
]
Temperature = Annotated[float, typer.Option(help="Temperature, K.", rich_help_panel=DYNAMICS)]
Steps = Annotated[
    int, typer.Option(min=1, help="Steps that must stay inside for learning to end.", rich_help_panel=DYNAMICS)
]
Timestep = Annotated[float, typer.Option(help="Time step, fs.", rich_help_panel=DYNAMICS)]
Every = Annotated[int, typer.Option(min=1, help="Steps between frames looked at.", rich_help_panel=DYNAMICS)]
PresetOption = Annotated[
    Preset | None,
    typer.Option("--preset", help="Settings to start from; default: energy.", rich_help_panel=TRAINING),
]
From = Annotated[
    Path | None,
    typer.Option("--from", help="Trained model that each training begins with.", rich_help_panel=TRAINING),
]
Cutoff = Annotated[
    float | None, typer.Option(help="Longest edge of the graphs, Å; default: 5.", rich_help_panel=TRAINING)
]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, help="Passes of a training; default: 2000 steps in all.", rich_help_panel=TRAINING),
]
Minutes = Annotated[float | None, typer.Option(min=0.01, help="Length of a training, min.", rich_help_panel=TRAINING)]
ChipOption = Annotated[
    Path | None, typer.Option(help="Chip folder; default: a synthetic chip.", rich_help_panel=HARDWARE)
]
Out = Annotated[Path | None, typer.Option(help="Folder of everything; default: learn/NAME.")]


def learn(
    ctx: typer.Context,
    structure: Structure,
    label: LabelOption = None,
    inputs: Inputs = None,
    template: Template = None,
    frames: Frames = None,
    relabel: Relabel = False,
    start: Start = 20,
    rattle: Rattle = 0.1,
    strain: Strain = 0.02,
    rounds: Rounds = 5,
    batch: Batch = 5,
    choice: Choice = "farthest",
    test: Test = None,
    temperature: Temperature = 300.0,
    steps: Steps = 2000,
    timestep: Timestep = 1.0,
    every: Every = 10,
    preset: PresetOption = None,
    from_model: From = None,
    cutoff: Cutoff = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    bits: options.Bits = None,
    noise: options.Noise = None,
    chip: ChipOption = None,
    config: options.Config = None,
    frame: options.Frame = -1,
    format: options.StructureFormat = None,  # noqa: A002
    out: Out = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    seed: options.Seed = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Learn a material actively, from few labels.

    Example: rgnn learn crystal.xyz --label chgnet.model.dynamics:CHGNetCalculator

    Each round trains a model, runs dynamics until it is unsure, and has the
    frames that it knows least labelled: by an ASE calculator, or by VASP, CP2K
    or Quantum ESPRESSO, whose inputs are written and whose outputs are read
    when the same command is given again. A stopped command continues so, too.
    """
    from rgnn.learning.run import Learning
    from rgnn.learning.settings import LearnRecord, LearnSettings
    from rgnn_cli.session.session import Session, given
    from rgnn_cli.show import learn as show

    session = Session(quiet=quiet, as_json=as_json, device=device, threads=threads)
    typed = given(ctx, LearnSettings)
    changes: dict[str, Any] = {name: str(x) if isinstance(x, Path) else x for name, x in typed.items()}
    record = LearnRecord.of(LearnSettings(**changes), structure, frame, format)
    folder = out or Path("learn") / structure.stem
    learning = Learning(record, folder, session.device)
    show.introduction(session, learning)
    found = learning.run(session.listening, show.Progress(session, learning))
    show.result(session, found, str(structure))
