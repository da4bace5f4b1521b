"""Fit."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rgnn.base.errors import InputError
from rgnn.graphs.graph import LabelledFrames
from rgnn.models.base import ForceField
from rgnn.training.distributed import ALONE, Processes
from rgnn.training.gradient import GradientFit
from rgnn.training.log import Silent, Watcher
from rgnn.training.settings import TrainingSettings
from rgnn.training.validation import FitResult


def fit(
    model: ForceField,
    frames: LabelledFrames,
    train: Sequence[int],
    validation: Sequence[int],
    config: TrainingSettings,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
    processes: Processes = ALONE,
) -> FitResult:
    """Train `model` in place.

    Args:
        model: on the device to train on.
        frames: the labelled frames; `train` and `validation` number them.
        config: how to train.
        out: run folder; None keeps nothing.
        resume: go on from out/state.safetensors.
        watcher: is told of steps and epochs.
        stop: asked before each step; True saves the state and raises Interrupted.
        processes: that share the frames of each step; the first of them writes.

    Raises:
        BrokenRunError: the loss is not finite. Best and last model stay as they were.
        Interrupted: `stop` said so; the state is saved.
        InputError: nothing to train on, fewer frames in a step than processes, or a state that does not fit.
        OSError: out cannot be written (a full disk); what was saved before stays whole.
    """
    if not len(train) or not len(validation):
        raise InputError(f"{len(train)} training and {len(validation)} validation frames; each needs at least one.")
    trainer = GradientFit(model, config, None if out is None else Path(out), processes)
    if resume and processes.first:
        trainer.load()
    return trainer.run(frames, train, validation, watcher or Silent(), stop)
