import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rgnn.graphs.triplets import TripletPlan, triplet_extremes, triplet_sum


def random_edges(seed: int, n_atoms: int, n_edges: int) -> torch.Tensor:
    """Any directed edges, with atoms that only send, only receive, or do neither."""
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, n_atoms, (2, n_edges), generator=generator)
    return edges[:, torch.argsort(edges[0], stable=True)]


def all_triplets(edge_index: torch.Tensor) -> list[tuple[int, int]]:
    """(edge i -> j, edge j -> k), by two loops."""
    i, j = edge_index.tolist()
    return [(a, b) for a in range(len(i)) for b in range(len(i)) if j[a] == i[b]]


edges = st.tuples(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 40))


@settings(max_examples=60)
@given(edges, st.integers(1, 60), st.booleans())
def test_sum_is_the_sum_over_all_triplets(shape, block: int, weighted: bool) -> None:
    edge_index = random_edges(*shape)
    plan = TripletPlan.build(edge_index[1], edge_index[0], shape[1], block)
    triplets = all_triplets(edge_index)
    assert plan.n_triplets == len(triplets)
    if not triplets:
        return
    generator = torch.Generator().manual_seed(1)
    p, q = torch.randn(2, shape[2], 3, dtype=torch.float64, generator=generator)
    weight = torch.rand(shape[2], dtype=torch.float64, generator=generator) if weighted else None
    expected = torch.zeros(shape[2], 3, dtype=torch.float64)
    for a, b in triplets:
        expected[a] += (1 if weight is None else weight[b]) * torch.sin(p[a] + q[b])
    torch.testing.assert_close(triplet_sum(plan, p, q, weight, lambda h, _: torch.sin(h)), expected)


@settings(max_examples=60)
@given(edges)
def test_extremes_span_all_triplets_bit_for_bit(shape) -> None:
    edge_index = random_edges(*shape)
    triplets = all_triplets(edge_index)
    if not triplets:
        return
    p, q = torch.randn(2, shape[2], 4, generator=torch.Generator().manual_seed(2))
    every = torch.stack([p[a] + q[b] for a, b in triplets])
    found = triplet_extremes(TripletPlan.build(edge_index[1], edge_index[0], shape[1]), p, q)
    assert torch.equal(found.amax(0), every.amax(0))
    assert torch.equal(found.amin(0), every.amin(0))


def test_gradient_of_the_sum() -> None:
    edge_index = random_edges(3, 5, 20)
    plan = TripletPlan.build(edge_index[1], edge_index[0], 5, block=7)
    p, q = torch.randn(2, 20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p.requires_grad_(), q.requires_grad_()
    weight = torch.rand(20, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p, q: triplet_sum(plan, p, q, weight, lambda h, _: torch.tanh(h)), (p, q))


@settings(max_examples=60)
@given(edges, st.integers(1, 60))
def test_tiles_visit_every_triplet_once_by_its_number(shape, block: int) -> None:
    """Each row of a block is one triplet, with the number under which `triplet_sum` knows it."""
    centre, neighbour = random_edges(*shape)
    plan = TripletPlan.build(neighbour, centre, shape[1], block)
    numbered = []
    for n, d_in, d_out, a, b in plan.blocks:
        for atom in range(n):
            into, out = a + atom * d_in, b + atom * d_out
            numbered += [(into + r, out + s) for r in range(d_in) for s in range(d_out)]
    found = {}
    for (rows, tiles), groups in zip(plan.tiles, plan.tiles.groups, strict=True):
        seen = set()
        for in_first, n_in, out_first, n_out, row, number in tiles.tolist():
            for r in range(n_in):
                for s in range(n_out):
                    found[number + r * n_out + s] = (in_first + r, out_first + s)
                    seen.add(row + s * n_in + r)
        assert seen == set(range(rows))
        shared = [set(tiles[a:b, 2].tolist()) for a, b in itertools.pairwise(groups)]
        assert all(len(of_one_atom) == 1 for of_one_atom in shared)
        assert len(set.union(*shared)) == len(shared)
    assert [found[k] for k in range(len(found))] == numbered


def test_glass_has_the_triplets_of_its_degrees(glass) -> None:
    i, j = glass.edge_index
    d_in, d_out = torch.bincount(j, minlength=192), torch.bincount(i, minlength=192)
    assert glass.whole.plan.n_triplets == int((d_in * d_out).sum())
    assert max(b.n_atoms * b.d_in * b.d_out for b in glass.whole.plan.blocks) == pytest.approx(4096, rel=0.5)
