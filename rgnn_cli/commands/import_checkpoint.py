"""rgnn import-checkpoint: the published trained model -> a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options

File = Annotated[Path, typer.Argument(help="Trained model of the published program (checkpoint.pkl).")]
ChipOption = Annotated[Path, typer.Option("--chip", help="Chip folder, from rgnn import-conductance.")]
Out = Annotated[Path, typer.Option(help="Model folder to write.")]


def import_checkpoint(
    file: File,
    chip: ChipOption,
    out: Out,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Turn the published trained model into a model folder, which eval and md take.

    Example: rgnn import-checkpoint data/published/checkpoint.pkl --chip chips/published --out models/published

    The file is read without running any code in it.
    """
    from importlib.metadata import version

    from rgnn.base.errors import InputError
    from rgnn.base.provenance import Provenance
    from rgnn.chip.chip import Chip
    from rgnn.models.checkpoints import save_model
    from rgnn.models.message_passing.model import RGNN
    from rgnn.models.message_passing.published import PUBLISHED_ELEMENTS, model_from_published, read_checkpoint
    from rgnn.models.settings import MessagePassingSettings
    from rgnn_cli.session import workspace
    from rgnn_cli.session.session import Session

    session = Session(quiet=quiet, as_json=as_json)
    weights, shapes = Chip.load(chip), RGNN.matrices(MessagePassingSettings.published())
    needed = sum(rows * columns for layer in shapes for rows, columns in layer)
    if len(weights.weights) != needed:
        raise InputError(
            f"{chip}: has {len(weights.weights)} weights, but the published model was trained on one of {needed}; "
            "import the conductances that were published with it."
        )
    state = read_checkpoint(file)
    workspace.refuse_existing(out, overwrite, file, chip)
    model = model_from_published(state, weights.matrices(shapes), str(file))
    model.provenance = Provenance(
        elements=PUBLISHED_ELEMENTS,
        chip=weights.source,
        chip_is_measured=weights.measured,
        data=f"that of {file.name}",
        rgnn=version("rgnn"),
    )
    save_model(model, out)
    workspace.remember("model", out)
    session.report.say(f"Model: [bold]{out}[/] ({model.hardware.describe()}, as published)")
    session.report.say(f"Next: rgnn eval {out} STORE   or   rgnn md STRUCTURE --model {out}")
    session.result({"model": str(out), "hardware": model.hardware.to_mapping()})
