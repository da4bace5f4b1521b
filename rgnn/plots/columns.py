"""Figures of measured columns against simulated ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rgnn.base.estimate import evenly
from rgnn.chip.columns import ColumnFit
from rgnn.plots import style

# Points of the cloud that are drawn.
POINTS = 20_000


def columns_figure(
    fits: Sequence[ColumnFit],
    clouds: Sequence[tuple[np.ndarray, np.ndarray]],
    path: str | Path,
    what: str = "column sum",
    unit: str = "",
) -> Path:
    """Measured against simulated, and gain and offset of each column with their intervals, a row for each array.

    Args:
        fits: of each array.
        clouds: simulated and measured values of each array, of any equal shapes.
        path: of the PNG.
        what: the values are, in words.
        unit: of the values, such as " (µS)".
    """
    drawing = style.figure(11, 2.9 * len(fits) + 0.3)
    axes = drawing.subplots(len(fits), 3, squeeze=False)
    for (cloud, gain, offset), fit, (x, y) in zip(axes, fits, clouds, strict=True):
        both = np.isfinite(x) & np.isfinite(y)
        x, y = x[both], y[both]
        shown = evenly(range(x.size), POINTS)
        cloud.plot(x[shown], y[shown], ".", ms=1.5, alpha=0.3, color=style.ACCENT, rasterized=True)
        if x.size:
            ends = np.array([x.min(), x.max()])
            cloud.plot(ends, fit.unit * ends, color=style.SECOND, lw=0.8)
        cloud.set(xlabel=f"simulated {what}{unit}", ylabel=f"measured {what}{unit}")
        cloud.set_title(fit.array, fontsize=9)
        number = np.arange(len(fit.gain))
        bad = fit.drifted
        for axis, value, error, name in (
            (gain, fit.gain / fit.unit, fit.gain_error / abs(fit.unit), "gain"),
            (offset, fit.offset, fit.offset_error, f"offset{unit}"),
        ):
            for group, colour, label in ((~bad, style.ACCENT, "as expected"), (bad, style.SECOND, "drifted")):
                if group.any():
                    axis.errorbar(
                        number[group], value[group], error[group], fmt="o", ms=2.5, lw=0.7, color=colour, label=label
                    )
            axis.set(xlabel="column", ylabel=name)
        gain.axhline(1.0, color=style.GREY, lw=0.6)
        offset.axhline(0.0, color=style.GREY, lw=0.6)
        gain.set_title(f"{int(bad.sum())} of {len(bad)} columns drifted", fontsize=9)
        offset.set_title(f"{fit.sums:,} values a column", fontsize=9)
        if bad.any():
            gain.legend(frameon=False, fontsize=7)
        for axis in (cloud, gain, offset):
            style.tidy(axis)
    return style.save(drawing, path)


def product_figure(exact: np.ndarray, outputs: np.ndarray, path: str | Path) -> Path:
    """Outputs against exact ones, and the root mean square error of each output.

    Args:
        exact: [rows, out].
        outputs: [reads, rows, out].
        path: of the PNG.
    """
    drawing = style.figure(9, 3.6)
    left, right = drawing.subplots(1, 2)
    x = np.broadcast_to(exact, outputs.shape).ravel()
    shown = evenly(range(x.size), POINTS)
    left.plot(x[shown], outputs.ravel()[shown], ".", ms=1.5, alpha=0.3, color=style.ACCENT, rasterized=True)
    ends = np.array([x.min(), x.max()])
    left.plot(ends, ends, color=style.SECOND, lw=0.8)
    left.set(xlabel="exact", ylabel="on the hardware")
    right.bar(np.arange(exact.shape[1]), np.sqrt(((outputs - exact) ** 2).mean((0, 1))), color=style.ACCENT)
    right.set(xlabel="output", ylabel="root mean square error")
    for axes in (left, right):
        style.tidy(axes)
    return style.save(drawing, path)
