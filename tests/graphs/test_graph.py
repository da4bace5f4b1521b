import numpy as np
import pytest
import torch

from rgnn import Graph
from rgnn.base.errors import InputError


def test_batch_keeps_frames_apart(cluster, graph_of) -> None:
    frames = [graph_of(*cluster(n, seed=n)) for n in (4, 7, 5)]
    batch = Graph.batch(frames)
    assert batch.n_atoms == 16 and batch.atoms_per_frame == (4, 7, 5)
    assert torch.equal(batch.frame_index[batch.edge_index[0]], batch.frame_index[batch.edge_index[1]])
    assert torch.equal(batch.frame_index, torch.tensor([0] * 4 + [1] * 7 + [2] * 5))
    assert torch.equal(batch.edge_length, torch.cat([g.edge_length for g in frames]))


def test_batch_of_labelled_and_unlabelled_frames_is_refused(glass, cluster, graph_of) -> None:
    with pytest.raises(InputError, match="with and without forces"):
        Graph.batch([glass, graph_of(*cluster(4))])


def test_sum_over_neighbours_is_a_scatter_sum(glass) -> None:
    messages = torch.randn(glass.n_edges, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(glass.n_atoms, 5, dtype=torch.float64).index_add(0, glass.edge_index[0], messages)
    torch.testing.assert_close(glass.whole.sum_over_neighbours(messages), expected)


def test_sum_over_neighbours_of_an_atom_without_any(graph_of) -> None:
    g = graph_of(np.array([3, 8, 3]), np.array([[0.0, 0, 0], [2, 0, 0], [30, 0, 0]]))
    assert g.whole.sum_over_neighbours(torch.ones(2, 1)).flatten().tolist() == [1, 1, 0]


def test_the_same_edges_with_other_vectors_keep_their_plan(glass) -> None:
    g = Graph.from_arrays(glass.atomic_numbers.numpy(), glass.edge_index.numpy(), glass.edge_vector.numpy())
    plan, vector = g.whole.plan, 1.01 * g.edge_vector.numpy()
    moved = g.moved(vector)
    assert moved.whole.plan is plan
    torch.testing.assert_close(moved.edge_length, 1.01 * glass.edge_length)


def test_parts_hold_every_edge_once_each_way(glass, monkeypatch) -> None:
    monkeypatch.setattr("rgnn.graphs.graph.PART", 500)
    g = Graph.from_arrays(glass.atomic_numbers.numpy(), glass.edge_index.numpy(), glass.edge_vector.numpy())
    parts = g.parts
    assert len(parts) > 5
    assert [k for p in parts for k in range(p.atoms.start, p.atoms.stop)] == list(range(192))
    assert [k for p in parts for k in range(p.out.start, p.out.stop)] == list(range(g.n_edges))
    assert sorted(torch.cat([p.into for p in parts]).tolist()) == list(range(g.n_edges))
    for p in parts:
        for middle in (p.ends_out[0], p.ends_into[1]):
            assert (middle >= p.atoms.start).all() and (middle < p.atoms.stop).all()
        assert torch.equal(g.edge_index[:, p.into], p.ends_into)
    messages = torch.randn(g.n_edges, 3)
    summed = torch.cat([p.sum_over_neighbours(messages[p.out]) for p in parts])
    torch.testing.assert_close(summed, g.whole.sum_over_neighbours(messages))
    assert sum(p.plan.n_triplets for p in parts) == g.whole.plan.n_triplets
