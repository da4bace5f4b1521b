"""The figure of how well the uncertainty of forces tells their errors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from rgnn.base.estimate import evenly
from rgnn.evaluation.reliability import Reliability
from rgnn.plots import style

# Atoms that a cloud shows; more only make it thicker.
CLOUD = 4000


def uncertainty_figure(found: Sequence[Reliability], path: str | Path) -> Path:
    """For each method a row: predicted against actual errors of atoms, and of bins of them by element and of all."""
    drawing = style.figure(8.4, 3.9 * len(found))
    grid = np.asarray(drawing.subplots(len(found), 2)).reshape(-1, 2)
    for (left, right), r in zip(grid, found, strict=True):
        _cloud(left, r)
        _bins(right, r)
        for axes in (left, right):
            axes.title.set_fontsize(10)
            style.tidy(axes)
    return style.save(drawing, path)


def _cloud(axes: Axes, r: Reliability) -> None:
    """|dF| of each atom over the square root of 3, to be compared with the deviation of a component."""
    shown = r.of(np.isin(np.arange(len(r.sigma)), evenly(range(len(r.sigma)), CLOUD)))
    size = np.sqrt(np.square(shown.error).mean(1))
    for z in np.unique(r.numbers):
        mine = shown.numbers == z
        axes.plot(
            shown.sigma[mine], size[mine], ".", ms=2, alpha=0.35, color=style.element_colour(int(z)), rasterized=True
        )
    _decades(axes, shown.sigma, np.maximum(size, np.quantile(size, 0.005)))
    axes.set(xlabel="predicted, σ (eV/Å)", ylabel="actual, |dF| / √3 (eV/Å)")
    axes.set_title(f"{r.method}: atoms, rank correlation {r.spearman:.2f}")


def _bins(axes: Axes, r: Reliability) -> None:
    """Root mean squares of ten bins."""
    all_bins = [r.bins()]
    for z in np.unique(r.numbers):
        bins = r.of(r.numbers == z).bins()
        all_bins.append(bins)
        colour = style.element_colour(int(z))
        axes.plot(*bins.T, "o-", ms=3.5, lw=0.9, color=colour, label=chemical_symbols[int(z)])
    axes.plot(*all_bins[0].T, "s--", ms=3.5, lw=0.9, color="black", label="all")
    _decades(axes, *np.concatenate(all_bins).T)
    axes.set(xlabel="predicted, RMS of σ (eV/Å)", ylabel="actual RMSE (eV/Å)")
    inner = ", ".join(f"{100 * r.within(k):.0f}% in {k}σ" for k in (1, 2))
    axes.set_title(f"tenths of the atoms; {inner}")
    axes.legend(frameon=False, fontsize=8)


def _decades(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Both axes alike in scale, with the diagonal."""
    axes.set(xscale="log", yscale="log")
    for values, limit in ((x, axes.set_xlim), (y, axes.set_ylim)):
        some = values[values > 0]
        if len(some):
            limit(some.min() / 1.2, some.max() * 1.2)
    axes.plot((1e-6, 1e6), (1e-6, 1e6), color=style.GREY, lw=0.8, zorder=0, scalex=False, scaley=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
