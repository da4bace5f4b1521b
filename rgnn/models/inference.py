"""Predictions as NumPy arrays, without gradients: what all users of a trained model call."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rgnn.graphs.graph import Graph
from rgnn.models.base import ForceField
from rgnn.models.reading import ChipReading
from rgnn.models.uncertainty import Uncertainty


@dataclass(frozen=True)
class Arrays:
    """A prediction in NumPy arrays, float64.

    Attributes:
        forces: [N, 3], eV/Angstrom.
        energy: [frames], eV; None from models without an energy.
        stress: [frames, 3, 3], eV/Angstrom^3; None without an energy or where a frame is not periodic.
        sigma: [N] standard deviation of a force component, eV/Angstrom; None where it was not estimated.
    """

    forces: np.ndarray
    energy: np.ndarray | None = None
    stress: np.ndarray | None = None
    sigma: np.ndarray | None = None

    def by_frame(self, g: Graph) -> "list[Arrays]":
        """The same for each frame of the graph that it was made for."""
        ends = np.cumsum(g.atoms_per_frame)[:-1]
        forces = np.split(self.forces, ends)
        sigma = [None] * len(forces) if self.sigma is None else np.split(self.sigma, ends)
        one = [slice(k, k + 1) for k in range(len(forces))]
        energy, stress = ([None if x is None else x[k] for k in one] for x in (self.energy, self.stress))
        return [Arrays(*each) for each in zip(forces, energy, stress, sigma, strict=True)]


@torch.no_grad()
def predict(
    model: ForceField, g: Graph, reading: ChipReading | None = None, uncertainty: Uncertainty | None = None
) -> Arrays:
    """Predict for a graph on any device.

    Args:
        model: in evaluation mode.
        g: one frame or a batch with the model's cutoff.
        reading: from `ForceField.read`; None is as trained, without read noise.
        uncertainty: of this model; the forces are the same with and without it.
    """
    g = g.to(model.device)
    found, sigma = (model(g, reading), None) if uncertainty is None else uncertainty.predict(model, g, reading)
    energy, stress, deviation = (None if x is None else _array(x) for x in (found.energy, found.stress, sigma))
    return Arrays(_array(found.forces), energy, stress, deviation)


def _array(x: Tensor) -> np.ndarray:
    return x.cpu().numpy().astype(np.float64)
