from dataclasses import replace

import numpy as np
import pytest
import torch

from rgnn import Graph
from rgnn.base.errors import InputError
from rgnn.data.sample import sample_frames
from rgnn.graphs.graph import Labels
from rgnn.graphs.triplets import ranges


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


def test_labels_and_volumes_of_a_batch_are_those_of_its_frames(glass, cluster, graph_of) -> None:
    energy, stress = torch.tensor([-3.5], dtype=torch.float64), torch.eye(3, dtype=torch.float64)[None]
    known = replace(glass, labels=Labels(glass.forces, energy, stress))
    open_one = graph_of(*cluster(4))
    other = replace(open_one, labels=Labels(torch.ones(4, 3)))
    batch = Graph.batch([Graph.batch([other, known]), other])
    assert torch.equal(batch.forces, torch.cat([other.forces, glass.forces, other.forces]))
    # A frame without an energy, a stress or a volume has not-a-number, never that of its neighbour.
    assert batch.labels.energy[1] == -3.5 and torch.equal(batch.labels.stress[1], stress[0])
    assert batch.volume[1] == glass.volume[0] == pytest.approx(abs(np.linalg.det(next(iter(sample_frames())).cell)))
    for values in (batch.labels.energy, batch.labels.stress, batch.volume):
        assert values.shape[0] == 3 and values[[0, 2]].isnan().all()
    plain = Graph.batch([other, other])
    assert plain.labels.energy is plain.labels.stress is plain.volume is None


def test_moved_atoms_have_no_labels_and_no_volume_of_where_they_were(glass) -> None:
    moved = glass.moved(glass.edge_vector.numpy())
    assert glass.forces is not None and glass.volume is not None
    assert moved.labels == Labels() and moved.volume is None and moved.topology is glass.topology
    assert glass.moved(glass.edge_vector.numpy(), np.array([7.0])).volume.tolist() == [7.0]


def test_a_device_takes_all_tensors_and_the_same_device_nothing(glass) -> None:
    full = replace(glass, labels=Labels(glass.forces, torch.zeros(1), torch.zeros(1, 3, 3)))
    there = full.to("meta")
    tensors = [there.atomic_numbers, there.edge_index, there.edge_vector, there.volume, there.frame_index]
    tensors += [there.labels.forces, there.labels.energy, there.labels.stress]
    assert {t.device.type for t in tensors} == {"meta"}
    assert full.to("cpu") is full and there.atoms_per_frame == (192,)


def test_incoming_edges_are_sorted_by_neighbour_and_then_by_themselves(glass) -> None:
    order, neighbour = glass.topology.incoming.tolist(), glass.edge_index[1].tolist()
    assert order == sorted(range(glass.n_edges), key=lambda edge: (neighbour[edge], edge))


def test_ranges_count_within_each_length() -> None:
    assert ranges(np.array([2, 0, 3])).tolist() == [0, 1, 0, 1, 2]
    assert ranges(np.array([2, 0, 3]), np.array([5, 9, 1])).tolist() == [5, 6, 1, 2, 3]
    assert ranges(np.empty(0, np.int64)).tolist() == []


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
    monkeypatch.setattr("rgnn.graphs.topology.PART", 500)
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
