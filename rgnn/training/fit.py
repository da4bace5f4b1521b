"""The one entrance to training: a model is fitted in the way that its weights allow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rgnn.base.errors import InputError
from rgnn.base.events import SILENT, Listener
from rgnn.graphs.graph import LabelledFrames
from rgnn.models.base import ForceField
from rgnn.training.distributed import ALONE, Processes
from rgnn.training.gradient import GradientFit
from rgnn.training.linear import LinearFit
from rgnn.training.settings import TrainingSettings
from rgnn.training.validation import FitResult


class Fitter(Protocol):
    """A way to fit a model: its state, and the loop that changes it.

    Attributes:
        numbers: checksum of the numbers of its training and validation frames; empty before there are any.
    """

    numbers: str

    def start(self) -> None:
        """Prepare a new run; only the first process does."""

    def restore(self) -> None:
        """Restore the state of an interrupted run; only the first process does."""

    def run(
        self,
        frames: LabelledFrames,
        train: Sequence[int],
        validation: Sequence[int],
        listener: Listener = SILENT,
    ) -> FitResult:
        """Fit to the end."""


def fit(
    model: ForceField,
    frames: LabelledFrames,
    train: Sequence[int],
    validation: Sequence[int],
    settings: TrainingSettings,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    listener: Listener = SILENT,
    processes: Processes = ALONE,
) -> FitResult:
    """Fit `model` in place: solve for its weights where forces are linear in them, else follow the gradient.

    Args:
        model: on the device to train on.
        frames: the labelled frames.
        train: numbers of those to train on.
        validation: numbers of those to validate on.
        settings: how to train.
        out: run folder; None keeps nothing.
        resume: continue from out/state.safetensors.
        listener: receives steps and epochs, and may ask to stop.
        processes: that share the frames of each step; the first of them writes.

    Raises:
        BrokenRunError: the loss is not finite. Best and last model stay as they were.
        Interrupted: the listener asked to stop; the state is saved.
        InputError: nothing to train on, fewer frames in a step than processes, or a state that does not fit.
        OSError: out cannot be written (a full disk); what was saved before stays whole.
    """
    if not len(train) or not len(validation):
        raise InputError(f"{len(train)} training and {len(validation)} validation frames; each needs at least one.")
    fitter = fitter_for(model, settings, None if out is None else Path(out), processes)
    if processes.first:
        if resume:
            fitter.restore()
        else:
            fitter.start()
    return fitter.run(frames, train, validation, listener)


def fitter_for(
    model: ForceField,
    settings: TrainingSettings,
    out: Path | None,
    processes: Processes = ALONE,
    adds_to: Path | None = None,
    keeps_start: bool = False,
) -> Fitter:
    """The fitter of a model.

    Args:
        model: on the device to train on.
        settings: how to train.
        out: run folder; None keeps nothing.
        processes: that share the frames of each step.
        adds_to: a run that was solved for, whose sums are continued with other frames.
        keeps_start: the weights of the model are trained, and are kept unless an epoch is better.

    Raises:
        InputError: frames can only be added to a run that was solved for; or too few frames in a step.
    """
    if model.linear is not None:
        return LinearFit(model, settings, out, processes, adds_to)
    if adds_to is not None:
        raise InputError(f"{adds_to}: was not solved for, and frames can only be added to such a run; train again.")
    require_frames_for(settings, processes)
    fitter = GradientFit(model, settings, out, processes)
    fitter.keeps_start = keeps_start
    return fitter


def require_frames_for(settings: TrainingSettings, processes: Processes) -> None:
    """Raise InputError where some of the processes would have nothing to do in any step."""
    if processes.count > settings.batch_size:
        raise InputError(
            f"batch_size is {settings.batch_size}, too few frames for {processes.count} processes to share; give a "
            "larger batch size, or start fewer processes."
        )
