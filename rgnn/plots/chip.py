"""Figures of a chip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import norm
from torch import Tensor

from rgnn.base.estimate import evenly
from rgnn.chip.measurement import ImportedChip, Measurement
from rgnn.chip.units import SIEMENS
from rgnn.plots import style


def chip_maps(layers: Sequence[Sequence[Tensor]], path: str | Path) -> Path:
    """The matrices of each layer as maps on one colour scale, and the histogram of all weights."""
    weights = np.concatenate([w.numpy().ravel() for layer in layers for w in layer])
    limit = float(np.quantile(np.abs(weights), 0.999))
    columns = max(len(layer) for layer in layers)
    drawing = style.figure(1.6 * columns + 0.8, 2.0 * len(layers) + 2.8)
    parts: Any = drawing.subfigures(2, 1, height_ratios=[2.0 * len(layers), 2.8])
    maps, below = parts
    for row, layer in zip(maps.subplots(len(layers), columns, squeeze=False), layers, strict=True):
        number = next(k for k, other in enumerate(layers) if other is layer) + 1
        for index, (axes, w) in enumerate(zip(row, layer, strict=False)):
            image = axes.imshow(w.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            axes.set_title(f"layer {number} W{index}, {w.shape[0]} x {w.shape[1]}", fontsize=7)
            axes.set_xticks([])
            axes.set_yticks([])
    maps.colorbar(image, ax=maps.axes, label="weight", shrink=0.8)
    left, right = below.subplots(1, 2)
    _histogram(left, weights, "weight")
    _normal_probability(right, weights, "weight")
    return style.save(drawing, path)


def measured_chip(measurement: Measurement, imported: ImportedChip, path: str | Path) -> Path:
    """The measured map, the histogram and the normal-probability plot of its cells, and noise against conductance."""
    unit = measurement.unit is not None
    scale, name = (1 / SIEMENS["uS"], "conductance (µS)") if unit else (1.0, "weight")
    mean, deviation = scale * measurement.mean, measurement.read_deviation
    mean[imported.dead.shorts] = np.nan  # so that the colours show the other cells
    drawing = style.figure(11, 7)
    (first, second), (third, fourth) = drawing.subplots(2, 2)
    image = first.imshow(mean, cmap="viridis", interpolation="nearest", aspect="auto")
    drawing.colorbar(image, ax=first, label=name)
    dead = imported.dead
    for row in dead.rows:
        first.axhline(row, color=style.SECOND, lw=0.6)
    for column in dead.columns:
        first.axvline(column, color=style.SECOND, lw=0.6)
    lines = f"; dead rows: {len(dead.rows)}, dead columns: {len(dead.columns)} (marked)" if dead.cells else ""
    first.set_title(f"mean of {measurement.n_reads} reads{lines}", fontsize=9)
    first.set(xlabel="column", ylabel="row")
    used = mean.copy()
    used[list(dead.rows)] = np.nan
    used[:, list(dead.columns)] = np.nan
    values = used[np.isfinite(used)]
    _histogram(second, values, name)
    _normal_probability(third, values, name)
    if deviation is None:
        fourth.axis("off")
        fourth.text(0.5, 0.5, "One read: its noise is not known.", ha="center", transform=fourth.transAxes)
    else:
        _noise_against_conductance(fourth, used, scale * deviation, name)
    return style.save(drawing, path)


def _histogram(axes: Axes, values: np.ndarray, name: str) -> None:
    axes.hist(values, bins=200, color=style.ACCENT)
    axes.set(yscale="log", xlabel=name, ylabel="count")
    axes.set_title(f"{values.size:,} values, {values.mean():.3g} ± {values.std():.3g}", fontsize=9)
    style.tidy(axes)


def _normal_probability(axes: Axes, values: np.ndarray, name: str) -> None:
    """Values against the quantiles of the normal distribution; on the line where they are normal."""
    ordered = np.sort(values)
    quantile = norm.ppf((np.arange(ordered.size) + 0.5) / ordered.size)
    shown = evenly(range(ordered.size), 4000)
    axes.plot(quantile[shown], ordered[shown], ".", ms=2, color=style.ACCENT)
    ends = quantile[[0, -1]]
    axes.plot(ends, values.mean() + values.std() * ends, color=style.SECOND, lw=0.8)
    axes.set(xlabel="quantile of the normal distribution", ylabel=name)
    axes.set_title("normal-probability plot", fontsize=9)
    style.tidy(axes)


def _noise_against_conductance(axes: Axes, mean: np.ndarray, deviation: np.ndarray, name: str) -> None:
    good = np.isfinite(mean) & np.isfinite(deviation)
    x, y = mean[good], deviation[good]
    shown = evenly(range(x.size), 20_000)
    axes.plot(x[shown], y[shown], ".", ms=1, alpha=0.3, color=style.ACCENT, rasterized=True)
    edges = np.quantile(x, np.linspace(0, 1, 21))
    group = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, 19)
    filled = [k for k in range(20) if (group == k).any()]
    middle = [x[group == k].mean() for k in filled]
    typical = [np.sqrt(np.square(y[group == k]).mean()) for k in filled]
    axes.plot(middle, typical, "o-", ms=3, color=style.SECOND, label="root mean square of each twentieth")
    axes.set(xlabel=name, ylabel="deviation of a read", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    style.tidy(axes)
