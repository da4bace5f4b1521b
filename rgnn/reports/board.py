"""What an evaluation on a board writes: board.json, figures, the columns, and one report with all of them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rgnn.base.files import write_atomic
from rgnn.chip.columns import CSV_HEADING, ColumnFit
from rgnn.evaluation.board import BoardEvaluation
from rgnn.plots.board import board_figure
from rgnn.reports.chip_exchange import columns_table
from rgnn.reports.html import Picture, Table, write_report
from rgnn.reports.text import interval


def write_board(found: BoardEvaluation, folder: str | Path) -> list[Path]:
    """Write board.json, board.png, columns.csv where columns were calibrated, and report.html; these files."""
    folder = Path(folder)
    write_atomic(folder / "board.json", json.dumps(found.to_mapping(), indent=2) + "\n")
    figure = board_figure(found, folder / "board.png")
    files = [folder / "board.json", figure]
    if found.columns:
        rows = [CSV_HEADING, *(row for fit in found.columns for row in fit.csv_rows())]
        write_atomic(folder / "columns.csv", "\n".join(rows) + "\n")
        files.append(folder / "columns.csv")
    plan, s = found.plan, found.plan.settings
    facts: dict[str, object] = {"Model": s.model, "Board": f"{found.board} ({s.board.driver})"}
    facts["Frames"] = f"{len(s.frames)} of {s.store}, each read {s.repeats} times"
    facts["Hardware"] = plan.hardware[-1].describe()
    if found.agreement:
        facts["Weights read back"] = f"correlation with the model's {min(found.agreement.values()):.3f} or more"
    facts["Board's work"] = work(found)
    facts["Error"] = "sum|dF| / sum|F| over force components; 95% by bootstrap over frames and reads"
    pictures = [Picture("Forces on the board", figure, "Error bars: 95% over frames and reads.")]
    tables = [stages_table(found), *([columns_table(found.columns)] if found.columns else [])]
    page = write_report(folder / "report.html", f"{s.model} on a board", facts, tables, pictures)
    return [page, *files]


def work(found: BoardEvaluation) -> str:
    """Calls, vectors and time of this process, in words."""
    rate = found.rows / found.seconds if found.seconds else 0.0
    again = f"; started again {found.restarts} times" if found.restarts else ""
    return f"{found.calls:,} calls, {found.rows:,} vectors, {found.seconds:.1f} s ({rate:,.0f} vectors/s){again}"


def stages_table(found: BoardEvaluation) -> Table:
    """One line for the simulator and for each stage of the board."""
    base = found.undisturbed
    rows = []
    for name, errors, off in [
        ("simulated, ideal", found.simulated[0], None),
        ("simulated", found.simulated[-1], found.noise),
        *((f"board, {stage.name}", stage.errors, stage.off) for stage in found.stages),
    ]:
        estimate = errors.relative_error()
        mae = float(errors.errors().mae)
        more = "" if off is None else f"{off:.3g}"
        rows.append([name, interval(estimate, 100), f"{100 * (estimate.value / base - 1):+.1f}%", f"{mae:.4f}", more])
    return Table(
        "Force errors; last column: forces from the simulator's without noise, eV/Å RMS",
        ["", "error, % [95%]", "growth", "MAE, eV/Å", "apart"],
        rows,
    )


def verdict(found: BoardEvaluation) -> list[str]:
    """What the numbers say, in sentences."""
    first = found.stages[0]
    said = []
    if first.off is not None and found.noise:
        ratio = first.off / found.noise
        within = "within the noise of the hardware" if ratio <= 1.25 else f"{ratio:.1f} times what its noise does"
        said.append(f"Forces on the board are {first.off:.3g} eV/Å from the simulator's without noise, {within}.")
    if len(found.stages) > 1:
        last, base = found.stages[-1], found.undisturbed
        lost, left = first.relative_error - base, last.relative_error - base
        if lost > 0:
            won = f"{100 * (1 - left / lost):.0f}% of what the board lost is won back"
            now = f"{100 * last.relative_error:.1f}%, where the simulator has {100 * base:.1f}%"
            said.append(f"Refit: {won}; the error is {now}.")
        else:
            said.append("The board lost nothing against the simulator, so there was nothing to win back.")
    return said


def drifted(columns: Sequence[ColumnFit]) -> str:
    """How many columns have drifted, in words."""
    total, bad = sum(len(f.gain) for f in columns), int(sum(np.count_nonzero(f.drifted) for f in columns))
    return f"{bad} of {total} columns have drifted"
