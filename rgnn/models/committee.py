"""Several models on different cells as one: forces are their mean, and their spread says how sure it is."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rgnn.chip.cells import Cells
from rgnn.chip.converters import Counts
from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph
from rgnn.models.base import RGNN
from rgnn.models.settings import ModelConfig


class Committee(RGNN):
    """The first member, with the others beside it.

    Args:
        config, hardware: of every member.
        weights: of each member's chip.
        seeds: of each member.

    Attributes:
        others: the members after the first.
    """

    others: Sequence[RGNN]

    def __init__(
        self,
        config: ModelConfig,
        hardware: Hardware,
        weights: Sequence[Sequence[Sequence[Cells | Tensor]]],
        seeds: Sequence[int],
    ) -> None:
        super().__init__(config, hardware, weights[0], seeds[0])
        others = [RGNN(config, hardware, w, seed) for w, seed in zip(weights[1:], seeds[1:], strict=True)]
        self.others = nn.ModuleList(others)  # type: ignore[assignment]
        for number, other in enumerate(others, 1):
            for array in other.arrays:
                array.member = number

    def forward(
        self,
        g: Graph,
        hardware: Hardware | None = None,
        generator: torch.Generator | None = None,
        monitor: dict[tuple[int, int], Counts] | None = None,
    ) -> Tensor:
        """Forces [N, 3] in eV/Angstrom; each member reads its own chip. The chip of the first is monitored."""
        return self.of_members(g, hardware, generator, monitor).mean(0)

    def of_members(
        self,
        g: Graph,
        hardware: Hardware | None = None,
        generator: torch.Generator | None = None,
        monitor: dict[tuple[int, int], Counts] | None = None,
    ) -> Tensor:
        """[M, N, 3] forces of each member."""
        first = super().forward(g, hardware, generator, monitor)
        return torch.stack([first, *(m(g, hardware, generator) for m in self.others)])


def members(model: RGNN) -> list[RGNN]:
    """The models in a model: itself and, in a committee, the others.

    The first is the committee itself, whose features are those of its first member and whose forces are the mean.
    """
    return [model, *model.others] if isinstance(model, Committee) else [model]
