"""Figures of evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from rgnn.base.estimate import evenly
from rgnn.evaluation import HardwareErrors, predict
from rgnn.evaluation.diagnosis import Diagnosis
from rgnn.graphs.graph import LabelledFrames
from rgnn.models.base import ForceField
from rgnn.plots import style

# Frames that a parity plot shows; more only make the cloud thicker.
PARITY_FRAMES = 20
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


def parity(
    model: ForceField, frames: LabelledFrames, indices: Sequence[int], path: str | Path, seed: int = 0, title: str = ""
) -> Path:
    """Predicted against labelled force components, by element, on the hardware as trained."""
    labels, predictions, numbers = [], [], []
    for index in evenly(indices, PARITY_FRAMES):
        g = frames.graph(index)
        assert g.forces is not None
        predictions.append(predict(model, g, model.hardware, seed, index, 0))
        labels.append(g.forces.numpy())
        numbers.append(g.atomic_numbers.numpy())
    label, predicted, z = np.concatenate(labels), np.concatenate(predictions), np.concatenate(numbers)
    elements = np.unique(z)
    drawing = style.figure(3.2 * len(elements), 3.9)
    for axes, element in zip(np.atleast_1d(drawing.subplots(1, len(elements))), elements, strict=True):
        mine = z == element
        x, y = label[mine].ravel(), predicted[mine].ravel()
        limit = 1.05 * max(np.abs(x).max(), np.abs(y).max())
        axes.plot([-limit, limit], [-limit, limit], color=style.GREY, lw=0.8)
        axes.plot(x, y, ".", ms=1.5, alpha=0.4, color=style.element_colour(int(element)), rasterized=True)
        relative = np.abs(y - x).sum() / max(np.abs(x).sum(), 1e-12)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), box_aspect=1, xlabel="label (eV/Å)")
        axes.set_title(f"{chemical_symbols[element]}: {100 * relative:.1f}%", fontsize=10)
        style.tidy(axes)
    drawing.axes[0].set_ylabel("predicted (eV/Å)")
    hardware = model.hardware.describe() if model.uses_chip else "all digital"
    drawing.suptitle(title or f"Force components, {hardware}; sum|dF| / sum|F| per element", fontsize=10)
    return style.save(drawing, path)


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
    """sum|dF| / sum|F| for every combination of the two settings that a sweep varies."""
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
    drawing.colorbar(image, label="sum|dF| / sum|F|  (%)")
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
    axes.set(ylabel="sum|dF| / sum|F|  (%)", ylim=(0, None))
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
