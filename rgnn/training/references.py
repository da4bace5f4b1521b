"""Reference energies of elements: what brings a model's energies to those of the training frames, by least squares."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rgnn.base.rng import torch_stream
from rgnn.data.heldout import ValidatedElsewhere
from rgnn.data.loader import sampled
from rgnn.data.replay import ReplayedFrames
from rgnn.graphs.graph import LabelledFrames
from rgnn.models.base import ForceField

# Frames that are looked at, evenly chosen.
MOST_FRAMES = 24
# Weight of a replayed frame beside a new one.
REPLAYED = 0.01


@torch.no_grad()
def fit_references(
    model: ForceField, frames: LabelledFrames, train: Sequence[int], seed: int, most: int = MOST_FRAMES
) -> None:
    """Set the reference energies of a model so that its energies have no error that compositions explain.

    Where compositions do not tell elements apart (all frames have the same), the smallest change that does is taken:
    energies of frames are right then, those of single elements have no meaning.

    Args:
        model: whose `reference` is changed, or those of its members; nothing happens to one without.
        frames: labelled frames.
        train: numbers of the training frames.
        seed: of the read noise.
        most: number of the training frames that are looked at, evenly chosen.
    """
    if len(model.members) > 1:
        for member in model.members:
            fit_references(member, frames, train, seed, most)
    if model.reference is None:
        return
    compositions: list[Tensor] = []
    missing: list[float] = []
    learned = frames.training if isinstance(frames, ValidatedElsewhere) else frames
    for index in sampled(frames, train, most):
        g = frames.graph(index).to(model.device)
        if g.labels.energy is None or not bool(g.labels.energy.isfinite().all()):
            continue
        found = model(g, model.read(None, torch_stream(seed, "reference energies", int(index)))).energy
        assert found is not None
        # Replayed frames decide on what the new ones leave open, and no more: their labels may have another zero.
        weight = REPLAYED if isinstance(learned, ReplayedFrames) and learned.is_replayed(index) else 1.0
        compositions.append(weight * torch.bincount(g.atomic_numbers, minlength=len(model.reference)).double())
        missing.append(weight * float((g.labels.energy - found).sum()))
    if compositions:
        counts = torch.stack(compositions)
        change = torch.linalg.pinv(counts, rtol=1e-9) @ torch.tensor(missing, dtype=torch.float64, device=counts.device)
        model.reference.add_(change.to(model.reference))
