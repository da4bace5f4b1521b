"""Layers of message passing: on the chip, trained in digital hardware, and the last one from edges to forces."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Part, take
from rgnn.kernels import gate
from rgnn.kernels.interface import TripletSums
from rgnn.models.reading import ChipReading
from rgnn.models.settings import MessagePassingSettings

LN2 = 0.6931471805599453


def needs_all_edges(layer: nn.Module) -> bool:
    """Whether a layer must see all edges at once: for the statistics of its norms, or to keep them for a gradient."""
    return layer.training or torch.is_grad_enabled()


def by_parts(parts: Sequence[Part], e: Tensor, edges_into: Callable[[Part], Tensor]) -> Tensor:
    """[E, F] new edge features, from those of the edges into each part."""
    if isinstance(parts[0].into, slice):  # all edges
        return edges_into(parts[0])
    new = torch.empty_like(e)
    for part in parts:
        assert isinstance(part.into, Tensor)
        new.index_copy_(0, part.into, edges_into(part))
    return new


def _three_body_columns(f: int) -> tuple[Tensor, Tensor]:
    """Columns of [n_i, n_j, n_k, e_ij, e_jk] that belong to the edge i -> j and to the edge j -> k."""
    n_i, n_j, n_k, e_ij, e_jk = torch.arange(5 * f).split(f)
    return torch.cat([n_i, n_j, e_ij]), torch.cat([n_k, e_jk])


class ReservoirLayer(nn.Module):
    """Message passing through six fixed matrices on the chip; only batch norms are trained.

    Where the reading blocks it, as published, no gradient enters the analog products; it flows along the residual path.
    """

    crossbars: Sequence[Crossbar]
    columns_ij: Tensor
    columns_jk: Tensor

    def __init__(self, weights: Sequence[Cells | Tensor], settings: MessagePassingSettings, number: int = 0) -> None:
        super().__init__()
        f = settings.n_features
        crossbars = [Crossbar(w, clean_offset=k == 1, place=(number, k)) for k, w in enumerate(weights)]
        self.crossbars = nn.ModuleList(crossbars)  # type: ignore[assignment]
        self.bn_node, self.bn_two, self.bn_three = (nn.BatchNorm1d(f) for _ in range(3))
        columns = _three_body_columns(f)
        self.register_buffer("columns_ij", columns[0], persistent=False)
        self.register_buffer("columns_jk", columns[1], persistent=False)

    @staticmethod
    def shapes(settings: MessagePassingSettings) -> list[tuple[int, int]]:
        """(out, in) of W0 to W5."""
        f = settings.n_features
        return [(8 * f, 2 * f), (2 * f, 8 * f), (8 * f, 2 * f), (2 * f, 8 * f), (10 * f, 5 * f), (2 * f, 10 * f)]

    def forward(self, n: Tensor, e: Tensor, g: Graph, fc: Tensor | None, reading: ChipReading) -> tuple[Tensor, Tensor]:
        """N [N, F], e [E, F] -> the same; fc [E] is the cutoff envelope."""
        parts = g.parts if not needs_all_edges(self) and reading.hardware.rows_are_independent else (g.whole,)
        n_sum = torch.cat([self.node_messages(n, e, part, fc, reading) for part in parts])
        n = g.exchange_nodes(torch.relu(n + self.bn_node(n_sum)))

        def edges_into(part: Part) -> Tensor:
            z, t_sum = self.edge_messages(n, e, part, fc, reading)
            return torch.relu(take(e, part.into) + self.bn_two(z) + self.bn_three(t_sum))

        return n, g.exchange_edges(by_parts(parts, e, edges_into))

    def node_messages(self, n: Tensor, e: Tensor, part: Part, fc: Tensor | None, reading: ChipReading) -> Tensor:
        """[nodes of the part, F] sums over neighbours j of what n_j and the edge send, read from the chip."""
        w0, w1 = self.crossbars[0], self.crossbars[1]
        n_j, e_jk = n.index_select(0, part.ends_out[0]), take(e, part.out)
        y = gate(reading.product(w1, reading.product(w0, n_j, e_jk, relu=True)))
        return part.sum_over_neighbours(y if fc is None else y * fc[part.out, None])

    def edge_messages(
        self, n: Tensor, e: Tensor, part: Part, fc: Tensor | None, reading: ChipReading
    ) -> tuple[Tensor, Tensor]:
        """The two-body and the three-body sums of the edges i -> j into a part's atoms."""
        _, _, w2, w3, w4, w5 = self.crossbars
        (i, j), (_, k) = part.ends_into, part.ends_out
        n_i, n_j, n_k = n.index_select(0, i), n.index_select(0, j), n.index_select(0, k)
        e_ij, e_jk = take(e, part.into), take(e, part.out)
        z = gate(reading.product(w3, reading.product(w2, n_i, n_j, relu=True)))
        first = reading.begin(w4, lambda: (n_i, e_ij))  # of all edges: every n_j and n_k is the n_i of another one
        p = reading.accumulate(first, self.columns_ij, n_i, n_j, e_ij)
        q = reading.accumulate(first, self.columns_jk, n_k, e_jk)
        triplets, plan = reading.kernels.triplets, part.plan
        second = reading.begin(w5, lambda: [first.finish(triplets.extremes(plan, p, q)).relu_()])
        return z, triplets.three_body(plan, p, q, None if fc is None else fc[part.out], first, second)


class TrainedLayer(nn.Module):
    """Message passing through ordinary linear layers."""

    columns_ij: Tensor
    columns_jk: Tensor

    def __init__(self, settings: MessagePassingSettings) -> None:
        super().__init__()
        f = settings.n_features
        self.node = nn.Sequential(nn.Linear(2 * f, 2 * f), nn.ReLU(), nn.Linear(2 * f, 2 * f))
        self.two = nn.Sequential(nn.Linear(f, f), nn.ReLU(), nn.Linear(f, 2 * f))
        self.three_first, self.three_second = nn.Linear(5 * f, 2 * f), nn.Linear(2 * f, 2 * f)
        self.bn_node, self.bn_two, self.bn_three = (nn.BatchNorm1d(f) for _ in range(3))
        columns = _three_body_columns(f)
        self.register_buffer("columns_ij", columns[0], persistent=False)
        self.register_buffer("columns_jk", columns[1], persistent=False)

    def forward(self, n: Tensor, e: Tensor, g: Graph, fc: Tensor | None, reading: ChipReading) -> tuple[Tensor, Tensor]:
        """N [N, F], e [E, F] -> the same; fc [E] is the cutoff envelope. The chip is not read."""
        parts = (g.whole,) if needs_all_edges(self) else g.parts
        n_sum = torch.cat([self.node_messages(n, e, part, fc) for part in parts])
        n = g.exchange_nodes(torch.tanh(n + self.bn_node(n_sum)))

        def edges_into(part: Part) -> Tensor:
            z, t_sum = self.edge_messages(n, e, part, fc, reading.kernels.triplets)
            return torch.tanh(take(e, part.into) + self.bn_two(z) + self.bn_three(t_sum))

        return n, g.exchange_edges(by_parts(parts, e, edges_into))

    def node_messages(self, n: Tensor, e: Tensor, part: Part, fc: Tensor | None) -> Tensor:
        """[nodes of the part, F] sums over neighbours j of what n_j and the edge send."""
        y = gate(self.node(torch.cat([n.index_select(0, part.ends_out[0]), take(e, part.out)], dim=1)))
        return part.sum_over_neighbours(y if fc is None else y * fc[part.out, None])

    def edge_messages(
        self, n: Tensor, e: Tensor, part: Part, fc: Tensor | None, triplets: TripletSums
    ) -> tuple[Tensor, Tensor]:
        """The two-body and the three-body sums of the edges i -> j into a part's atoms."""
        (i, j), (_, k) = part.ends_into, part.ends_out
        # The gradient of n[i] would depend on the threads' race.
        n_i, n_j, n_k = n.index_select(0, i), n.index_select(0, j), n.index_select(0, k)
        e_ij, e_jk = take(e, part.into), take(e, part.out)
        z = gate(self.two(n_i * n_j))
        w, b = self.three_first.weight, self.three_first.bias
        p = linear(torch.cat([n_i, n_j, e_ij], dim=1), w[:, self.columns_ij], b)
        q = linear(torch.cat([n_k, e_jk], dim=1), w[:, self.columns_jk])
        fc_jk, last = None if fc is None else fc[part.out], self.three_second
        return z, triplets.trained_three_body(part.plan, p, q, fc_jk, last.weight, last.bias)


class ForceHead(nn.Module):
    """m_ij = w2 . ssp(W1 e_ij + b1) + b2, with the shifted softplus ssp(x) = softplus(x) - ln 2."""

    def __init__(self, settings: MessagePassingSettings) -> None:
        super().__init__()
        f = settings.n_features
        self.first, self.second = nn.Linear(f, f // 2), nn.Linear(f // 2, 1)

    def forward(self, e: Tensor) -> Tensor:
        """[E, 1] the scalar force of each edge from its features [E, F]."""
        # In float64: a row of so narrow a product in float32 is rounded differently among other rows.
        w1, b1, w2, b2 = (x.double() for x in (*self.first.parameters(), *self.second.parameters()))
        return linear(softplus(linear(e.double(), w1, b1)) - LN2, w2, b2).to(e.dtype)
