"""The frames that a model has met in its trainings, and how a training that begins with it keeps them apart.

Frames are compared by their digests, since another store may hold some of them, in another order. What is known are
the frames of stores that are still there, or whose frames are the first of a store that is being read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance, UsedFrames, frames_of, ranges_of
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.split import Partition, split_frames

ROLES, ATTRIBUTES = ("train", "validation", "test"), ("trained", "validated", "tested", "left_out")


@dataclass(frozen=True)
class Met:
    """Frames that the trainings of a model have met.

    Attributes:
        trained, validated, tested, left_out: digests by what was done with them; what is in several was trained on, or
            else is tested on, validated on and left out, in this order.
        unknown: paths of stores whose frames are not known any more.
    """

    trained: np.ndarray
    validated: np.ndarray
    tested: np.ndarray
    left_out: np.ndarray
    unknown: tuple[str, ...] = ()

    @classmethod
    def by(cls, uses: Sequence[UsedFrames], *stores: GraphStore) -> "Met":
        """Those of some trainings.

        Args:
            uses: what the trainings used, as of `uses_of`.
            stores: that are read in any case; others are looked for at their paths.
        """
        found: list[list[np.ndarray]] = [[np.empty(0, np.uint64)] for _ in (*ROLES, "left out")]
        unknown = list[str]()
        for use in uses:
            there = _store_of(use, stores) if any(getattr(use, role) for role in ROLES) else None
            if there is None:
                unknown.append(use.store)
                continue
            store, n = there
            digests, rest = store.column("digest")[:n], np.ones(n, bool)
            for place, role in enumerate(ROLES):
                mine = frames_of(getattr(use, role))
                found[place].append(digests[mine])
                rest[mine] = False
            found[-1].append(digests[rest])
        trained, validated, tested, left_out = (np.unique(np.concatenate(each)) for each in found)
        tested = np.setdiff1d(tested, trained)
        validated = np.setdiff1d(validated, np.union1d(trained, tested))
        known = np.concatenate([trained, tested, validated])
        return cls(trained, validated, tested, np.setdiff1d(left_out, known), tuple(unknown))

    def of(self, store: GraphStore, *roles: str) -> np.ndarray:
        """[frames] whether the frames of a store have one of these roles, which are names of attributes."""
        digests = store.column("digest")
        return np.isin(digests, np.concatenate([getattr(self, role) for role in roles]))


def uses_of(p: Provenance, *stores: GraphStore) -> tuple[UsedFrames, ...]:
    """What the trainings of a model used; of a store whose frames are not known any more, its path alone.

    A model from before this was recorded has its held-out frames alone: all others may have been trained on.

    Args:
        p: provenance of the model.
        stores: that are read in any case.
    """
    if p.used:
        return p.used
    earlier = (UsedFrames(store=p.started_from),) if p.started_from else ()
    own = UsedFrames(store=p.data, checksum=p.data_checksum)
    if (there := _store_of(own, stores)) is None:
        return own.override(checksum=""), *earlier
    held = list[int]()
    if p.held_out:
        held = frames_of(p.held_out)
    elif not p.validation_data:
        held = split_frames(there[1], p.validation, p.seed, how=p.split)[1]
    train = sorted(set(range(there[1])) - set(held))
    return own.override(train=tuple(ranges_of(train)), validation=tuple(ranges_of(held))), *earlier


def held_out_frames(p: Provenance, store: GraphStore) -> list[int] | None:
    """The frames of a store with all training frames of a model that it was not trained on; None for other stores.

    Those to test on, where its split had some, else the validation frames; and, in a store that its training store was
    added to or merged into, all others.
    """
    met, digests = Met.by(uses_of(p, store), store), store.column("digest")
    if not len(met.trained) or not np.isin(met.trained, digests).all():
        return None
    tested = met.of(store, "tested")
    held = (tested if tested.any() else met.of(store, "validated")) | ~met.of(store, *ATTRIBUTES)
    return np.flatnonzero(held).tolist() or None


def _store_of(use: UsedFrames, stores: Sequence[GraphStore]) -> tuple[GraphStore, int] | None:
    """A store that begins with the frames that were used, and their number; None where there is none."""
    for store in stores:
        if (n := store.begins_with(use.checksum)) is not None:
            return store, n
    try:
        store = GraphStore(use.store)
        n = store.begins_with(use.checksum)
    except InputError:  # none there, or a damaged one
        return None
    return None if n is None else (store, n)


def kept_apart(parts: Partition, store: GraphStore, met: Met, validation: float, seed: int) -> Partition:
    """A partition of a store for a training that begins with a model that has met some of its frames.

    What the model held out stays held out, and what it was trained on trains again. Frames that are new to it are
    divided as before; where none of them would validate, some are chosen that do.

    Args:
        parts: as the store would be divided for a model that knows none of it.
        store: of the frames.
        met: what the model has met.
        validation: fraction to hold out, where frames are chosen.
        seed: of that choice.
    """
    n = len(store)
    trained, validated = met.of(store, "trained"), met.of(store, "validated")
    tested, left_out = met.of(store, "tested"), met.of(store, "left_out")
    new = ~(trained | validated | tested | left_out)
    if new.all():
        return parts
    test, validates = tested | (_mask(parts.test, n) & new), validated | (_mask(parts.validation, n) & new)
    trains = trained | (_mask(parts.train, n) & new)
    if not validates.any():
        free = np.flatnonzero(new if new.sum() >= 2 else ~tested)
        validates[free[split_frames(len(free), validation, seed)[1]]] = True
        trains &= ~validates
    if not trains.any():  # it has held out all of the store, and any of it may train
        return parts
    train, validating = np.flatnonzero(trains).tolist(), np.flatnonzero(validates).tolist()
    if (train, validating) == (parts.train, parts.validation):
        return replace(parts, test=np.flatnonzero(test).tolist())
    how = f"What the model it begins with has held out stays held out. Other frames: {parts.how}"
    return Partition(train, validating, np.flatnonzero(test).tolist(), how=how)


def _mask(frames: Sequence[int], n: int) -> np.ndarray:
    found = np.zeros(n, bool)
    found[list(frames)] = True
    return found


def doubtful(met: Met, start: str, validated: GraphStore, frames: Sequence[int]) -> str:
    """A sentence that says why the error on validation frames may be too low; empty where nothing is known of it.

    Args:
        met: what the model that a training begins with has met.
        start: path of this model.
        validated: store of the validation frames.
        frames: their numbers.
    """
    twice = int(met.of(validated, "trained")[list(frames)].sum())
    if twice:
        return (
            f"{start} was trained on {twice} of the {len(frames)} validation frames, so the validation error is too "
            "low and says nothing of other frames."
        )
    if met.unknown:
        gone = ", ".join(sorted(set(met.unknown)))
        return (
            f"It is not known which frames {start} was trained on ({gone} is not here, or has changed), so they may be "
            "among the validation frames, whose error is then too low."
        )
    return ""
