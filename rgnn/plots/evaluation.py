"""Figures of evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from matplotlib.axes import Axes

from rgnn.evaluation import HardwareErrors
from rgnn.evaluation.diagnosis import Diagnosis
from rgnn.evaluation.frame_errors import GPA, FrameErrors
from rgnn.evaluation.predicted import Pairs
from rgnn.plots import style

# Names of the settings that axes show.
AXES = {
    "bits": "input bits",
    "noise": "conductance fluctuation",
    "slow_noise": "1/f noise",
    "adc_bits": "output bits (ADC)",
    "adc_gain": "spread of ADC gains",
    "adc_offset": "spread of ADC offsets (LSB)",
    "adc_nonlinearity": "ADC nonlinearity (LSB)",
    "adc_calibration": "ADC calibration",
    "wire_resistance": "ohm a segment of wire",
    "slices": "slices of a weight",
    "slice_bits": "bits of a slice",
}
PERCENT = ("noise", "slow_noise", "programming_noise", "stuck_on", "stuck_off", "adc_gain")
# Settings whose ideal is 0.
NOTHING = (*PERCENT, "wire_resistance")


def parity(pairs: Pairs, errors: HardwareErrors, path: str | Path, hardware: str) -> Path:
    """Predicted against labelled force components, by element.

    Args:
        pairs: the points.
        errors: of all frames and draws, whose relative force error stands above each element.
        path: PNG to write.
        hardware: in words.
    """
    elements = np.unique(pairs.numbers)
    drawing = style.figure(3.2 * len(elements), 3.9)
    for axes, element in zip(np.atleast_1d(drawing.subplots(1, len(elements))), elements, strict=True):
        label, predicted = pairs.forces[:, pairs.numbers == element].reshape(2, -1)
        _points(axes, label, predicted, style.element_colour(int(element)), "eV/Å")
        relative = errors.errors(int(element)).relative_error
        axes.set_title(f"{chemical_symbols[element]}: {100 * relative:.2f}%", fontsize=10)
    drawing.axes[0].set_ylabel("predicted (eV/Å)")
    drawing.suptitle(f"Force components and their relative error; {hardware}", fontsize=10)
    return style.save(drawing, path)


def whole_parity(pairs: Pairs, errors: FrameErrors, path: str | Path, hardware: str) -> Path:
    """Predicted against labelled energies, less the mean of their composition, and components of the stress.

    Args:
        pairs: the points.
        errors: of all frames and draws, whose mean absolute errors stand above.
        path: PNG to write.
        hardware: in words.
    """
    energies = pairs.energy_differences()
    known = ~np.isnan(pairs.stress).any(axis=(0, 2))
    shown = [name for name, n in (("energy", energies.shape[1]), ("stress", known.sum())) if n]
    drawing = style.figure(3.9 * len(shown), 4.4)
    for axes, name in zip(np.atleast_1d(drawing.subplots(1, len(shown))), shown, strict=True):
        if name == "energy":
            _points(axes, energies[0], energies[1], style.ACCENT, "meV/atom", 3)
            axes.set_title(f"energy differences: MAE {errors.differences.mae.value:.2f} meV/atom", fontsize=10)
            continue
        for part, colour, words in ((slice(0, 3), style.SECOND, "xx yy zz"), (slice(3, 6), style.THIRD, "yz xz xy")):
            label, predicted = pairs.stress[:, known, part].reshape(2, -1) / GPA
            _points(axes, label, predicted, colour, "GPa", 3, words)
        axes.legend(frameon=False, fontsize=8, markerscale=2)
        axes.set_title(f"stress: MAE {errors.stresses.mae.value / GPA:.3f} GPa", fontsize=10)
    drawing.axes[0].set_ylabel(f"predicted ({'meV/atom' if shown[0] == 'energy' else 'GPa'})")
    drawing.suptitle(hardware, fontsize=10)
    return style.save(drawing, path)


def _points(
    axes: Axes, label: np.ndarray, predicted: np.ndarray, colour: str, unit: str, size: float = 1.5, name: str = ""
) -> None:
    """Points around the diagonal, on axes that hold all that was drawn so far."""
    both = [label, predicted, *(line.get_xydata() for line in axes.lines)]
    low, high = min(float(np.min(x)) for x in both), max(float(np.max(x)) for x in both)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low) + 1e-9
    axes.axline((0, 0), slope=1, color=style.GREY, lw=0.8, zorder=0)
    axes.plot(label, predicted, ".", ms=size, alpha=0.4, color=colour, rasterized=True, label=name or None)
    axes.set(xlim=(low, high), ylim=(low, high), box_aspect=1, xlabel=f"label ({unit})")
    style.tidy(axes)


@dataclass(frozen=True)
class Sweep:
    """The settings of a grid, and what differs among them.

    Attributes:
        settings: evaluated.
        choices: the values of each setting that was varied, in the order given; ideal is None.
    """

    settings: Sequence[HardwareErrors]
    choices: dict[str, tuple[Any, ...]]

    @property
    def lines(self) -> tuple[str, str | None]:
        """What the axis shows and what tells its lines apart: noise, if it varies, against the first of the others."""
        varied = sorted(self.choices, key=lambda name: (name != "noise", -len(self.choices[name])))
        return varied[0], varied[1] if len(varied) > 1 else None

    def value(self, setting: HardwareErrors, name: str) -> Any:
        """Of a setting, with None as 0 for what has an ideal of 0."""
        value = getattr(setting.hardware, name)
        return 0.0 if value is None and name in NOTHING else value

    def at(self, **values: Any) -> HardwareErrors | None:
        """The first setting with these values."""
        good = (s for s in self.settings if all(self.value(s, k) == v for k, v in values.items()))
        return next(good, None)


def label(name: str, value: Any) -> str:
    """A value as an axis shows it."""
    if value is None:
        return "ideal"
    return f"{100 * value:g}%" if name in PERCENT else f"{value:g}" if isinstance(value, float) else str(value)


def heat_map(sweep: Sweep, path: str | Path) -> Path:
    """Relative force error for every combination of the two settings that a sweep varies."""
    down, across = sweep.lines
    assert across is not None
    rows, columns = sweep.choices[down], sweep.choices[across]
    values = np.full((len(rows), len(columns)), np.nan)
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            setting = sweep.at(**{down: row, across: column})
            values[r, c] = np.nan if setting is None else 100 * setting.errors().relative_error
    drawing = style.figure(1.9 + 0.75 * len(columns), 1.6 + 0.45 * len(rows))
    axes = drawing.subplots()
    image = axes.imshow(values, origin="lower", aspect="auto", cmap="viridis_r")
    middle = np.nanmean([np.nanmin(values), np.nanmax(values)])
    for row, column in np.argwhere(np.isfinite(values)):
        value = values[row, column]
        colour = "white" if value > middle else "black"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), [label(across, value) for value in columns])
    axes.set_yticks(range(len(rows)), [label(down, value) for value in rows])
    axes.set(xlabel=AXES.get(across, across), ylabel=AXES.get(down, down))
    drawing.colorbar(image, label="relative force error (%)")
    return style.save(drawing, path)


def error_curves(sweep: Sweep, ideal: HardwareErrors | None, path: str | Path) -> Path:
    """Error with its 95% interval against the setting that varies most, one line for each value of the next."""
    along, apart = sweep.lines
    drawing = style.figure(6.2, 4)
    axes = drawing.subplots()
    values = sweep.choices[along]
    place = [100 * v for v in values] if along in PERCENT else list(range(len(values)))
    lines = sweep.choices[apart] if apart else (None,)
    for k, line in enumerate(lines):
        found = [sweep.at(**{along: v}, **({apart: line} if apart else {})) for v in values]
        shown = [(x, s.relative_error()) for x, s in zip(place, found, strict=True) if s is not None]
        x = [at for at, _ in shown]
        colour = style.shade(k, len(lines))
        name = f"{label(apart, line)} {AXES.get(apart, apart)}" if apart else None
        axes.fill_between(x, [100 * e.low for _, e in shown], [100 * e.high for _, e in shown], color=colour, alpha=0.2)
        axes.plot(x, [100 * e.value for _, e in shown], "o-", ms=3, color=colour, label=name)
    if ideal is not None:
        axes.axhline(100 * ideal.relative_error().value, color=style.GREY, lw=0.8, ls="--", label="ideal chip")
    if along in PERCENT:
        axes.set_xlabel(f"{AXES.get(along, along)} (%)")
    else:
        axes.set_xticks(place, [label(along, v) for v in values])
        axes.set_xlabel(AXES.get(along, along))
    axes.set(ylabel="relative force error (%)", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    style.tidy(axes)
    return style.save(drawing, path)


def signal_to_noise(diagnoses: Sequence[Diagnosis], path: str | Path) -> Path:
    """Signal-to-noise of node and edge features after each layer, and of the forces, for some settings."""
    drawing = style.figure(8.4, 3.8)
    left, right = drawing.subplots(1, 2, sharey=True)
    layers = len(diagnoses[0].node)
    ticks = [f"layer {k + 1}" for k in range(layers)]
    for k, d in enumerate(diagnoses):
        colour = style.shade(k, len(diagnoses))
        left.plot(range(layers), d.node, "o-", ms=4, color=colour)
        right.plot(range(layers + 1), [*d.edge, d.force], "o-", ms=4, color=colour, label=d.hardware.describe())
    left.set_xticks(range(layers), ticks)
    right.set_xticks(range(layers + 1), [*ticks, "forces"])
    left.set(ylabel="signal to noise (dB)", title="node features")
    right.set(title="edge features and forces")
    for axes in (left, right):
        axes.title.set_fontsize(10)
        axes.grid(axis="y", lw=0.4)
        style.tidy(axes)
    drawing.legend(*right.get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    return style.save(drawing, path)
