"""Figures of training and evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from matplotlib.ticker import MaxNLocator

from rgnn.evaluation import LabelledFrames, Setting, predict
from rgnn.model import RGNN
from rgnn.plots import style
from rgnn.training import Epoch

# Frames that a parity plot shows; more only make the cloud thicker.
PARITY_FRAMES = 20


def training_curve(history: Sequence[Epoch], path: str | Path) -> Path:
    """Validation error and training loss against the epoch."""
    drawing = style.figure(6, 3.6)
    axes = drawing.subplots()
    epochs = [row.epoch for row in history]
    axes.plot(epochs, [100 * row.relative_error for row in history], "o-", ms=3, color=style.ACCENT)
    axes.set(xlabel="epoch", ylim=(0, None))
    axes.set_ylabel("validation sum|dF| / sum|F|  (%)", color=style.ACCENT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    best = min(history, key=lambda row: row.relative_error)
    axes.axvline(best.epoch, color=style.GREY, lw=0.8, ls=":")
    axes.annotate(
        f"best {100 * best.relative_error:.1f}%",
        (best.epoch, 100 * best.relative_error),
        xytext=(-4, 10),
        textcoords="offset points",
        ha="right",
        color=style.ACCENT,
    )
    loss = axes.twinx()
    loss.semilogy(epochs, [row.loss for row in history], color=style.SECOND, lw=1)
    loss.set_ylabel("training loss", color=style.SECOND)
    axes.spines["top"].set_visible(False)
    loss.spines["top"].set_visible(False)
    return style.save(drawing, path)


def parity(
    model: RGNN, frames: LabelledFrames, indices: Sequence[int], path: str | Path, seed: int = 0, title: str = ""
) -> Path:
    """Predicted against labelled force components, by element, on the hardware as trained."""
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(PARITY_FRAMES, len(indices))).round().astype(int))
    labels, predictions, numbers = [], [], []
    for position in chosen:
        g = frames.graph(int(indices[position]))
        assert g.forces is not None
        predictions.append(predict(model, g, model.hardware, seed, int(indices[position]), 0))
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
    hardware = model.hardware.describe() if model.config.reservoir_layers else "all digital"
    drawing.suptitle(title or f"Force components, {hardware}; sum|dF| / sum|F| per element", fontsize=10)
    return style.save(drawing, path)


def noise_map(settings: Sequence[Setting], path: str | Path) -> Path:
    """sum|dF| / sum|F| for every combination of bits and noise that was evaluated."""
    quantised = [s for s in settings if s.hardware.bits is not None]
    bits = sorted({s.hardware.bits or 0 for s in quantised})
    noise = sorted({s.hardware.noise or 0.0 for s in quantised})
    values = np.full((len(noise), len(bits)), np.nan)
    for s in quantised:
        values[noise.index(s.hardware.noise or 0.0), bits.index(s.hardware.bits or 0)] = 100 * s.errors().relative_error
    drawing = style.figure(1.8 + 0.75 * len(bits), 1.6 + 0.45 * len(noise))
    axes = drawing.subplots()
    image = axes.imshow(values, origin="lower", aspect="auto", cmap="viridis_r")
    middle = np.nanmean([np.nanmin(values), np.nanmax(values)])
    for row, column in np.argwhere(np.isfinite(values)):
        value = values[row, column]
        colour = "white" if value > middle else "black"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(bits)), [str(b) for b in bits])
    axes.set_yticks(range(len(noise)), [f"{100 * s:g}%" for s in noise])
    axes.set(xlabel="input bits", ylabel="conductance fluctuation")
    drawing.colorbar(image, label="sum|dF| / sum|F|  (%)")
    return style.save(drawing, path)
