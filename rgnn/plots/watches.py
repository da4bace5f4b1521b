"""What the watches of a run have seen, as panels: closest atoms, temperatures of elements, uncertainty of forces."""

import numpy as np
from ase.data import atomic_numbers
from matplotlib.axes import Axes

from rgnn.md import MDRecord
from rgnn.md.contacts import STOP, WARN, ContactLimits, Pair, pair_name
from rgnn.md.outputs import distance_column
from rgnn.md.thermometry import half_of, thermometer
from rgnn.plots import style

# Pairs of elements of the panel of closest atoms at most, those nearest to their limits.
PAIRS = 4

Log = dict[str, np.ndarray]


def pairs_too_close(log: Log, pairs: tuple[Pair, ...], limits: ContactLimits) -> dict[Pair, float]:
    """The closest distance of each pair of elements that came below its limit in a log, Angstrom."""
    found = {}
    for pair in pairs:
        distances = log.get(distance_column(pair), np.zeros(0))
        if np.isfinite(distances).any() and (closest := float(np.nanmin(distances))) < limits.limit(pair):
            found[pair] = closest
    return found


def closest_panel(axes: Axes, log: Log, pairs: tuple[Pair, ...], limits: ContactLimits) -> None:
    """Distance of the closest atoms of a few pairs over that at which a run stops, against time."""
    curves = {}
    for pair in pairs:
        distances = log.get(distance_column(pair), np.zeros(0))
        if np.isfinite(distances).any():
            known = limits.trained.get(pair, limits.limit(pair) / STOP)
            curves[pair] = distances / known
    chosen = sorted(curves, key=lambda pair: float(np.nanmin(curves[pair])))[:PAIRS]
    for k, pair in enumerate(chosen):
        lowest = float(np.nanmin(curves[pair]))
        mark = "" if pair in limits.trained else " (radii)"
        name = f"{pair_name(pair)}{mark}, {lowest:.2f} at least"
        axes.plot(log["time_fs"] / 1000, curves[pair], lw=0.8, color=style.shade(k, PAIRS), label=name)
    axes.axhline(WARN, color=style.GREY, lw=0.8, ls=":")
    axes.axhline(STOP, color=style.SECOND, lw=1, ls="--")
    axes.set(xlabel="time (ps)", ylabel="closest atoms / closest in training")
    axes.set_ylim(bottom=0)
    if chosen:
        axes.legend(frameon=False, fontsize=8)


def elements_panel(axes: Axes, log: Log, record: MDRecord) -> None:
    """Mean temperature of each element over the second half with its 95% interval, beside all atoms and the target."""
    measured = thermometer(log, record.md)
    means = {"all": measured.temperature, **measured.equipartition.elements}
    for place, (name, mean) in enumerate(means.items()):
        colour = "black" if name == "all" else style.element_colour(atomic_numbers[name])
        half = half_of(mean)
        axes.errorbar(place, mean.value, yerr=half, fmt="o" if half is not None else "x", ms=5, capsize=4, color=colour)
    if np.isfinite(target := log.get("target_K", np.full(1, np.nan))[-1]):
        axes.axhline(target, color=style.SECOND, lw=1, ls="--")
    words = "" if all(mean.bounded for mean in means.values()) else "; x: too short for an interval"
    axes.set(xticks=range(len(means)), xlim=(-0.6, len(means) - 0.4), ylabel="temperature (K), second half")
    axes.set_xticklabels(list(means))
    axes.set_xlabel(f"95% intervals{words}")
    low, high = axes.get_ylim()
    middle, reach = (low + high) / 2, max(high - low, 0.1 * measured.temperature.value) * 0.6
    axes.set_ylim(max(0.0, middle - reach), middle + reach)


def uncertainty_panel(axes: Axes, log: Log) -> None:
    """The largest uncertainty of a force in units of its limit, against time."""
    ratio = log["uncertainty_ratio"]
    axes.plot(log["time_fs"] / 1000, np.where(np.isfinite(ratio), ratio, np.nan), lw=0.8, color=style.ACCENT)
    axes.axhline(1, color=style.SECOND, lw=1, ls="--")
    axes.set(xlabel="time (ps)", ylabel="uncertainty of forces / limit of training")
    axes.set_ylim(bottom=0)
