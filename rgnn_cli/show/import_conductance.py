"""What rgnn import-conductance shows: the matrices or cells that were found, and the chip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rgnn.reports.chip import MeasuredChip, PublishedChip
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.session.session import Session

# Numbers of dead lines that are shown; the rest is counted.
LINES = 12


def result(session: Session, found: PublishedChip | MeasuredChip, out: Path) -> None:
    """What was found, the chip, and what to type next."""
    from rgnn.reports.chip import PublishedChip
    from rgnn.training.chip_size import weights_on_chip
    from rgnn.training.run import RunSettings

    report, chip = session.report, found.chip
    if isinstance(found, PublishedChip):
        _matrices(report, found)
    else:
        _cells(report, found)
    report.say(f"Chip: [bold]{out}[/], {len(chip.weights):,} weights; figures: {found.figure}")
    narrow = "" if weights_on_chip(RunSettings().model) <= len(chip.weights) else " --narrow"
    measured = " --hardware measured" if chip.read_deviation is not None else ""
    report.say(f"Next: rgnn train --chip {out}{narrow}{measured}")
    session.result({"chip": str(out), **found.to_mapping()})


def _matrices(report: Reporter, found: PublishedChip) -> None:
    rows = [
        [f"layer {number} W{index}", f"{w.shape[0]} x {w.shape[1]}", *_spread(w)]
        for number, layer in enumerate(found.layers, 1)
        for index, w in enumerate(layer)
    ]
    rows.append(["all", str(len(found.chip.weights)), *_spread(found.chip.weights)])
    report.table("Signed weights, G+ - G-", ["matrix", "size", "mean", "deviation", "smallest", "largest"], rows)


def _spread(w: Tensor) -> list[str]:
    return [f"{float(v):.3f}" for v in (w.mean(), w.std(), w.min(), w.max())]


def _cells(report: Reporter, found: MeasuredChip) -> None:
    measurement, imported = found.measurement, found.imported
    reads, rows, columns = measurement.reads.shape
    report.say(f"Map: {rows} x {columns}, {reads} read{'s' if reads > 1 else ''}; scheme {imported.scheme}")
    report.say(f"Unit: {measurement.unit or 'none'} ({measurement.unit_reason})")
    sign = "signed" if imported.scheme == "signed" else "not signed"
    report.say(f"Sign: {sign} ({measurement.sign_reason})")
    for note in measurement.notes:
        report.say(f"Note: {note}")
    spread, dead = imported.spread, imported.dead
    about = "spread about the target" if found.programmed else "spread of the cells (programming)"
    table = [
        ["mean", _amount(found, spread.mean), ""],
        [about, _amount(found, spread.programming), _relative(found, spread.programming)],
    ]
    if reads > 1:
        table.append(["read noise, one read", _amount(found, spread.read), _relative(found, spread.read)])
    report.table("Cells in use", ["", "value", "of the mean"], table)
    silent = dead.cells - dead.unread - dead.shorted
    counts = {"have no finite read": dead.unread, "conduct far more than all others": dead.shorted}
    counts["do not conduct (single ones stay in their weights)"] = silent
    if said := [f"{n:,} {what}" for what, n in counts.items() if n]:
        lines = [f"dead {kind}: {_list(at)}" for kind, at in (("rows", dead.rows), ("columns", dead.columns)) if at]
        report.warn(
            "; ".join([f"of the cells {', '.join(said)}", *lines, f"{imported.left_out:,} weights are left out."])
        )


def _amount(found: MeasuredChip, value: float) -> str:
    from rgnn.chip.units import SIEMENS

    return f"{value:.4g}" if found.measurement.unit is None else f"{value / SIEMENS['uS']:.4g} uS"


def _relative(found: MeasuredChip, deviation: float) -> str:
    part = found.relative(deviation)
    return "" if part is None else f"{100 * part:.2f}%"


def _list(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:LINES])) + (" ..." if len(lines) > LINES else "")
    return shown or "none"
