"""Figures of analysed runs: one colour for each run, or for each element where there is one run."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from rgnn.analysis import Analysis, Arrhenius, pair_name
from rgnn.analysis.observables import RadialDistribution
from rgnn.analysis.vibrations import PER_CM
from rgnn.md.contacts import ContactLimits, Pair
from rgnn.plots import style

COLUMNS = 4
# Frames of a temperature curve that are averaged, so that it can be seen; the spread is the thermostat's business.
POINTS = 200
# Inches that a letter of a name takes beside a panel.
LETTER = 0.075


def radial_figure(runs: Sequence[Analysis], reference: Analysis | None, path: str | Path) -> Path:
    """g(r) in total and of each pair, all runs over one another, the reference in black."""
    colours = [style.ACCENT] if len(runs) == 1 else [style.shade(k, len(runs)) for k in range(len(runs))]
    if reference is not None and len(runs) > 1:  # the darkest is too near to black
        colours = [style.shade(k + 1, len(runs) + 1) for k in range(len(runs))]
    shown = [(a.name, a.radial, c) for a, c in zip(runs, colours, strict=True) if a.radial is not None]
    if reference is not None and reference.radial is not None:
        shown.insert(0, (f"{reference.name} (reference)", reference.radial, "black"))
    pairs = shown[0][1].pairs
    nearest = min(0.5, *(radial.r[np.argmax(radial.total > 0)] for _, radial, _ in shown))  # fused atoms are in view
    panels = [None, *pairs]
    columns = min(COLUMNS, len(panels))
    rows = ceil(len(panels) / columns)
    drawing = style.figure(3.1 * columns, 2.5 * rows + 0.3)
    axes = np.atleast_1d(drawing.subplots(rows, columns)).ravel()
    for ax, pair in zip(axes, panels, strict=False):
        for name, radial, colour in shown:
            _curve(ax, radial, pair, colour, name)
        ax.axhline(1, color=style.GREY, lw=0.6, ls=":")
        ax.set_title("all" if pair is None else pair_name(pair), fontsize=10)
        ax.set(xlim=(nearest, shown[0][1].r[-1]), ylim=(0, None))
        _too_close(ax, pair, runs)
        style.tidy(ax)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(panels) - columns) : len(panels)]:
        ax.set_xlabel("r (Å)")
    for row in range(rows):
        axes[row * columns].set_ylabel("g(r)")
    if len(shown) > 1:
        style.legend_below(drawing, axes[0])
    return style.save(drawing, path)


def _too_close(ax: Axes, pair: Pair | None, runs: Sequence[Analysis]) -> None:
    """Mark the distance that atoms came too close to, and leave the height of the axis to those that did not.

    Two atoms on top of each other are a peak of thousands, beside which nothing else could be seen.
    """
    worst = [a.closest.worst for a in runs if a.closest.worst is not None]
    mine = [w for w in worst if pair is None or w.pair == pair]
    if not mine:
        return
    closest = min(mine, key=lambda approach: approach.distance)
    ax.set_xlim(left=0.0)
    ax.axvline(closest.distance, color=style.SECOND, lw=1, ls="--")
    words = f"{pair_name(closest.pair)} {closest.distance:.2f} Å, too close"
    ax.text(
        closest.distance,
        0.97,
        f" {words}",
        color=style.SECOND,
        fontsize=7,
        va="top",
        transform=ax.get_xaxis_transform(),
    )
    limit = ContactLimits().limit(closest.pair)
    top = 1.0
    for a in runs:
        if a.radial is not None:
            g = a.radial.total if pair is None else a.radial.of(pair)
            top = max(top, float(g[a.radial.r > limit].max(initial=0.0)))
    ax.set_ylim(0, 1.3 * top)


def _curve(ax: Axes, radial: RadialDistribution, pair: tuple[int, int] | None, colour: str, name: str) -> None:
    g = radial.total if pair is None else radial.of(pair)
    black = colour == "black"
    ax.plot(radial.r, g, lw=1.4 if black else 1, color=colour, label=name, zorder=1 if black else 2)


def displacement_figure(runs: Sequence[Analysis], path: str | Path) -> Path | None:
    """Mean squared displacement of each element on logarithmic axes, with the part a line is fitted to shaded."""
    moved = [(a.name, a.displacements) for a in runs if a.displacements is not None]
    if not moved:
        return None
    elements = [d.element for d in moved[0][1].elements]
    drawing = style.figure(3.3 * len(elements) + 0.4, 3.1)
    axes = np.atleast_1d(drawing.subplots(1, len(elements), sharey=True))
    for ax, z in zip(axes, elements, strict=True):
        for k, (name, found) in enumerate(moved):
            d = next((d for d in found.elements if d.element == z), None)
            if d is None:
                continue
            shown = slice(1, max(3, len(d.msd) // 2))  # beyond, too few stretches are left to average over
            colour = style.element_colour(z) if len(moved) == 1 else style.shade(k, len(moved))
            ax.loglog(found.lags[shown], np.maximum(d.msd[shown], 1e-6), color=colour, lw=1.3, label=name)
        first = moved[0][1].of(z)
        if first is not None:
            ax.axvspan(*first.fit, color=style.GREY, alpha=0.12, lw=0)
            if first.hop is not None:
                ax.axhline(first.hop.square, color=style.GREY, lw=0.9, ls=":")
        ax.set_title(chemical_symbols[z], fontsize=10)
        ax.set_xlabel("lag (ps)")
        for axis in (ax.xaxis, ax.yaxis):  # rarely two whole decades: label 1, 2, 5
            axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        style.tidy(ax)
    axes[0].set_ylabel("mean squared displacement (Å²)")
    if len(moved) > 1:
        style.legend_below(drawing, axes[0])
    return style.save(drawing, path)


def temperature_figure(runs: Sequence[Analysis], path: str | Path) -> Path | None:
    """Temperature of each run against time, averaged over short stretches; what was skipped is pale."""
    logged = [a for a in runs if a.trajectory.log is not None and len(a.trajectory.log["time_fs"]) > 1]
    if not logged:
        return None
    drawing = style.figure(7.2, 3.2)
    axes = drawing.subplots()
    for k, a in enumerate(logged):
        assert a.trajectory.log is not None
        log, colour = a.trajectory.log, style.shade(k, len(logged))
        time, kelvin = (_averaged(log[name]) for name in ("time_fs", "temperature_K"))
        skipped = (a.trajectory.interval or 0.0) * a.skipped
        kept = time / 1000 >= skipped
        axes.plot(time / 1000, kelvin, color=colour, lw=0.8, alpha=0.35)
        axes.plot(time[kept] / 1000, kelvin[kept], color=colour, lw=1.1, label=a.name)
        if a.trajectory.target is not None:
            axes.axhline(a.trajectory.target, color=colour, lw=0.8, ls=":")
    axes.set(xlabel="time (ps)", ylabel="temperature (K)", ylim=(0, None))
    style.legend_below(drawing, axes)
    style.tidy(axes)
    return style.save(drawing, path)


def _averaged(x: np.ndarray) -> np.ndarray:
    """Means of stretches so long that about `POINTS` of them are left."""
    stretch = max(1, len(x) // POINTS)
    return x[: len(x) // stretch * stretch].reshape(-1, stretch).mean(axis=1)


def vibration_figure(runs: Sequence[Analysis], path: str | Path) -> Path | None:
    """Density of states of each element against the frequency, in THz below and 1/cm above."""
    shown = [(a.name, a.vibrations) for a in runs if a.vibrations is not None]
    if not shown:
        return None
    elements = list(shown[0][1].density)
    drawing = style.figure(3.3 * len(elements) + 0.4, 3.4)
    axes = np.atleast_1d(drawing.subplots(1, len(elements)))
    top = 1.15 * max(v.below(z, 0.995) for _, v in shown for z in v.density)
    for ax, z in zip(axes, elements, strict=True):
        for k, (name, v) in enumerate(shown):
            if z in v.density:
                colour = style.element_colour(z) if len(shown) == 1 else style.shade(k, len(shown))
                ax.plot(v.frequency, v.density[z], color=colour, lw=1.1, label=name)
        ax.set(xlim=(0, top), ylim=(0, None), xlabel="frequency (THz)")
        ax.set_title(chemical_symbols[z], fontsize=10)
        style.tidy(ax)
        above = ax.secondary_xaxis("top", functions=(lambda f: PER_CM * f, lambda f: f / PER_CM))
        above.set_xlabel("1/cm", fontsize=8)
        above.tick_params(labelsize=8)
    axes[0].set_ylabel("states (1/THz)")
    if len(shown) > 1:
        style.legend_below(drawing, axes[0])
    return style.save(drawing, path)


def arrhenius_figure(fits: Mapping[int, Arrhenius], path: str | Path) -> Path:
    """Ln D against 1000 / T with the fitted lines, which end where the runs do."""
    drawing = style.figure(5.4, 4)
    axes = drawing.subplots()
    for z, fit in fits.items():
        colour = style.element_colour(z)
        x, d = 1000 / fit.temperatures, np.array([[c.value, c.low, c.high] for c in fit.coefficients])
        log = np.log(d)
        axes.errorbar(x, log[:, 0], yerr=abs(log[:, 1:] - log[:, :1]).T, fmt="o", ms=4, capsize=3, color=colour)
        between = np.linspace(fit.temperatures.min(), fit.temperatures.max(), 50)
        energy = fit.energy
        name = f"{chemical_symbols[z]}: {energy.value:.3f} eV [{energy.low:.3f}, {energy.high:.3f}]"
        axes.plot(1000 / between, np.log(fit.at(between)), color=colour, lw=1, label=name)
    axes.set(xlabel="1000 / T  (1/K)", ylabel="ln (D / cm² s⁻¹)")
    axes.legend(frameon=False, fontsize=9)
    style.tidy(axes)
    return style.save(drawing, path)


def sweep_figure(
    names: Sequence[str], runs: Sequence[Analysis], apart: Sequence[Mapping[str, float]], path: str | Path
) -> Path:
    """What hardware does to observables, a row for each setting: g(r), diffusion, heating; the first is the ideal chip.

    Args:
        names: of the settings.
        runs: analysed.
        apart: integrated differences of g(r) from the ideal chip's; of the ideal chip those of its own halves.
        path: PNG to write.
    """
    y = np.arange(len(names))[::-1]
    moving = any(a.displacements is not None for a in runs)
    # Names in words may be long; panels keep their width.
    drawing = style.figure((8.6 if moving else 6.2) + LETTER * max(map(len, names)), 1.9 + 0.36 * len(names))
    left, *others, right = drawing.subplots(1, 3 if moving else 2, sharey=True)
    kinds = [kind for kind, floor in apart[0].items() if floor > 0]
    for k, kind in enumerate(kinds):
        colour = "black" if kind == "all" else style.shade(k - 1, len(kinds) - 1)
        times = [a[kind] / apart[0][kind] for a in apart[1:]]
        left.plot(times, y[1:], "o", ms=5, color=colour, label=kind)
    left.axvline(1, color=style.GREY, lw=0.8, ls=":")
    left.set(xlabel="g(r) apart from the ideal chip's,\ntimes what two halves of its run are", xlim=(0, None))
    for place, a in zip(y, runs, strict=True):
        if a.work is not None:
            right.plot([a.work.low, a.work.high], [place, place], color=style.ACCENT, lw=1.4)
            right.plot(a.work.value, place, "o", ms=4, color=style.ACCENT)
    for middle in others:
        _diffusion(middle, y, runs)
    right.axvline(0, color=style.GREY, lw=0.6, ls=":")
    right.set(xlabel="work of the forces\n(meV/atom/ps), 95%")
    if kinds:
        drawing.legend(*left.get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize=8, ncols=7)
    left.set_yticks(y, names)
    left.set_ylim(-0.6, len(names) - 0.4)
    for ax in (left, *others, right):
        style.tidy(ax)
    return style.save(drawing, path)


def _diffusion(axes: Axes, y: np.ndarray, runs: Sequence[Analysis]) -> None:
    """Coefficients of each element, or their upper bounds, at the heights of the runs."""
    named = set[int]()
    for place, a in zip(y, runs, strict=True):
        moved = () if a.displacements is None else a.displacements.elements
        for k, d in enumerate(moved):
            at, colour = place + 0.16 * (k - (len(moved) - 1) / 2), style.element_colour(d.element)
            label = None if d.element in named else chemical_symbols[d.element]
            named.add(d.element)
            if d.coefficient is not None:
                c = np.array([d.coefficient.low, d.coefficient.value, d.coefficient.high]) * 1e5
                axes.plot(c[[0, 2]], [at, at], color=colour, lw=1.4)
                axes.plot(c[1], at, "o", ms=4, color=colour, label=label)
            elif d.bound is not None:
                axes.plot(1e5 * d.bound, at, "<", ms=5, color=colour, markerfacecolor="white", label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    axes.set(xlabel="diffusion coefficient\n(10⁻⁵ cm²/s), 95%\nempty: at most, none seen")
