"""A training that begins with a trained model: its weights, its cells or others, and frames of before.

What is kept: trained weights; with the same cells also the cells, the ranges of converters and the statistics of
moments and norms, which follow the new frames as slowly as at the end of any training. What is made again: ranges that
other hardware needs; on another chip all ranges and statistics, and the mixtures of channels
(`rgnn.models.transfer.match_cells`). Reference energies are refit to the new frames before the first step.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from rgnn.base.errors import InputError
from rgnn.base.estimate import evenly
from rgnn.base.provenance import UsedFrames, ranges_of
from rgnn.base.rng import stream_seed
from rgnn.chip.chip import Chip
from rgnn.chip.hardware import Hardware
from rgnn.data.loader import sampled
from rgnn.data.met import Met, doubtful, uses_of
from rgnn.data.replay import ReplayedFrames
from rgnn.data.store.reader import GraphStore, require_cutoff
from rgnn.data.store.split import split_frames
from rgnn.graphs.graph import Graph, LabelledFrames
from rgnn.models import families
from rgnn.models.base import ForceField
from rgnn.models.calibration import CALIBRATION_FRAMES, calibrate, needs_calibration
from rgnn.models.checkpoints import ModelCard, load_model, read_card
from rgnn.models.settings import ModelSettings
from rgnn.models.transfer import cells_of, elements_of, match_cells, take_over
from rgnn.training.chip_size import weights_on_chip

# Frames that a model on other cells is matched on, and held-out frames of before that its error is measured on.
MATCHED, REMEMBERED = 48, 32
# Frames with each element among those that are matched, where there are so many.
LEAST_MATCHED = 8


def read_start(path: str | Path) -> ModelCard:
    """What the model that a training may begin with says of itself.

    Raises:
        InputError: there is none, it is a committee, or its weights are solved for.
    """
    card = read_card(path)
    if card.settings.is_solved:
        raise InputError(
            f"{path}: its weights are solved for in one pass, which begins with nothing; train on all frames, or add "
            "frames to it with --add-to."
        )
    if card.members > 1:
        raise InputError(
            f"{path}: is a committee of {card.members} models, and a training begins with one; name a model that was "
            "trained without --chips."
        )
    return card


def begun(
    path: str,
    shape: ModelSettings,
    hardware: Hardware,
    chip: Chip | None,
    store: GraphStore,
    train: Sequence[int],
    seed: int,
    reuse: bool,
    memory: "Memory | None" = None,
) -> ForceField:
    """An untrained model of a run with the weights of a trained one.

    Args:
        path: of the trained model.
        shape: settings of that model; elements of the store are added to them.
        hardware: that is trained for.
        chip: whose cells the model gets; None keeps those of the trained model.
        store: of the frames.
        train: numbers of the training frames.
        seed: of cells and weights that are new.
        reuse: whether a chip that is too small gives its cells several times.
        memory: frames that are replayed.

    Raises:
        InputError: another cutoff, a chip that is too small, new elements on a chip that is not named, or another chip
            without frames of all elements.
    """
    read_start(path)
    old = load_model(path)
    require_cutoff(store, old.settings.cutoff)
    shape = shape.with_elements(store.elements)
    old.provenance = old.provenance.override(elements=tuple(sorted({*old.elements, *store.elements})))
    shapes, more = families.family_of(shape).matrices(shape), shape != old.settings
    grows = more and bool(elements_of(old))
    seen = old.provenance
    if chip is not None:
        if grows:
            raise InputError(
                f"{store.path}: has elements that {path} was not trained for, and another chip is named; begin with "
                "the elements on the cells of the model, and move the result to the chip after that."
            )
        cells = chip.matrices(shapes, seed, reuse=reuse)
        reused = chip.measured and weights_on_chip(shape) > len(chip.weights)
        seen = seen.override(chip=chip.source, chip_is_measured=chip.measured, cells_are_reused=reused)
    elif grows and seen.chip_is_measured:
        raise InputError(
            f"{store.path}: has elements that {path} was not trained for, and they need more cells of its measured "
            f"chip ({seen.chip}) than the model holds; train a model on frames with all elements instead."
        )
    else:
        cells = cells_of(old, Chip.synthetic(stream_seed(seed, "new elements")).matrices(shapes), shape)
    model = families.build(shape, hardware, cells, seed)
    model.provenance = seen
    same = all(torch.equal(a.weight, b.weight) for a, b in zip(old.crossbars, model.crossbars, strict=True)) or grows
    take_over(model, old, same_cells=same)
    model.eval()
    learned: LabelledFrames = store if memory is None else memory.frames
    if not same:
        there = {*store.elements, *(() if memory is None else memory.elements)}
        if lost := sorted(set(elements_of(old)) - there):
            symbols = " ".join(chemical_symbols[z] for z in lost)
            raise InputError(
                f"{store.path}: has no {symbols}, which {path} knows and which must be learned again on another chip; "
                "replay a store that has it (--replay STORE), or keep the chip of the model."
            )
        match_cells(model, old, _with_all(elements_of(old), learned, train, memory), seed)
    if needs_calibration(model, hardware):
        calibrate(model, [learned.graph(k) for k in sampled(learned, train, CALIBRATION_FRAMES)], hardware, seed)
    return model


def _with_all(
    elements: Sequence[int], learned: LabelledFrames, train: Sequence[int], memory: "Memory | None"
) -> list[Graph]:
    """Frames to match cells on: some evenly chosen, and the first others with elements that few of these have."""
    chosen = sampled(learned, train, MATCHED)
    found = [learned.graph(k) for k in chosen]
    with_it = Counter(z for g in found for z in set(g.atomic_numbers.tolist()))
    for index in sorted({*train, *(() if memory is None else memory.numbers)}.difference(chosen)):
        rare = {z for z in elements if with_it[z] < LEAST_MATCHED}
        if not rare:
            break
        g = learned.graph(index)
        if mine := rare.intersection(g.atomic_numbers.tolist()):
            found.append(g)
            with_it.update(mine)
    return found


def replay_of(path: str | Path, store: GraphStore, validated: GraphStore | None = None) -> str | None:
    """The store of a model's training where it is still there and has frames to replay beside a new store.

    Args:
        path: of the model.
        store: the new store.
        validated: store of the validation frames, where it is another one.
    """
    provenance = read_start(path).provenance
    try:
        old = GraphStore(provenance.data)
    except InputError:
        return None
    if old.cutoff != store.cutoff or old.begins_with(provenance.data_checksum) is None:
        return None
    apart = [store] if validated is None else [store, validated]
    met = Met.by(uses_of(provenance, old, *apart), old, *apart)
    return provenance.data if _replayable(old, met, apart).any() else None


def _replayable(old: GraphStore, met: Met, apart: Sequence[GraphStore]) -> np.ndarray:
    """[frames] whether a frame of a store may be replayed: it was not held out before, and no other store has it."""
    known = np.concatenate([store.column("digest") for store in apart])
    return ~met.of(old, "validated", "tested", "left_out") & ~np.isin(old.column("digest"), known)


class Memory:
    """The frames of before: those that are replayed, and those that tell what was forgotten.

    Args:
        store: of these frames.
        new: the store that is learned.
        validated: store of the validation frames, where it is another one.
        train: numbers of the frames of `new` that are trained on.
        elements: that the model has rows for; empty where it takes any.
        share: of the frames of an epoch that are replayed; 0 replays none.
        met: what the model that the training begins with has met.
        seed: of the split of a store that it has not met.

    Attributes:
        held: numbers of frames that neither training has trained on.
        replayed: numbers of frames that may be replayed.
        frames: the new ones, and the replayed ones where there is a share.

    Raises:
        InputError: another cutoff, elements that the model does not know, or nothing to replay.
    """

    def __init__(
        self,
        store: GraphStore,
        new: GraphStore,
        validated: GraphStore | None,
        train: Sequence[int],
        elements: Sequence[int],
        share: float,
        met: Met,
        seed: int,
    ) -> None:
        self.store, self.share = store, share
        require_cutoff(store, new.cutoff)
        if strange := sorted(set(self.store.elements) - set(elements or self.store.elements)):
            raise InputError(
                f"{store.path}: has elements {strange} that the model has no rows for; replay another store."
            )
        held = met.of(self.store, "validated", "tested")
        free = _replayable(self.store, met, [new] if validated is None else [new, validated])
        if not held.any() and not met.of(self.store, "trained").any():
            held[split_frames(len(self.store), 0.1, seed)[1]] = True
            free &= ~held
        digests = self.store.column("digest")
        held &= ~np.isin(digests, new.column("digest")[list(train)])
        self.held = np.flatnonzero(held).tolist()
        self.replayed = np.flatnonzero(free).tolist()
        if share > 0 and not self.replayed:
            raise InputError(
                f"{store.path}: has no frame to replay, since {new.path} holds those that may be; leave --replay out."
            )
        self.frames: LabelledFrames = ReplayedFrames(new, self.store, self.replayed, share) if share > 0 else new

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of the store whose frames are replayed; empty where none are."""
        return self.store.elements if self.share > 0 else ()

    @property
    def numbers(self) -> list[int]:
        """Numbers of the replayed frames among `frames`."""
        return [self.frames.number(k) for k in self.replayed] if isinstance(self.frames, ReplayedFrames) else []

    @property
    def held_out(self) -> list[int]:
        """Numbers of the frames that tell what was forgotten; there may be none."""
        return evenly(self.held, REMEMBERED)

    @property
    def used(self) -> tuple[UsedFrames, ...]:
        """What a record keeps of the frames that are replayed."""
        if self.share == 0:
            return ()
        train, held = tuple(ranges_of(self.replayed)), tuple(ranges_of(self.held))
        path, checksum = str(self.store.path), self.store.checksum
        return (UsedFrames(store=path, checksum=checksum, train=train, validation=held),)

    def epoch(self, train: int, atoms: float) -> tuple[int, float]:
        """Frames of an epoch and the mean number of their atoms, beside so many new frames of so many atoms."""
        if not isinstance(self.frames, ReplayedFrames):
            return train, atoms
        old = self.frames.in_epoch(train)
        of_old = float(self.store.column("n_atoms")[self.replayed].mean())
        return train + old, (train * atoms + old * of_old) / (train + old)


class Beginning:
    """The model that a training begins with, as far as it decides on frames.

    Args:
        path: of the model.
        store: that is learned.
        validated: store of the validation frames, where it is another one.
        replay: path of the store of the frames of before.

    Attributes:
        card: what the model says of itself.
        uses: frames that its trainings used.
        met: the same, by digests.

    Raises:
        InputError: as of `read_start`, or no store there.
    """

    def __init__(
        self, path: str, store: GraphStore, validated: GraphStore | None = None, replay: str | None = None
    ) -> None:
        self.path, self.store, self.validated, self.card = path, store, validated, read_start(path)
        self.replay = None if replay is None else GraphStore(replay)
        read = [each for each in (store, validated, self.replay) if each is not None]
        self.uses = uses_of(self.card.provenance, *read)
        self.met = Met.by(self.uses, *read)

    def doubt(self, validation: Sequence[int]) -> str:
        """A sentence that says why the error on validation frames may be too low; empty where none is known."""
        return doubtful(self.met, self.path, self.validated or self.store, validation)

    def memory(self, train: Sequence[int], share: float, seed: int) -> Memory | None:
        """The frames of before, where a store of them was named; other arguments and errors as of `Memory`."""
        if self.replay is None:
            return None
        known = getattr(self.card.settings, "elements", ())
        elements = sorted({*known, *self.store.elements}) if known else ()
        return Memory(self.replay, self.store, self.validated, train, elements, share, self.met, seed)
