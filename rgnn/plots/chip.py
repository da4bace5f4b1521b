"""Figures of a chip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from rgnn.plots import style


def chip_maps(layers: Sequence[Sequence[Tensor]], path: str | Path) -> Path:
    """The matrices of each layer as maps on one colour scale, and the histogram of all weights."""
    weights = np.concatenate([w.numpy().ravel() for layer in layers for w in layer])
    limit = float(np.quantile(np.abs(weights), 0.999))
    columns = max(len(layer) for layer in layers)
    drawing = style.figure(1.6 * columns + 0.8, 2.0 * len(layers) + 2.4)
    parts: Any = drawing.subfigures(2, 1, height_ratios=[2.0 * len(layers), 2.4])
    maps, histogram = parts
    for row, layer in zip(maps.subplots(len(layers), columns, squeeze=False), layers, strict=True):
        number = next(k for k, other in enumerate(layers) if other is layer) + 1
        for index, (axes, w) in enumerate(zip(row, layer, strict=False)):
            image = axes.imshow(w.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            axes.set_title(f"layer {number} W{index}, {w.shape[0]} x {w.shape[1]}", fontsize=7)
            axes.set_xticks([])
            axes.set_yticks([])
    maps.colorbar(image, ax=maps.axes, label="weight", shrink=0.8)
    axes = histogram.subplots()
    axes.hist(weights, bins=200, color=style.ACCENT)
    axes.set(
        yscale="log", xlabel="weight", ylabel="count", title=f"{weights.size:,} weights, deviation {weights.std():.3f}"
    )
    axes.title.set_fontsize(9)
    style.tidy(axes)
    return style.save(drawing, path)
