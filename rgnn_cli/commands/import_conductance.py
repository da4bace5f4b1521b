"""rgnn import-conductance: measured conductances -> a chip."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rgnn_cli.session import options

if TYPE_CHECKING:
    from torch import Tensor

    from rgnn.chip.chip import Chip
    from rgnn.chip.measurement import ImportedChip, Measurement
    from rgnn_cli.session.console import Reporter

MAPS = "Maps"


class Unit(StrEnum):
    """Of the numbers in a map."""

    SIEMENS = "S"
    MILLI = "mS"
    MICRO = "uS"
    NANO = "nS"


class Scheme(StrEnum):
    """How cells make signed weights."""

    SIGNED = "signed"
    PAIR = "pair"
    PAIR_ROWS = "pair-rows"
    PAIR_HALVES = "pair-halves"
    REFERENCE = "reference"


def import_conductance(
    source: Annotated[
        Path, typer.Argument(help="A map, a folder of repeated reads, or the published Conductance.pkl.")
    ],
    out: Annotated[Path, typer.Option(help="Chip folder to write.")],
    unit: Annotated[
        Unit | None, typer.Option(help="Of the numbers; default: recognised by their size.", rich_help_panel=MAPS)
    ] = None,
    scheme: Annotated[
        Scheme | None,
        typer.Option(
            help="How cells make weights: pairs of columns, of rows, of halves, or cells less a reference column; "
            "default: signed where a number is negative, else pair.",
            rich_help_panel=MAPS,
        ),
    ] = None,
    reference_column: Annotated[
        int, typer.Option(help="Of the scheme reference, counted from 0; -1 is the last.", rich_help_panel=MAPS)
    ] = -1,
    target: Annotated[
        Path | None, typer.Option(help="Map of what the cells were programmed to.", rich_help_panel=MAPS)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the map in a file that has several.", rich_help_panel=MAPS)
    ] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Turn measured conductances into a chip that train and import-checkpoint take with --chip.

    Example: rgnn import-conductance reads/ --unit uS --out chips/mine

    Maps are CSV, TSV, text, NPY, NPZ, MAT or HDF5, in rows and columns as the array has them. A folder holds
    repeated reads of one array, one map a file: the read noise of each cell is then measured, and kept.
    Nothing in a file is ever executed.
    """
    from rgnn_cli.session import workspace
    from rgnn_cli.session.console import Reporter

    report = Reporter(quiet, as_json)
    workspace.refuse_existing(out, overwrite)
    if source.suffix in (".pkl", ".pt", ".pth"):
        chip, found = _published(report, source, out)
    else:
        chip, found = _measured(report, source, out, unit, scheme, reference_column, target, name)
    chip.save(out)
    report.say(f"Chip: [bold]{out}[/], {len(chip.weights):,} weights; figures: {found['figure']}")
    report.say(f"Next: rgnn train --chip {out}" + (" --hardware measured" if chip.read_deviation is not None else ""))
    report.result({"chip": str(out), **found, **vars(chip.statistics)})


def _published(report: Reporter, file: Path, out: Path) -> tuple[Chip, dict[str, Any]]:
    """The list of signed matrices that was published."""
    from rgnn.chip.chip import Chip
    from rgnn.chip.published import read_conductances
    from rgnn.plots.chip import chip_maps

    layers = read_conductances(file)
    chip = Chip.from_matrices(layers, file.name)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, layer in enumerate(layers, 1):
        for index, w in enumerate(layer):
            rows.append([f"layer {number} W{index}", f"{w.shape[0]} x {w.shape[1]}", *_spread(w)])
    rows.append(["all", str(len(chip.weights)), *_spread(chip.weights)])
    report.table("Signed weights, G+ - G-", ["matrix", "size", "mean", "deviation", "smallest", "largest"], rows)
    return chip, {"figure": str(chip_maps(layers, out / "chip.png"))}


def _measured(
    report: Reporter,
    source: Path,
    out: Path,
    unit: Unit | None,
    scheme: Scheme | None,
    reference_column: int,
    target: Path | None,
    name: str | None,
) -> tuple[Chip, dict[str, Any]]:
    from rgnn.chip.measurement import Measurement, to_chip
    from rgnn.plots.chip import measured_chip

    measurement = Measurement.read(source, unit.value if unit else None, name)
    goal = None if target is None else Measurement.read(target, measurement.unit).mean
    imported = to_chip(measurement, scheme.value if scheme else None, reference_column, goal)
    out.mkdir(parents=True, exist_ok=True)
    figure = measured_chip(measurement, imported, out / "chip.png")
    _say_what_was_found(report, measurement, imported, programmed=target is not None)
    dead, spread = imported.dead, imported.spread
    found = {
        "figure": str(figure),
        "scheme": imported.scheme,
        "unit": measurement.unit,
        "reads": measurement.n_reads,
        "dead_cells": dead.cells,
        "unread_cells": dead.unread,
        "dead_rows": list(dead.rows),
        "dead_columns": list(dead.columns),
        "weights_left_out": imported.left_out,
        "cell_mean": spread.mean,
        "programming_spread": spread.programming,
        "read_noise": spread.read if measurement.n_reads > 1 else None,
    }
    return imported.chip, found


def _say_what_was_found(
    report: Reporter, measurement: Measurement, imported: ImportedChip, *, programmed: bool
) -> None:
    from rgnn.chip.measurement import SIEMENS

    reads, rows, columns = measurement.reads.shape
    how = "" if measurement.unit_was_given else ", recognised by their size (say --unit if that is wrong)"
    what = "signed weights without a unit" if measurement.unit is None else f"conductances in {measurement.unit}{how}"
    report.say(f"Map: {rows} x {columns}, {reads} read{'s' if reads > 1 else ''}; {what}; scheme {imported.scheme}")
    spread, dead = imported.spread, imported.dead
    unit = "uS" if measurement.unit is not None else ""
    scale = 1 / SIEMENS["uS"] if unit else 1.0
    relative = 100 / abs(spread.mean) if unit and spread.mean else float("nan")

    def amount(value: float) -> list[str]:
        return [f"{scale * value:.4g} {unit}".strip(), f"{relative * value:.2f}%" if unit else ""]

    about = "spread about the target" if programmed else "spread of the cells (programming)"
    table = [["mean", amount(spread.mean)[0], ""], [about, *amount(spread.programming)]]
    if reads > 1:
        table.append(["read noise, one read", *amount(spread.read)])
    report.table("Cells in use", ["", "value", "of the mean"], table)
    if dead.cells:
        report.warn(
            f"{dead.cells} cells do not conduct ({dead.unread} of them without a finite read); dead rows: "
            f"{_list(dead.rows)}; dead columns: {_list(dead.columns)}; {imported.left_out} weights are left out."
        )


def _list(lines: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, lines[:12])) + (" ..." if len(lines) > 12 else "")
    return shown or "none"


def _spread(w: Tensor) -> list[str]:
    return [f"{float(v):.3f}" for v in (w.mean(), w.std(), w.min(), w.max())]
