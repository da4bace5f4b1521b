"""rgnn import-conductance: measured conductances -> a chip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgnn_cli import options

if TYPE_CHECKING:
    from torch import Tensor


def import_conductance(
    file: Annotated[Path, typer.Argument(help="Conductances of the published kind (Conductance.pkl).")],
    out: Annotated[Path, typer.Option(help="Chip folder to write.")],
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Turn measured conductances into a chip that train and import-checkpoint take with --chip.

    Example: rgnn import-conductance data/published/Conductance.pkl --out chips/published

    The file is read without running any code in it.
    """
    from rgnn.chip import Chip
    from rgnn.plots.chip import chip_maps
    from rgnn.published import read_conductances
    from rgnn_cli import workspace
    from rgnn_cli.console import Reporter

    report = Reporter(quiet, as_json)
    layers = read_conductances(file)
    workspace.refuse_existing(out, overwrite)
    chip = Chip.from_matrices(layers, file.name)
    chip.save(out)
    figure = chip_maps(layers, out / "chip.png")
    rows = []
    for number, layer in enumerate(layers, 1):
        for index, w in enumerate(layer):
            rows.append([f"layer {number} W{index}", f"{w.shape[0]} x {w.shape[1]}", *_spread(w)])
    everything = chip.weights
    rows.append(["all", str(len(everything)), *_spread(everything)])
    report.table("Signed weights, G+ - G-", ["matrix", "size", "mean", "deviation", "smallest", "largest"], rows)
    report.say(f"Chip: [bold]{out}[/]; maps and histogram: {figure}")
    report.say(f"Next: rgnn train --chip {out}   or   rgnn import-checkpoint checkpoint.pkl --chip {out} --out MODEL")
    report.result({"chip": str(out), "figure": str(figure), **vars(chip.statistics)})


def _spread(w: Tensor) -> list[str]:
    return [f"{float(v):.3f}" for v in (w.mean(), w.std(), w.min(), w.max())]
