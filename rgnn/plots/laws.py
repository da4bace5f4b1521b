"""Figures of laws: data beside the law, and what the law leaves over."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axis import Axis

from rgnn.chip.laws.fits import Activation, Bin, ChangeFit, ReadNoiseFit
from rgnn.chip.laws.spectrum import Spectrum, banded, periodogram
from rgnn.plots import style

US = 1e6


def read_noise(fit: ReadNoiseFit, path: str | Path) -> Path:
    """Deviations of reads against conductance, with the intervals of the median and of a single cell."""
    drawing = style.figure(5.6, 3.8)
    axes = drawing.subplots()
    grid = np.geomspace(*fit.law.conductance, 200)
    for of_cell, alpha, name in ((True, 0.12, "95% of single cells"), (False, 0.3, "95% interval of the median")):
        low, high = fit.band(grid, of_cell=of_cell)
        axes.fill_between(US * grid, US * low, US * high, color=style.SECOND, alpha=alpha, lw=0, label=name)
    axes.plot(US * grid, US * np.asarray(fit.law.median(grid)), color=style.SECOND, label="law, median cell")
    axes.plot(
        US * fit.mean, US * fit.deviation, ".", color=style.ACCENT, ms=8 if len(fit.mean) < 50 else 2, label="cells"
    )
    axes.set(xscale="log", yscale="log", xlabel="conductance (µS)", ylabel="deviation of a read (µS)")
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    axes.legend(frameon=False, fontsize=8)
    style.tidy(axes)
    return style.save(drawing, path)


def spectrum(x: np.ndarray, rate: float, cells: tuple[Spectrum, ...], path: str | Path) -> Path:
    """Power per Hz of each cell in bands, with its law."""
    f, power = periodogram(x, rate)
    alive = power.min(1) > 0  # those that have a law
    x, power = x[alive], power[alive]
    drawing = style.figure(5.6, 3.8)
    axes = drawing.subplots()
    shown = list(zip(power, cells, x.mean(1), strict=False))[:8]
    for k, (p, cell, mean) in enumerate(shown):
        colour = style.shade(k, len(shown))
        axes.plot(*banded(f, p), "o", ms=3.5, color=colour, label=f"{US * mean:.3g} µS: 1/f^{cell.exponent:.2f}")
        axes.plot(f, cell.at(f), color=colour, lw=1)
    axes.set(xscale="log", yscale="log", xlabel="frequency (Hz)", ylabel="power (S²/Hz)")
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    axes.legend(frameon=False, fontsize=8, title="points: reads, lines: law", title_fontsize=8)
    style.tidy(axes)
    return style.save(drawing, path)


def change(fit: ChangeFit, path: str | Path, before: str) -> Path:
    """Mean and deviation against conductance, one colour for each time or temperature, and residuals below.

    Args:
        fit: a law of changes.
        path: of the PNG.
        before: name of the conductance on the axis.
    """
    groups: dict[int, list[Bin]] = {}
    for b in fit.bins:
        groups.setdefault(b.place, []).append(b)
    order = sorted(groups, key=lambda p: (groups[p][0].celsius or 0, groups[p][0].seconds or 0))
    drawing = style.figure(10.0, 5.4)
    axes = drawing.subplots(2, 2, sharex=True, gridspec_kw={"height_ratios": (3, 1.4)})
    low, high = min(b.siemens for b in fit.bins), max(b.siemens for b in fit.bins)
    grid = np.linspace(low, high, 200)
    for k, key in enumerate(order):
        bins, colour = groups[key], style.shade(k, len(groups))
        first = bins[0]
        m, s, m_error, s_error = fit.predicted(grid, first.seconds, first.celsius)
        own = fit.predicted(np.array([b.siemens for b in bins]), first.seconds, first.celsius)
        g = US * np.array([b.siemens for b in bins])
        for j, (line, error, points, wide, at) in enumerate(
            (
                (m, m_error, [b.mean for b in bins], [b.mean_error for b in bins], own[0]),
                (s, s_error, [b.deviation for b in bins], [b.deviation_error for b in bins], own[1]),
            )
        ):
            axes[0, j].fill_between(
                US * grid, US * (line - 1.96 * error), US * (line + 1.96 * error), color=colour, alpha=0.15, lw=0
            )
            axes[0, j].plot(US * grid, US * line, color=colour, lw=1)
            axes[0, j].errorbar(
                g,
                US * np.array(points),
                1.96 * US * np.array(wide),
                fmt="o",
                ms=3.5,
                lw=0.8,
                color=colour,
                label=_name(first),
            )
            axes[1, j].plot(g, US * (np.array(points) - at), "o-", ms=3, lw=0.6, color=colour)
    names = ("mean miss", "deviation of the miss") if before == "target" else ("mean change", "deviation of the change")
    for j, name in enumerate(names):
        axes[0, j].set(ylabel=f"{name} (µS)")
        axes[1, j].set(xlabel=f"{before} (µS)", ylabel="data − law (µS)")
        axes[1, j].axhline(0, color=style.GREY, lw=0.6)
    if len(groups) > 1:
        handles = axes[0, 0].get_legend_handles_labels()
        drawing.legend(*handles, loc="outside right upper", frameon=False, fontsize=8, title="points: data\nlines: law")
    for each in axes.flat:
        style.tidy(each)
    return style.save(drawing, path)


def arrhenius(found: Activation, path: str | Path) -> Path:
    """Deviation of changes against 1 / T, with the straight line of the activation energy."""
    drawing = style.figure(5.0, 3.6)
    axes = drawing.subplots()
    grid = np.linspace(found.celsius.min(), found.celsius.max(), 100)
    kelvin: Callable[[np.ndarray], np.ndarray] = lambda c: 1000 / (c + 273.15)  # noqa: E731
    e = found.energy
    axes.plot(kelvin(found.celsius), US * found.deviation, "o", color=style.ACCENT, label="bakes")
    axes.plot(
        kelvin(grid), US * found.line(grid), color=style.SECOND,
        label=f"law: {e.value:.3f} eV, 95% {e.low:.3f} to {e.high:.3f}",
    )  # fmt: skip
    for c, s in zip(found.celsius, found.deviation, strict=True):
        above = s > found.line(np.array(c))
        place = {"xytext": (6, 4)} if above else {"xytext": (-6, -10), "ha": "right"}
        axes.annotate(f"{c:g} °C", (kelvin(c), US * s), textcoords="offset points", fontsize=8, **place)
    axes.set(yscale="log", xlabel="1000 / T (1/K)", ylabel="deviation of the change (µS)")
    _plain_ticks(axes.yaxis, minor=True)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    style.tidy(axes)
    return style.save(drawing, path)


def _plain_ticks(axis: Axis, *, minor: bool = False) -> None:
    """Numbers without mathematical markup; a logarithmic axis of less than a decade has minor ones."""
    axis.set_major_formatter("{x:.3g}")
    if minor:
        axis.set_minor_formatter("{x:.3g}")


def _name(b: Bin) -> str:
    words = [] if b.seconds is None else [f"{b.seconds:.3g} s" if b.seconds < 100 else f"{b.seconds:,.0f} s"]
    words += [] if b.celsius is None else [f"{b.celsius:g} °C"]
    return ", ".join(words) or "bins"
