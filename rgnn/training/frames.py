"""Which frames of a run train and validate, where stores or models say so."""

from collections.abc import Sequence

import numpy as np

from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance
from rgnn.data.met import Met, uses_of
from rgnn.data.store.reader import GraphStore, require_cutoff
from rgnn.data.store.split import Partition, require_other_frames
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import load_model
from rgnn.training.settings import TrainingSettings

# Columns of a store that the weights of a loss count.
LABEL_OF = {"energy_weight": "energy", "stress_weight": "stress"}


def require_labels(settings: TrainingSettings, store: GraphStore, train: Sequence[int]) -> None:
    """Raise InputError where energies or stresses are to be learned and no training frame has any."""
    for name, label in LABEL_OF.items():
        weight = getattr(settings, name)
        if weight and not np.isfinite(store.column(label)[list(train)]).any():
            raise InputError(
                f"{store.path}: {name} is {weight:g}, but no training frame has {label} labels; leave it out, or "
                "convert frames that have them."
            )


def validated_elsewhere(store: GraphStore, validated: GraphStore) -> Partition:
    """All frames of one store to train on, and all of another to validate on.

    Raises:
        InputError: another cutoff, or frames that are in both.
    """
    require_cutoff(validated, store.cutoff)
    way_out = "validate on a store without them, or give --split a file that names frames to hold out"
    require_other_frames(store, validated, way_out)
    frames = list(range(len(store))), list(range(len(validated)))
    return Partition(*frames, how=f"All frames of {validated.path} validate.", whole=True)


def adding(model: ForceField, mine: Provenance, run: str, store: GraphStore) -> Provenance:
    """The provenance of a model whose frames are added to those of a run; the model takes the distances of that.

    Raises:
        InputError: no run there, or it has some of the frames already.
    """
    earlier = load_model(run)
    for member, old in zip(model.members, earlier.members, strict=True):
        if member.repulsion is not None and old.repulsion is not None:  # the sums were made with its distances
            member.repulsion.load_state_dict(old.repulsion.state_dict())
    before = earlier.provenance
    uses = uses_of(before, store)
    if twice := int(Met.by(uses, store).of(store, "trained", "validated").sum()):
        raise InputError(
            f"{store.path}: {twice} of its {len(store)} frames are in {run} already; add a store of new frames only."
        )
    return mine.override(
        elements=tuple(sorted({*mine.elements, *before.elements})),
        seen=mine.seen.joined(before.seen),
        chip=before.chip,
        chip_is_measured=before.chip_is_measured,
        cells_are_reused=before.cells_are_reused,
        used=(*mine.used, *uses),
    )
