"""What the error on validation frames says of other trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass

from rgnn.base.estimate import evenly
from rgnn.data.nearness import Nearness, nearness
from rgnn.data.store.reader import GraphStore
from rgnn.models.base import ForceField
from rgnn.training.validation import validate

# Training frames that the error is measured on, evenly chosen.
MOST_FRAMES = 24
# From here on another trajectory is said to be worse.
NOTABLE = 1.3


@dataclass(frozen=True)
class Outlook:
    """The error to expect on another trajectory.

    What a model errs more on held-out frames than on those that it was trained on is taken to grow with the distance of
    their neighbourhoods to the nearest ones in training.

    Attributes:
        nearness: of the validation frames.
        trained: relative force error on training frames.
        validation: relative force error on the validation frames.
    """

    nearness: Nearness
    trained: float
    validation: float

    @property
    def factor(self) -> float:
        """The error on another trajectory over that on the validation frames, 1 at least."""
        excess = max(0.0, self.validation - self.trained)
        return 1 + excess * (self.nearness.ratio - 1) / max(self.validation, 1e-12)

    @property
    def is_worse(self) -> bool:
        """Whether the validation error is too good to be that of another trajectory."""
        return self.factor >= NOTABLE

    def describe(self) -> str:
        """In one or two sentences, for people."""
        n = self.nearness
        said = ""
        if n.displacement is not None:
            far = "" if n.unrelated is None else f", unrelated training frames {n.unrelated:.2f} Å from each other"
            said = (
                f"Validation frames lie {n.displacement:.2f} Å from the nearest training frame{far} "
                "(rms displacement of an atom). "
            )
        return said + (
            f"By the distances of their neighbourhoods, other trajectories may have {self.factor:.1f} times "
            "the validation error."
        )


def outlook(
    model: ForceField, store: GraphStore, train: Sequence[int], validation: Sequence[int], error: float, seed: int
) -> Outlook:
    """How a model that was trained on some frames of a store will do elsewhere.

    Args:
        model: the trained one.
        store: of training and validation frames.
        train: numbers of the training frames.
        validation: numbers of the validation frames.
        error: relative force error on the validation frames.
        seed: of the read noise.
    """
    trained = validate(model, store, evenly(list(train), MOST_FRAMES), seed).relative
    return Outlook(nearness(store, train, validation), trained, error)
