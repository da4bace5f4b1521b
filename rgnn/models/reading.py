"""How a forward pass reads the chip: everything that a pass needs beside the model and the graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rgnn.chip.board.tap import Tap
from rgnn.chip.converters import Counts
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.chip.product import AnalogProduct, Gradient
from rgnn.chip.slow import Moment
from rgnn.kernels import PLAIN, Kernels
from rgnn.models.parts.radial import Gaussians

# Counts of what each crossbar clips, by its (layer, matrix).
Monitor = dict[tuple[int, int], Counts]


@dataclass(frozen=True)
class ChipReading:
    """How one forward pass reads the chip.

    Attributes:
        hardware: converters and fluctuations.
        generator: stream of the read noise of this pass; None reads without noise.
        kernels: what computes the products and sums.
        monitor: counts of what each crossbar clips are added to it; None counts nothing and is faster.
        gradient: what training sees of the analog products.
        tap: takes the place of the simulated cells, such as a board that is measured; None simulates them.
        moment: when the chip is read, for what fluctuates slowly; None reads it without slow fluctuations.
    """

    hardware: Hardware
    generator: torch.Generator | None = None
    kernels: Kernels = field(default=PLAIN)
    monitor: Monitor | None = None
    gradient: Gradient = "blocked"
    tap: Tap | None = None
    moment: Moment | None = None

    def begin(self, crossbar: Crossbar, inputs: Callable[[], Sequence[Tensor]]) -> AnalogProduct:
        """A call of one crossbar.

        Args:
            crossbar: the matrix.
            inputs: gives tensors that span all inputs of the call; asked only where the input range follows them.
        """
        counts = None if self.monitor is None else self.monitor.setdefault(crossbar.place, Counts())
        seen = None
        if crossbar.follows(self.hardware):
            spans = [x.detach() for x in inputs()]
            seen = torch.stack([x.amin() for x in spans]).amin(), torch.stack([x.amax() for x in spans]).amax()
        call = crossbar.begin(self.hardware, self.generator, seen, counts, self.gradient, self.moment)
        if self.tap is not None:
            call.noise = self.tap.cells(crossbar, call)
        return call

    def product(self, crossbar: Crossbar, *inputs: Tensor, relu: bool = False) -> Tensor:
        """A([inputs]; W) [rows, out], or relu of it, for inputs [rows, ...] whose widths add up to those of W."""
        call = self.begin(crossbar, lambda: inputs)
        return call.with_gradient(
            lambda x: self.kernels.products.product(call, x, relu=relu), torch.cat(inputs, dim=1), relu=relu
        )

    def of_gaussians(self, crossbar: Crossbar, gaussians: Gaussians, d: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
        """A and dA/dd [E, out] of Gaussians of distances d [E] in Angstrom; each drives one block [E] of the columns.

        A converter has no sign, so the slope is read twice, A(x'+) - A(x'-), driven by what rises and by what falls.
        Slopes are divided by the largest first, so that the codes of all three reads span 0 to 1.
        """
        call = self.begin(crossbar, lambda: (d.new_tensor([0.0, 1.0]),))
        return self.kernels.products.of_gaussians(call, gaussians.mu.detach(), gaussians.s.detach(), d, block)

    def accumulate(self, call: AnalogProduct, columns: Tensor, *inputs: Tensor) -> Tensor:
        """[rows, out] sums of a call in code units, for inputs [rows, ...] on these columns of its matrix."""
        return call.with_gradient(
            lambda x: self.kernels.products.accumulate(call, x, columns),
            torch.cat(inputs, dim=1),
            columns,
            finished=False,
        )
