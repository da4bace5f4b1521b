"""Figures of a molecular dynamics run."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from matplotlib.axes import Axes

from rgnn.analysis.observables import RadialDistribution, mean_squared_displacement, radial_distribution
from rgnn.base.estimate import evenly
from rgnn.md import MDRecord, opened, read_log, thermometry
from rgnn.md.constraints import is_anchored
from rgnn.md.contacts import ContactLimits, Pair, pair_name, pairs_of
from rgnn.plots import style, watches

# Frames that radial distributions are averaged over at most, fewer where atoms are many.
RDF_FRAMES, RDF_ATOMS = 200, 100_000
# Frames that displacements are followed over at most.
MSD_FRAMES = 2000
# Pairs whose colours the eye tells apart; more are shades of one.
PAIRS = 3


def second_half(out: str | Path) -> list[Atoms]:
    """Frames of the second half of a run, where it has stages of the last one, evenly chosen; each has its log row."""
    rows = np.flatnonzero(thermometry.second_half(read_log(out), MDRecord.read(out).md)).tolist()
    with opened(out) as frames:
        wanted = min(RDF_FRAMES, max(5, RDF_ATOMS // len(frames[0])))
        return [frames[row] for row in evenly([row for row in rows if row < len(frames)], wanted)]


def run_figure(out: str | Path, path: str | Path, target: float | None = None) -> tuple[Path, dict[str, float]]:
    """Temperature, radial distributions of the second half with their first peaks, displacements, and the watches.

    Args:
        out: run folder.
        path: PNG to write.
        target: temperature of the thermostat in K, drawn where the log has none.

    Returns:
        The figure's path, and the first peaks in Angstrom by pair ("P-O"); none without a periodic cell, and none
        where atoms came too close to each other.
    """
    out = Path(out)
    log, frames = read_log(out), second_half(out)
    periodic = bool(frames[0].pbc.all())
    has_energy = "conserved_eV" in log
    watched = "closest_ratio" in log
    rows = 1 + has_energy + watched
    drawing = style.figure(12, 3.4 * rows)
    panels = drawing.subplots(rows, 3, squeeze=False)
    record, pairs = MDRecord.read(out), tuple(pairs_of(frames[0].numbers))
    limits = ContactLimits.of(record.seen)
    close = watches.pairs_too_close(log, pairs, limits)
    left, middle, right = panels[0]
    if has_energy:
        _energies(panels[1, 0], log, len(frames[0]))
        of_cell = {"pressure_GPa": _pressure, "density_g_cm3": _density}
        for axes, (column, what) in zip(panels[1, 1:], of_cell.items(), strict=True):
            if column in log:
                what(axes, log)
            else:
                axes.set_axis_off()
    _temperature(left, log, target)
    peaks = {}
    if periodic:
        rdf = radial_distribution(frames)
        peaks = {} if close else _first_peaks(rdf)
        _radial(middle, rdf, close)
    else:
        middle.text(0.5, 0.5, "g(r) needs a periodic cell", ha="center", transform=middle.transAxes)
    _displacement(right, out)
    if close:
        right.set_title("atoms came too close: no diffusion", fontsize=9, color=style.SECOND)
    if watched:
        watches.closest_panel(panels[-1, 0], log, pairs, limits)
        watches.elements_panel(panels[-1, 1], log, record)
        if "uncertainty_ratio" in log:
            watches.uncertainty_panel(panels[-1, 2], log)
        else:
            panels[-1, 2].set_axis_off()
    for axes in panels.flat:
        style.tidy(axes)
    return style.save(drawing, path), peaks


def _shown(rdf: RadialDistribution) -> list[tuple[int, int]]:
    """Every pair that comes within reach: unlike atoms first, and those with the highest peaks."""
    seen = (pair for pair in rdf.pairs if rdf.of(pair).any())
    return sorted(seen, key=lambda pair: (pair[0] == pair[1], -rdf.of(pair).max()))


def _first_peaks(rdf: RadialDistribution) -> dict[str, float]:
    peaks = {pair_name(pair): rdf.first_peak(pair) for pair in _shown(rdf)}
    return {name: r for name, r in peaks.items() if np.isfinite(r)}


def _temperature(axes: Axes, log: dict[str, np.ndarray], target: float | None) -> None:
    time = log["time_fs"] / 1000
    for name in (name for name in log if name.startswith("T_")):
        symbol = name.removeprefix("T_")
        colour = style.element_colour(atomic_numbers[symbol])
        axes.plot(time, log[name], lw=0.4, alpha=0.5, color=colour, label=symbol)
    axes.plot(time, log["temperature_K"], lw=0.9, color="black", label="all")
    wanted = log.get("target_K", np.full(len(time), np.nan if target is None else target))
    if np.isfinite(wanted).any():
        axes.plot(time, wanted, color=style.SECOND, lw=1, ls="--", label="target")
    axes.set(xlabel="time (ps)", ylabel="temperature (K)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, ncols=2)


def _energies(axes: Axes, log: dict[str, np.ndarray], n_atoms: int) -> None:
    """Potential and total energy and the conserved one, of an atom, from their start."""
    time, names = log["time_fs"] / 1000, {"potential": style.SECOND, "total": style.THIRD, "conserved": "black"}
    for name, colour in names.items():
        values = 1000 / n_atoms * log[f"{name}_eV"]
        axes.plot(time, values - values[0], lw=0.9, color=colour, label=name)
    axes.set(xlabel="time (ps)", ylabel="energy since the start (meV/atom)")
    axes.legend(frameon=False, fontsize=8)


def _pressure(axes: Axes, log: dict[str, np.ndarray]) -> None:
    axes.plot(log["time_fs"] / 1000, log["pressure_GPa"], lw=0.6, color=style.ACCENT)
    axes.set(xlabel="time (ps)", ylabel="pressure (GPa)")


def _density(axes: Axes, log: dict[str, np.ndarray]) -> None:
    axes.plot(log["time_fs"] / 1000, log["density_g_cm3"], lw=0.9, color=style.ACCENT)
    axes.set(xlabel="time (ps)", ylabel="density (g/cm³)")
    axes.ticklabel_format(useOffset=False)


def _radial(axes: Axes, rdf: RadialDistribution, close: Mapping[Pair, float]) -> None:
    """Every pair, those that came too close first; a peak of fused atoms does not decide the height."""
    pairs, top = list(dict.fromkeys([*close, *_shown(rdf)])), 1.0
    colours = [style.ACCENT, style.SECOND, style.THIRD][: len(pairs)]
    if len(pairs) > PAIRS:
        colours = [style.shade(k, len(pairs)) for k in range(len(pairs))]
    for pair, colour in zip(pairs, colours, strict=True):
        peak = rdf.first_peak(pair)
        mark = f", first peak at {peak:.2f} Å" if np.isfinite(peak) else ""
        if pair in close:
            peak, mark = close[pair], f", too close: {close[pair]:.2f} Å"
        axes.plot(rdf.r, rdf.of(pair), lw=1, color=colour, label=pair_name(pair) + mark)
        top = max(top, float(rdf.of(pair)[rdf.r > ContactLimits().limit(pair)].max(initial=0.0)))
        if mark:
            axes.axvline(peak, color=colour, lw=0.8, ls=":")
    axes.axhline(1, color=style.GREY, lw=0.6, ls=":")
    axes.set(xlabel="r (Å)", ylabel="g(r), second half", xlim=(0.0 if close else 0.5, rdf.r[-1]))
    axes.set_ylim(0, 1.3 * top if close else None)
    axes.legend(frameon=False, fontsize=8 if len(pairs) <= PAIRS else 6)


def _displacement(axes: Axes, out: Path) -> None:
    with opened(out) as frames:
        stride = ceil(len(frames) / MSD_FRAMES)
        chosen = range(0, len(frames), stride)
        first = frames[0]
        positions = np.stack([frames[index].positions for index in chosen])
        interval = frames[chosen[1]].info["time_fs"] / 1000 if len(chosen) > 1 else 0.0
    elements = np.unique(first.numbers)
    groups = [np.flatnonzero(first.numbers == z) for z in elements]
    msd = mean_squared_displacement(positions, groups, first.get_masses(), anchored=is_anchored(first))
    shown = max(2, len(positions) // 2)  # beyond, too few origins are left to average over
    lag = interval * np.arange(len(positions))[:shown]
    for z, values in zip(elements, msd, strict=True):
        axes.plot(lag, values[:shown], color=style.element_colour(z), label=chemical_symbols[z])
    axes.set(xlabel="lag (ps)", ylabel="mean squared displacement (Å²)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
