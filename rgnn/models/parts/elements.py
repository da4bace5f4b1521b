"""The elements that a model tells apart, as rows of its tables."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rgnn.base.errors import InputError


@dataclass(frozen=True)
class ElementAxis:
    """The axis of a tensor whose entries belong to elements, as many to each.

    Attributes:
        number: of the axis.
        pairs: whether its entries belong to pairs (centre, neighbour) instead.
    """

    number: int = 0
    pairs: bool = False


class Elements(nn.Module):
    """Rows of elements: [N] atomic numbers -> [N] places among those of the model.

    Args:
        numbers: atomic numbers that have rows, in order.
    """

    index: Tensor

    def __init__(self, numbers: tuple[int, ...]) -> None:
        super().__init__()
        self.numbers = numbers
        index = torch.full((120,), -1)
        index[list(numbers)] = torch.arange(len(numbers))
        self.register_buffer("index", index, persistent=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def forward(self, atomic_numbers: Tensor) -> Tensor:
        """The rows.

        Raises:
            InputError: an element that the model has no row for.
        """
        rows = self.index[atomic_numbers]
        if bool((rows < 0).any()):
            strange = sorted(set(atomic_numbers[rows < 0].tolist()))
            raise InputError(
                f"atomic numbers {strange} are not among those the model has rows for: {self.numbers}; train one on "
                "frames with all elements."
            )
        return rows
