"""Figures of an evaluation on a board."""

from pathlib import Path

import numpy as np

from rgnn.base.estimate import evenly
from rgnn.evaluation.board import BoardEvaluation
from rgnn.plots import style

# Points of the cloud that are drawn.
POINTS = 20_000


def board_figure(found: BoardEvaluation, path: str | Path) -> Path:
    """Measured against simulated force components, and the error at each stage beside the simulator's."""
    drawing = style.figure(9.5, 3.8)
    left, right = drawing.subplots(1, 2)
    x, y = (f.ravel() for f in found.forces)
    shown = evenly(range(x.size), POINTS)
    limit = 1.05 * max(float(np.abs(x).max(initial=0)), float(np.abs(y).max(initial=0)), 1e-9)
    left.plot([-limit, limit], [-limit, limit], color=style.GREY, lw=0.8)
    left.plot(x[shown], y[shown], ".", ms=1.5, alpha=0.4, color=style.ACCENT, rasterized=True)
    left.set(xlim=(-limit, limit), ylim=(-limit, limit), box_aspect=1)
    left.set(xlabel="simulated without noise (eV/Å)", ylabel="on the board (eV/Å)")
    left.set_title("force components, as connected", fontsize=10)
    names = ["simulated", *(stage.name for stage in found.stages)]
    estimates = [found.simulated[-1].relative_error(), *(stage.errors.relative_error() for stage in found.stages)]
    values = np.array([e.value for e in estimates])
    reach = np.array([[e.value - e.low, e.high - e.value] for e in estimates]).T
    colours = [style.GREY, *[style.ACCENT] * len(found.stages)]
    right.bar(names, 100 * values, yerr=100 * np.maximum(reach, 0), color=colours, capsize=3, width=0.6)
    for place, value in enumerate(values):
        right.annotate(f"{100 * value:.1f}%", (place, 0), (0, 3), textcoords="offset points", ha="center", color="w")
    right.set(ylabel="sum|dF| / sum|F| (%)")
    right.set_title("error against the labels, 95% intervals", fontsize=10)
    right.tick_params(axis="x", labelsize=8)
    for axes in (left, right):
        style.tidy(axes)
    return style.save(drawing, path)
