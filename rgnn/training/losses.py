"""The loss of a step: forces, and energies and stresses where they are known and the model gives them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.graphs.graph import Graph
from rgnn.models.base import ForceField, Prediction
from rgnn.training.settings import TrainingSettings


@dataclass(frozen=True)
class Known:
    """Which labels of a part count, and their numbers.

    Attributes:
        energies, stresses: [frames] whether a frame counts; None where none does.
    """

    energies: Tensor | None
    stresses: Tensor | None

    @classmethod
    def of(cls, part: Graph, weights: tuple[float, float]) -> "Known":
        """Those of a part, where energies and stresses have these weights."""
        labels, finite = part.labels, None
        if labels.stress is not None and part.volume is not None:
            finite = labels.stress.flatten(1).isfinite().all(1) & part.volume.isfinite()
        return cls(
            labels.energy.isfinite() if weights[0] and labels.energy is not None else None,
            finite if weights[1] else None,
        )

    @property
    def counts(self) -> Tensor:
        """[2] numbers of energies and of stress components."""
        n = [0.0 if which is None else float(which.sum()) for which in (self.energies, self.stresses)]
        return torch.tensor([n[0], 9 * n[1]], dtype=torch.float64)


class StepLoss:
    """The loss of one step, whose labels may lie in several parts and processes.

    Each term is the mean over all labels of its kind in the step. Gradients are summed over parts and divided once by
    the number of force components. So a part gives the sum of its force errors, and that of others times their weight
    and the number of force components for each label of that kind.

    Args:
        model: that is trained.
        config: losses and weights.
        share: of the training that has passed.
    """

    def __init__(self, model: ForceField, config: TrainingSettings, share: float) -> None:
        self.error = config.loss_function
        counts = "energy" in model.outputs and share >= config.weights_from
        self.weights = (config.energy_weight, config.stress_weight) if counts else (0.0, 0.0)
        self.scale = (0.0, 0.0)

    @property
    def is_of_forces_alone(self) -> bool:
        """Whether nothing else counts in this step."""
        return not any(self.weights)

    def counts(self, parts: Sequence[Graph]) -> Tensor:
        """[3] numbers of force components, energies and stress components in some parts."""
        found = torch.zeros(3, dtype=torch.float64)
        for part in parts:
            found[0] += 3 * part.n_atoms
            found[1:] += Known.of(part, self.weights).counts
        return found

    def share(self, counts: Tensor) -> None:
        """Take up the numbers of labels in the whole step, all parts and processes together."""
        forces, energies, stresses = counts.tolist()
        self.scale = (
            self.weights[0] * forces / max(energies, 1.0),
            self.weights[1] * forces / max(stresses, 1.0),
        )

    def of(self, predicted: Prediction, part: Graph) -> Tensor:
        """The sum of the errors of a part.

        Raises:
            InputError: the part has no forces.
        """
        if part.forces is None:
            raise InputError("a frame without forces cannot be trained on; convert labelled frames.")
        loss = self.error(predicted.forces, part.forces) * part.forces.numel()
        known = Known.of(part, self.weights)
        if known.energies is not None and bool(known.energies.any()):
            assert predicted.energy is not None and part.labels.energy is not None
            atoms = torch.tensor(part.atoms_per_frame, device=loss.device)[known.energies]
            mine, theirs = (e[known.energies] / atoms for e in (predicted.energy, part.labels.energy))
            loss = loss + self.scale[0] * (self.error(mine, theirs) * len(atoms)).to(loss.dtype)
        if known.stresses is not None and bool(known.stresses.any()):
            assert predicted.stress is not None and part.labels.stress is not None
            mine, theirs = (s[known.stresses] for s in (predicted.stress, part.labels.stress))
            loss = loss + self.scale[1] * (self.error(mine, theirs) * mine.numel()).to(loss.dtype)
        return loss
