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


@dataclass(frozen=True)
class ValidationErrors:
    """Errors on held-out frames.

    Attributes:
        mae, rmse: of force components, eV/Angstrom.
        relative: sum|dF| / sum|F|.
        energy: mean absolute error of the energy, eV/atom; None where there is none.
    """

    mae: float
    rmse: float
    relative: float
    energy: float | None = None


@torch.no_grad()
def validate(
    model: ForceField, frames: LabelledFrames, validation: Sequence[int], seed: int, processes: Processes = ALONE
) -> ValidationErrors:
    """The errors of a model on the hardware it is trained for."""
    sums = torch.zeros(6, dtype=torch.float64)
    for index in processes.share(validation):
        g = frames.graph(index).to(model.device)
        assert g.forces is not None
        found = model(g, model.read(None, torch_stream(seed, "validation noise", int(index))))
        error = (found.forces - g.forces).double()
        each = [error.abs().sum(), error.square().sum(), g.forces.abs().sum(), error.numel(), 0.0, 0]
        if found.energy is not None and g.labels.energy is not None and bool(g.labels.energy.isfinite().all()):
            each[4:] = (found.energy - g.labels.energy).abs().sum() / g.n_atoms, 1
        sums += torch.tensor([float(x) for x in each], dtype=torch.float64)
    absolute, square, reference, count, energy, known = processes.all_reduce_sum_(sums).tolist()
    return ValidationErrors(
        absolute / count, math.sqrt(square / count), absolute / max(reference, 1e-12), energy / known if known else None
    )
