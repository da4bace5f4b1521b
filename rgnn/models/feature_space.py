"""Where atoms lie among those of training, in what a model knows of their surroundings.

Features f of atoms (`ForceField.atom_features`) are brought to coordinates x = W_z (f - mean_z) by statistics of the
training atoms of each element z, in which these have covariance 1. The root mean square of x is Mahalanobis' distance
per dimension, and up to a constant the leverage of the atom: what a linear model of these features could be wrong by
from having few labels (Bishop 2006, section 3.3; Bigi et al. 2024, arXiv 2403.02251, for last layers of networks).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rgnn.base.estimate import evenly
from rgnn.base.rng import torch_stream
from rgnn.graphs.graph import LabelledFrames
from rgnn.models.base import ForceField

# Frames that statistics are taken over, evenly chosen.
MOST_FRAMES = 200
# Added to the variance along each direction, as a share of their mean: directions along which training atoms hardly
# differ are known by read noise only.
FLOOR = 1e-2


@dataclass(frozen=True)
class FeatureSpace:
    """Coordinates in which the training atoms of each element have covariance 1.

    Attributes:
        elements: [S] atomic numbers, int64.
        mean: [S, F] of the features.
        whitening: [S, F, F] from differences to the mean to coordinates.
    """

    elements: Tensor
    mean: Tensor
    whitening: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: ForceField, frames: LabelledFrames, indices: Sequence[int], seed: int = 0) -> "FeatureSpace":
        """That of the atoms of these frames, of many as many as `MOST_FRAMES`, with the noise of the model's hardware.

        Args:
            model: ready to predict.
            frames: graphs with the model's cutoff.
            indices: numbers of the training frames.
            seed: of the noise.
        """

        def looks() -> Iterable[tuple[Tensor, Tensor]]:
            for index in evenly(indices, MOST_FRAMES):
                g = frames.graph(int(index)).to(model.device)
                reading = model.read(None, torch_stream(seed, "feature noise", int(index)))
                yield g.atomic_numbers, model.atom_features(g, reading)

        return cls.from_features(looks())

    @classmethod
    def from_features(cls, looks: Iterable[tuple[Tensor, Tensor]]) -> "FeatureSpace":
        """That of atoms, frame by frame: their atomic numbers [N], and their features [N, F]."""
        sums: dict[int, list[Tensor]] = {}
        for numbers, features in looks:
            for z in numbers.unique().tolist():
                f = features[numbers == z].double()
                new = [f.new_tensor(float(len(f))), f.sum(0), f.T @ f]
                sums[z] = [a + b for a, b in zip(sums[z], new, strict=True)] if z in sums else new
        elements = sorted(sums)
        means, whitenings = zip(*(_whitening(*sums[z]) for z in elements), strict=True)
        return cls(torch.tensor(elements, device=means[0].device), torch.stack(means), torch.stack(whitenings))

    @torch.no_grad()
    def coordinates(self, features: Tensor, atomic_numbers: Tensor) -> Tensor:
        """[N, F] of atoms with these features [N, F]; NaN for elements that no training atom had."""
        found = features.new_full(features.shape, torch.nan)
        for z, mean, whitening in zip(self.elements.tolist(), self.mean, self.whitening, strict=True):
            mine = atomic_numbers == z
            found[mine] = (features[mine] - mean.to(features)) @ whitening.to(features)
        return found

    def distances(self, features: Tensor, atomic_numbers: Tensor) -> Tensor:
        """[N] root mean square of the coordinates: near 1 for atoms like those of training."""
        return self.coordinates(features, atomic_numbers).square().mean(1).sqrt()

    def tensors(self) -> dict[str, Tensor]:
        """What a file keeps of it."""
        return {f"space/{name}": tensor for name, tensor in vars(self).items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> "FeatureSpace | None":
        """That of `tensors` on a device; None where a file has none."""
        names = ("elements", "mean", "whitening")
        if f"space/{names[0]}" not in tensors:
            return None
        return cls(*(tensors[f"space/{name}"].to(device) for name in names))


def _whitening(count: Tensor, total: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [F] and whitening matrix [F, F] of features, from their number, sum and sum of products."""
    mean = total / count
    variances, directions = torch.linalg.eigh(square / count - torch.outer(mean, mean))
    variances = variances.clamp_min(0)
    spread = variances + FLOOR * variances.mean()
    # Atoms that are all alike, as in a perfect crystal, have no scale: any difference is then far.
    scale = spread.clamp_min(1e-12 * square.diagonal().mean() / count + 1e-30).rsqrt()
    return mean.float(), (directions * scale).float()
