"""Where hardware hurts: signal-to-noise after each layer, and what the converters clip."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rgnn.base.rng import torch_stream
from rgnn.chip.converters import Counts
from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph, LabelledFrames
from rgnn.models.base import ForceField

# Frames that are looked at; their layers are averages over thousands of edges.
DIAGNOSIS_FRAMES = 4


@dataclass(frozen=True)
class Diagnosis:
    """One hardware setting against the ideal chip, over some frames.

    Attributes:
        hardware: the setting.
        node, edge: signal-to-noise of the features after each layer, in dB, the input left out: 10 log10 of the
            variance of what the ideal chip gives over the mean square of the difference. Infinite without one.
        force: of the forces.
        counts: by (layer, matrix) what the converters met.
    """

    hardware: Hardware
    node: tuple[float, ...]
    edge: tuple[float, ...]
    force: float
    counts: dict[tuple[int, int], Counts]

    @property
    def clipped(self) -> float:
        """Share of input codes that their range clips."""
        return _share(sum(c.clipped for c in self.counts.values()), sum(c.codes for c in self.counts.values()))

    @property
    def saturated(self) -> float | None:
        """Share of output conversions that saturate; None without converters."""
        n = sum(c.conversions for c in self.counts.values())
        return _share(sum(c.saturated for c in self.counts.values()), n) if n else None


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


@torch.no_grad()
def diagnose(
    model: ForceField, frames: LabelledFrames, indices: Sequence[int], hardware: Hardware, seed: int = 0
) -> Diagnosis:
    """Compare layer by layer with the ideal chip on the first few of the frames."""
    ideal = hardware.ideal()
    counts: dict[tuple[int, int], Counts] = {}
    # Of the forces (in the place of the input, which nothing disturbs), then of nodes and edges layer by layer.
    signal, noise = defaultdict[tuple[int, int], float](float), defaultdict[tuple[int, int], float](float)
    for index in list(indices)[:DIAGNOSIS_FRAMES]:
        g = frames.graph(int(index)).to(model.device)
        generator = torch_stream(seed, "diagnosis noise", int(index))
        clean = model.layer_features(g, model.read(ideal))
        real = model.layer_features(g, model.read(hardware, generator))
        for k, (a, b) in enumerate(zip(clean, real, strict=True)):
            for kind in range(2 if k else 0):
                _add(signal, noise, (kind, k), a[kind], b[kind])
        forces = [_forces(model, g, ideal, seed, int(index)), _forces(model, g, hardware, seed, int(index), counts)]
        _add(signal, noise, (0, 0), *forces)
    ratio = {place: _decibels(signal[place], noise[place]) for place in signal}
    layers = sorted({k for _, k in ratio} - {0})
    node, edge = (tuple(ratio[kind, k] for k in layers) for kind in range(2))
    return Diagnosis(hardware, node, edge, ratio[0, 0], counts)


def _decibels(signal: float, noise: float) -> float:
    """Signal over noise in dB; infinite without noise."""
    return float(10 * np.log10(signal / noise)) if noise else math.inf


def _forces(
    model: ForceField,
    g: Graph,
    hardware: Hardware,
    seed: int,
    index: int,
    counts: dict[tuple[int, int], Counts] | None = None,
) -> Tensor:
    forces: Tensor = model(g, model.read(hardware, torch_stream(seed, "diagnosis noise", index), counts)).forces
    return forces


def _add(
    signal: dict[tuple[int, int], float], noise: dict[tuple[int, int], float], place: tuple[int, int],
    clean: Tensor, real: Tensor,
) -> None:  # fmt: skip
    clean, real = clean.double(), real.double()
    signal[place] += float((clean - clean.mean(0)).square().sum())
    noise[place] += float((real - clean).square().sum())
