"""The figure of active learning."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rgnn.learning.rounds import Round
from rgnn.plots import style


def rounds_figure(rounds: Sequence[Round], path: str | Path) -> Path:
    """Errors and uncertainty against the number of labelled frames, and how long the dynamics stayed inside."""
    drawing = style.figure(9, 3.6)
    errors, dynamics = drawing.subplots(1, 2)
    _line(errors, rounds, "test_mae", "o-", style.ACCENT, "test frames, mean absolute")
    _line(errors, rounds, "validation_mae", "^:", style.GREY, "held-out frames, mean absolute")
    _line(errors, rounds, "added_rmse", "s-", style.SECOND, "frames added next, root mean square")
    _line(errors, rounds, "added_sigma", "s:", style.THIRD, "their uncertainty, root mean square")
    errors.set(xlabel="labelled frames", ylabel="force error (eV/Å)", ylim=(0, None))
    errors.legend(frameon=False, fontsize=8)
    explored = [row for row in rounds if row.steps is not None]
    frames = [row.frames for row in explored]
    until = [row.steps if row.first_outside is None else row.first_outside for row in explored]
    dynamics.plot(frames, until, "o-", color=style.ACCENT, label="until an atom is outside of training")
    dynamics.plot(frames, [row.steps for row in explored], "^:", color=style.GREY, label="until the dynamics ended")
    dynamics.set(xlabel="labelled frames", ylabel="steps of the dynamics", ylim=(0, None))
    if explored:
        dynamics.legend(frameon=False, fontsize=8)
    for axes in (errors, dynamics):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.tidy(axes)
    return style.save(drawing, path)


def _line(axes: Axes, rounds: Sequence[Round], name: str, form: str, colour: str, label: str) -> None:
    """One of the measures, where some round has it."""
    there = [(row.frames, getattr(row, name)) for row in rounds if getattr(row, name) is not None]
    if there:
        axes.plot(*zip(*there, strict=True), form, color=colour, label=label)
