"""The digital part of a trained model fitted again, to what a chip gives now: drifted, relaxed, or on a board.

Forces that are linear in their weights: with the features P that are read now, F - P w0 is what the old weights w0
miss, and (A + penalty mean(diag A)) d = b of these residuals corrects them, w = w0 + d (`rgnn.training.linear`). The
penalty of each element is chosen on validation frames, so that few frames move the weights little.

Other models: a few epochs of `rgnn.training.gradient` from the weights as they are, at a small rate; statistics of
norms and ranges of converters follow along.
"""

from collections.abc import Sequence
from pathlib import Path

from rgnn.base.estimate import evenly
from rgnn.base.events import SILENT, Listener
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.split import split_frames
from rgnn.models.base import ForceField
from rgnn.training.gradient import GradientFit
from rgnn.training.linear import LinearFit
from rgnn.training.settings import TrainingSettings
from rgnn.training.validation import FitResult

# Of a fine-tune: passes over its frames, and the learning rate that it starts at.
EPOCHS, RATE = 6, 5e-4
# Share of the frames that choose the penalty, or the best epoch.
VALIDATION = 0.2


def refit_settings(seed: int = 0) -> TrainingSettings:
    """How the digital part is fitted again."""
    return TrainingSettings(
        epochs=EPOCHS, learning_rate=RATE, average=0.98, validation=VALIDATION, plateau_patience=1, seed=seed
    )


def refit_frames(store: GraphStore, allowed: Sequence[int], n: int) -> tuple[list[int], list[int]]:
    """Frames to fit and to validate on: `n` of those that are allowed, evenly chosen, in blocks.

    Raises:
        InputError: fewer than two frames.
    """
    chosen = evenly(list(allowed), n)
    train, validation = split_frames(len(chosen), VALIDATION, 0)
    return [chosen[k] for k in train], [chosen[k] for k in validation]


def refit(
    model: ForceField,
    store: GraphStore,
    train: Sequence[int],
    validation: Sequence[int],
    out: str | Path | None = None,
    *,
    seed: int = 0,
    listener: Listener = SILENT,
) -> FitResult:
    """Fit the digital part of a model again, in place, to what its chip gives now.

    Args:
        model: ready to predict; where it has a tap, what that gives.
        store: of labelled frames.
        train: numbers of those to fit on.
        validation: numbers of those that choose the penalty or the best epoch.
        out: folder for state and models; one with a state is continued.
        seed: of noise and order.
        listener: receives steps, and may ask to stop.

    Returns:
        The fit; its model is the given one where forces are linear, else the best epoch's.

    Raises:
        Interrupted: the listener asked to stop, or the board does not answer; the state is in `out`.
    """
    settings, folder = refit_settings(seed), None if out is None else Path(out)
    fitter: LinearFit | GradientFit
    if model.linear is not None:
        fitter = LinearFit(model, settings, folder, corrects=True)
    else:
        fitter = GradientFit(model, settings, folder)
    if folder is not None and (folder / "state.safetensors").exists():
        fitter.restore()
    return fitter.run(store, train, validation, listener)
