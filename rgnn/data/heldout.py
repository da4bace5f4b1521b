"""A training store beside another with the frames to validate on."""

from collections.abc import Sequence

from rgnn.data.store.reader import GraphStore
from rgnn.graphs.graph import Graph, LabelledFrames


class ValidatedElsewhere:
    """Frames to train on by their numbers, and those of another store by numbers from -1 downwards.

    Args:
        training: frames to train on.
        validation: the other store.
    """

    def __init__(self, training: LabelledFrames, validation: GraphStore) -> None:
        self.training, self.validation = training, validation

    def numbers(self, frames: Sequence[int]) -> list[int]:
        """The numbers here of frames of the other store."""
        return [-1 - k for k in frames]

    def graph(self, index: int) -> Graph:
        """The labelled graph of a frame."""
        return self.training.graph(index) if index >= 0 else self.validation.graph(-1 - index)
