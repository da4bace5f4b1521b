"""The error on held-out frames, and the result of a fit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rgnn.base.rng import torch_stream
from rgnn.graphs.graph import LabelledFrames
from rgnn.models.base import ForceField
from rgnn.training.distributed import ALONE, Processes
from rgnn.training.log import Epoch


@dataclass(frozen=True)
class FitResult:
    """What came out: the averaged model of the best epoch, and the log."""

    model: ForceField
    history: tuple[Epoch, ...]
    stopped_early: bool

    @property
    def best(self) -> Epoch:
        """The row of the best epoch."""
        return min(self.history, key=lambda row: row.relative_error)


@torch.no_grad()
def validate(
    model: ForceField, frames: LabelledFrames, validation: Sequence[int], seed: int, processes: Processes = ALONE
) -> tuple[float, float, float]:
    """MAE and RMSE in eV/Angstrom and sum|dF|/sum|F| of a model on the hardware it is trained for."""
    sums = torch.zeros(4, dtype=torch.float64)
    for index in processes.share(validation):
        g = frames.graph(index).to(model.device)
        assert g.forces is not None
        noise = torch_stream(seed, "validation noise", int(index))
        error = (model(g, model.read(None, noise)).forces - g.forces).double()
        found = error.abs().sum(), error.square().sum(), g.forces.abs().sum(), error.numel()
        sums += torch.tensor([float(x) for x in found], dtype=torch.float64)
    absolute, square, reference, count = processes.all_reduce_sum_(sums).tolist()
    return absolute / count, math.sqrt(square / count), absolute / max(reference, 1e-12)
