"""The three-body sum, block by block, without an index list and without padding.

The triplets (i, j, k) of a graph are, for each middle atom j, all pairs (edge i -> j) x (edge j -> k).
Middle atoms with the same numbers of edges in and out are laid side by side, so a block of them is a
dense array [atoms, d_in, d_out, ...], and nothing is ever made for all triplets at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

# Triplets in one block: 4096 x 180 floats are 3 MB, which stays in the caches of two cores.
BLOCK = 4096
# Triplets in one tile, of which a core works on 36 numbers at a time.
TILE = 256


def ranges(lengths: np.ndarray, first: np.ndarray | int = 0) -> np.ndarray:
    """Runs of whole numbers, one after the other: for each of the lengths [n], first, first + 1, ... as int64.

    `first` is [n], or one number for all.
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    counted: np.ndarray = np.arange(total) + np.repeat(first - (ends - lengths), lengths)
    return counted


class Block(NamedTuple):
    """Middle atoms with the same degrees, and where their edges start in the plan's two orders."""

    n_atoms: int
    d_in: int
    d_out: int
    in_start: int
    out_start: int


@dataclass(frozen=True)
class Tiles:
    """The triplets as tiles, and the tiles as blocks of at most `BLOCK` triplets (or of one tile).

    A tile is some of the edges into one middle atom times all edges out of it.

    Attributes:
        table: [n, 6] int64: where its edges into and out of the atom start in the plan's orders and how many there
            are, its first row in its block, and the number of its first triplet, counted as `triplet_sum` does.
        starts: [blocks + 1] the first tile of each block.
        rows: [blocks] triplets of each block.
    """

    table: np.ndarray
    starts: np.ndarray
    rows: np.ndarray

    @property
    def most_rows(self) -> int:
        """Triplets of the largest block; 0 where there are none."""
        return int(self.rows.max(initial=0))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """The number of triplets and the tiles [n, 6] of each block."""
        for rows, first, last in zip(self.rows.tolist(), self.starts, self.starts[1:], strict=False):
            yield rows, self.table[first:last]

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """For each block, where the tiles of another atom begin, and their end."""
        atoms = self.table[:, 2]
        groups = []
        for first, last in zip(self.starts, self.starts[1:], strict=False):
            changes = np.flatnonzero(np.diff(atoms[first:last])) + 1
            groups.append(np.concatenate([[0], changes, [last - first]]))
        return groups

    @classmethod
    def cut(cls, blocks: tuple[Block, ...]) -> Self:
        """Tiles of the middle atoms of all blocks."""
        n, *each = np.array(blocks, dtype=np.int64).reshape(-1, 5).T
        place = ranges(n)  # of each middle atom in its block
        n_in, n_out, in_start, out_start = np.repeat(each, n, axis=1)
        in_start, out_start = in_start + place * n_in, out_start + place * n_out
        number = np.cumsum(n_in * n_out) - n_in * n_out
        parts = -(-n_in // np.maximum(1, TILE // n_out))
        part = ranges(parts)
        n_in, n_out, in_start, out_start, number, parts = np.repeat(
            [n_in, n_out, in_start, out_start, number, parts], parts, axis=1
        )
        first, last = part * n_in // parts, (part + 1) * n_in // parts
        size = (last - first) * n_out
        end = np.cumsum(size)
        starts = [0]
        while starts[-1] < len(size):
            begun = end[starts[-1]] - size[starts[-1]]
            starts.append(max(starts[-1] + 1, int(np.searchsorted(end, begun + BLOCK, side="right"))))
        edges = np.array(starts, dtype=np.int64)
        begun = np.concatenate([[0], end])[edges]
        row = end - size - np.repeat(begun[:-1], np.diff(edges))
        table = np.stack([in_start + first, last - first, out_start, n_out, row, number + first * n_out], axis=1)
        return cls(table, edges, np.diff(begun))


@dataclass(frozen=True)
class TripletPlan:
    """The order in which the three-body sum visits the edges.

    Attributes:
        in_edges: [E'] numbers of the edges i -> j, grouped by their middle atom j.
        out_edges: [E''] numbers of the edges j -> k, grouped by their middle atom j.
        blocks: how both orders are cut.
    """

    in_edges: Tensor
    out_edges: Tensor
    blocks: tuple[Block, ...]

    @property
    def n_triplets(self) -> int:
        """The number of triplets (i, j, k)."""
        return sum(b.n_atoms * b.d_in * b.d_out for b in self.blocks)

    @cached_property
    def tiles(self) -> Tiles:
        """The same order, cut for the cores of a CPU."""
        return Tiles.cut(self.blocks)

    @cached_property
    def fans(self) -> tuple[Tensor, Tensor, Tensor]:
        """[E'] for each of the `in_edges`: where its k start in `out_edges`, how many, and the number of the first.

        Triplets are numbered as `triplet_sum` visits them.
        """
        n, d_in, d_out, _, out_start = np.array(self.blocks, dtype=np.int64).reshape(-1, 5).T
        many = np.repeat(d_out, n * d_in)
        first = np.repeat(out_start, n * d_in) + ranges(n * d_in) // np.repeat(d_in, n * d_in) * many
        number = np.cumsum(many) - many
        device = self.in_edges.device
        return (
            torch.from_numpy(first).to(device),
            torch.from_numpy(many).to(device),
            torch.from_numpy(number).to(device),
        )

    @classmethod
    def build(cls, into: Tensor, out: Tensor, n_atoms: int, block: int = BLOCK) -> Self:
        """Group the middle atoms by their degrees.

        Args:
            into: the middle atom of each edge i -> j, its j.
            out: the middle atom of each edge j -> k, its j.
            n_atoms: middle atoms, counted from 0.
            block: largest number of triplets in a block, if it has more than one atom.
        """
        d_in, d_out = torch.bincount(into, minlength=n_atoms), torch.bincount(out, minlength=n_atoms)
        middle = torch.nonzero((d_in > 0) & (d_out > 0)).flatten()
        degrees = torch.stack([d_in[middle], d_out[middle]], dim=1)
        kinds, kind, counts = torch.unique(degrees, dim=0, return_inverse=True, return_counts=True)
        rank = torch.full((n_atoms,), n_atoms, device=into.device)
        rank[middle[torch.argsort(kind, stable=True)]] = torch.arange(len(middle), device=into.device)
        in_edges = torch.argsort(rank[into], stable=True)[: int(degrees[:, 0].sum())]
        out_edges = torch.argsort(rank[out], stable=True)[: int(degrees[:, 1].sum())]
        blocks, in_start, out_start = [], 0, 0
        for (i, o), count in zip(kinds.tolist(), counts.tolist(), strict=True):
            most = max(1, block // (i * o))
            for first in range(0, count, most):
                n = min(most, count - first)
                blocks.append(Block(n, i, o, in_start, out_start))
                in_start, out_start = in_start + n * i, out_start + n * o
        return cls(in_edges, out_edges, tuple(blocks))


def triplet_sum(
    plan: TripletPlan, p: Tensor, q: Tensor, weight: Tensor | None, message: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """s_ij = sum over k of weight_jk message(p_ij + q_jk), for every edge i -> j.

    Args:
        plan: the plan of the edges of a part.
        p: [E, H] what each edge i -> j gives to the first product.
        q: [E'', H] what each edge j -> k gives to the first product.
        weight: [E''] weight of each edge j -> k (the cutoff envelope), or None for 1.
        message: [T, H] -> [T, F] for the triplets of a block, of which the number of the first is given with
            them; may overwrite its argument.

    Returns:
        [E, F]; zero for edges that end at an atom that has no edges.
    """
    n_edges = p.shape[0]
    p, q = p.index_select(0, plan.in_edges), q.index_select(0, plan.out_edges)
    weight = None if weight is None else weight.index_select(0, plan.out_edges)
    sums, number = [], 0
    for n, i, o, a, b in plan.blocks:
        h = p[a : a + n * i].view(n, i, 1, -1) + q[b : b + n * o].view(n, 1, o, -1)
        m = message(h.view(n * i * o, -1), number).view(n, i, o, -1)
        number += n * i * o
        if weight is not None:
            m = m * weight[b : b + n * o].view(n, 1, o, 1)
        sums.append(m.sum(2).view(n * i, -1))
    total = torch.cat(sums) if sums else message(p, 0)
    return total.new_zeros((n_edges, total.shape[1])).index_copy(0, plan.in_edges, total)


def triplet_extremes(plan: TripletPlan, p: Tensor, q: Tensor) -> Tensor:
    """[2 M, H] values that span p_ij + q_jk in every feature over all triplets, found without visiting them.

    Rounding is monotone, so among the pairs of one middle atom the extreme sum is exactly the sum of
    the extremes: max over (i, k) of p_ij + q_jk = max_i p_ij + max_k q_jk, feature by feature.
    """
    p, q = p.index_select(0, plan.in_edges), q.index_select(0, plan.out_edges)
    extremes = []
    for n, i, o, a, b in plan.blocks:
        p_min, p_max = p[a : a + n * i].view(n, i, -1).aminmax(dim=1)
        q_min, q_max = q[b : b + n * o].view(n, o, -1).aminmax(dim=1)
        extremes += [p_min + q_min, p_max + q_max]
    return torch.cat(extremes)
