"""What takes the place of the simulated cells of a crossbar: a recorder of their codes, or a board."""

from typing import Protocol

import torch
from torch import Tensor

from rgnn.chip.board.names import array_name
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.chip.noise import CacheKey, Noise
from rgnn.chip.product import AnalogProduct


class Tap(Protocol):
    """Stands between the crossbars of a model and their cells, for a pass or for a run."""

    def hardware(self, wanted: Hardware) -> Hardware:
        """The part of the hardware that is still simulated."""

    def cells(self, crossbar: Crossbar, call: AnalogProduct) -> Noise:
        """What forms the products of a call of a crossbar, in place of the noise that would simulate them."""


class Recorder:
    """Keeps the codes that one array is driven with, and leaves all products as they are.

    Args:
        array: name of the array.

    Attributes:
        codes: of each accumulation, [rows, in], zero on the inputs that it does not drive.
    """

    def __init__(self, array: str) -> None:
        self.array, self.codes = array, list[Tensor]()

    def hardware(self, wanted: Hardware) -> Hardware:
        """All of it."""
        return wanted

    def cells(self, crossbar: Crossbar, call: AnalogProduct) -> Noise:
        """Those of the simulator, recorded where they are of the array."""
        return Recorded(call.noise, self.codes) if array_name(crossbar) == self.array else call.noise


class Recorded:
    """Cells whose codes are recorded.

    Args:
        inner: the cells.
        into: where codes [rows, in] are appended.
    """

    has_closed_form = False  # kernels would not ask for products one by one

    def __init__(self, inner: Noise, into: list[Tensor]) -> None:
        self.inner, self.into = inner, into
        self.weight, self.strength, self.bits, self.draws_rows = (
            inner.weight,
            inner.strength,
            inner.bits,
            inner.draws_rows,
        )

    @property
    def variance(self) -> Tensor | None:
        """See `Noise`."""
        return self.inner.variance

    @property
    def fluctuations(self) -> Tensor | None:
        """See `Noise`."""
        return self.inner.fluctuations

    def cache_key(self) -> CacheKey | None:
        """None: nothing may be prepared of it."""
        return None

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """See `Noise`."""
        self.into.append(spread_over(q, columns, self.weight.shape[1]))
        return self.inner.product(q, columns, key, first)


def spread_over(q: Tensor, columns: Tensor | slice, inputs: int) -> Tensor:
    """[rows, inputs] codes of which those on these columns are q, and all others are not driven."""
    if isinstance(columns, slice) and columns == slice(None):
        return q.clone()
    every = torch.zeros(len(q), inputs, dtype=q.dtype, device=q.device)
    every[:, columns] = q
    return every
