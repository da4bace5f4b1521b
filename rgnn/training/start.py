"""A training that begins with a trained model: its weights, its cells or others, and frames of before.

What is kept: trained weights; with the same cells also the cells, the ranges of converters and the statistics of
moments and norms, which follow the new frames as slowly as at the end of any training. What is made again: ranges that
other hardware needs; on another chip all ranges and statistics, and the mixtures of channels
(`rgnn.models.transfer.match_cells`). Reference energies are refit to the new frames before the first step.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from rgnn.base.errors import InputError
from rgnn.base.estimate import evenly
from rgnn.base.rng import stream_seed
from rgnn.chip.chip import Chip
from rgnn.chip.hardware import Hardware
from rgnn.data.replay import ReplayedFrames, holds
from rgnn.data.store.reader import GraphStore, require_cutoff
from rgnn.data.store.split import held_out_frames, split_frames
from rgnn.models import families
from rgnn.models.base import ForceField
from rgnn.models.calibration import CALIBRATION_FRAMES, calibrate, needs_calibration
from rgnn.models.checkpoints import load_model
from rgnn.models.settings import ModelSettings
from rgnn.models.transfer import cells_of, elements_of, match_cells, take_over
from rgnn.training.chip_size import weights_on_chip

# Frames that a model on other cells is matched on, and held-out frames of before that its error is measured on.
MATCHED, REMEMBERED = 48, 32


def load_start(path: str | Path) -> ForceField:
    """The model that a training may begin with.

    Raises:
        InputError: there is none, or its weights are solved for.
    """
    model = load_model(path)
    if model.linear is not None:
        raise InputError(
            f"{path}: its weights are solved for in one pass, which begins with nothing; train on all frames, or add "
            "frames to it with --add-to."
        )
    return model


def begun(
    path: str,
    shape: ModelSettings,
    hardware: Hardware,
    chip: Chip | None,
    store: GraphStore,
    train: Sequence[int],
    seed: int,
    reuse: bool,
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

    Raises:
        InputError: another cutoff, a chip that is too small, or new elements on a chip that is not named.
    """
    old = load_start(path)
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
    if not same:
        match_cells(model, old, [store.graph(k) for k in evenly(train, MATCHED)], seed)
    if needs_calibration(model, hardware):
        calibrate(model, [store.graph(k) for k in evenly(train, CALIBRATION_FRAMES)], hardware, seed)
    return model


def replay_of(path: str | Path, store: GraphStore) -> str | None:
    """The store of a model's training where it is still as it was and a new store does not hold its frames."""
    provenance = load_start(path).provenance
    try:
        old = GraphStore(provenance.data)
    except InputError:
        return None
    same = old.checksum == provenance.data_checksum and old.cutoff == store.cutoff
    return provenance.data if same and not holds(store, old) else None


class Memory:
    """The frames of before: those that are replayed, and those that tell what was forgotten.

    Args:
        path: of their store.
        new: the store that is learned.
        model: of the run.
        share: of the frames of an epoch that are replayed; 0 replays none.
        start: path of the model that the training begins with.
        seed: of the split of a store that the model was not trained on.

    Raises:
        InputError: no such store, another cutoff, or elements that the model does not know.
    """

    def __init__(self, path: str, new: GraphStore, model: ForceField, share: float, start: str, seed: int) -> None:
        self.store, self.share = GraphStore(path), share
        require_cutoff(self.store, new.cutoff)
        if strange := sorted(set(self.store.elements) - set(elements_of(model) or self.store.elements)):
            raise InputError(f"{path}: has elements {strange} that the model has no rows for; replay another store.")
        held = held_out_frames(load_start(start).provenance, self.store)
        if held is None:
            held = split_frames(len(self.store), 0.1, seed)[1]
        self.held_out = evenly(held, REMEMBERED)
        self.replayed = sorted(set(range(len(self.store))) - set(held))
        self.frames = ReplayedFrames(new, self.store, self.replayed, share) if share > 0 else new
