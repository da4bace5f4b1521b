"""What an evaluation reports of the uncertainty of forces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from rgnn.evaluation.reliability import Reliability
from rgnn.plots.uncertainty import uncertainty_figure
from rgnn.reports.html import Picture, Table


def tables(found: Sequence[Reliability], groups: dict[str, list[int]], same_frames: bool) -> list[Table]:
    """All methods, and by element and temperature the one that rgnn md takes; `same_frames` it was calibrated on."""
    if not found:
        return []
    first = found[0]
    parts = {chemical_symbols[z]: first.of(first.numbers == z) for z in np.unique(first.numbers)}
    parts |= {name: first.of(np.isin(first.frame, frames)) for name, frames in groups.items()}
    one, two = (f"in {k}σ ({100 * first.expected_within(k):.0f}%)" for k in (1, 2))
    columns = ("σ", "RMSE", "rank", one, two, "outside")
    words = "rank correlation of σ with |dF|; gain of log likelihood over a constant for each element"
    words += "; calibrated on these very frames" if same_frames else ""
    rows = [[r.method, *_row(r), f"{r.gain:.3f}"] for r in found]
    return [
        Table(f"Uncertainty of forces, as trained ({words})", ["by", *columns, "gain"], rows),
        Table(f"Uncertainty by {first.method}", ["", *columns], [[name, *_row(r)] for name, r in parts.items()]),
    ]


def _row(r: Reliability) -> list[str]:
    sigma, error = (f"{np.sqrt(np.square(x).mean()):.3f}" for x in (r.sigma, r.error))
    within = [f"{100 * r.within(k):.1f}%" for k in (1, 2)]
    return [sigma, error, f"{r.spearman:.2f}", *within, f"{100 * r.outside:.2f}%"]


def picture(found: Sequence[Reliability], folder: Path) -> list[Picture]:
    """The figure, in the folder of the evaluation."""
    if not found:
        return []
    file = uncertainty_figure(found, folder / "uncertainty.png")
    words = (
        "Predicted standard deviation of a force component against its error, by atom and for tenths of the atoms from "
        "the surest to the least sure; the line is a perfect prediction. One draw of the noise."
    )
    return [Picture("How sure forces are, and how far they are off", file, words)]
