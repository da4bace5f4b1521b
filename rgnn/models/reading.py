"""How the chip is read during a forward pass."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from rgnn.chip.converters import Counts
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.chip.product import AnalogProduct
from rgnn.kernels import Kernels, Plain

# Counts of what each crossbar clips, by its (layer, matrix).
Monitor = dict[tuple[int, int], Counts]


@dataclass(frozen=True)
class ChipReading:
    """How the chip is read during one forward pass: its hardware, the noise of this pass, and by which kernels.

    Attributes:
        monitor: counts of what each array clips, by its place; None counts nothing and is faster.
    """

    hardware: Hardware
    generator: torch.Generator | None = None
    kernels: Kernels = field(default_factory=Plain)
    monitor: Monitor | None = None
    gradient_: Literal["blocked", "straight_through"] = "blocked"

    def gradient(self) -> AbstractContextManager[None]:
        """Around the analog products: no gradient enters them, but for kernels that let it straight through."""
        return nullcontext() if self.kernels.carries_gradient else torch.no_grad()

    def begin(self, array: Crossbar, inputs: Callable[[], Sequence[Tensor]]) -> AnalogProduct:
        """A call of one array whose range spans all the inputs, asked for only where it follows them."""
        counts = None if self.monitor is None else self.monitor.setdefault(array.place, Counts())
        if not array.follows(self.hardware):
            return array.begin(self.hardware, self.generator, counts=counts)
        seen = [x.detach() for x in inputs()]
        low = torch.stack([x.amin() for x in seen]).amin()
        high = torch.stack([x.amax() for x in seen]).amax()
        return array.begin(self.hardware, self.generator, (low, high), counts)

    def product(self, array: Crossbar, *inputs: Tensor, relu: bool = False) -> Tensor:
        """A([inputs]; W), or relu of it, for a concatenation of inputs with the same rows."""
        return self.kernels.product(self.begin(array, lambda: inputs), torch.cat(inputs, dim=1), relu=relu)
