import numpy as np
import pytest
import torch
from ase.neighborlist import primitive_neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from rgnn import Graph
from rgnn.errors import InputError
from rgnn.graphs import edge_vectors, neighbour_list


def sorted_edges(i, j, shift) -> np.ndarray:
    edges = np.column_stack([i, j, shift]).astype(int)
    return edges[np.lexsort(edges.T[::-1])]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 8),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    cutoff=st.floats(1.5, 6.0),
)
def test_neighbours_are_those_of_ase(seed: int, n: int, pbc, cutoff: float) -> None:
    """Skewed cells smaller than the cutoff, atoms outside the cell, any mixture of periodic directions."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2.5, 6, 3)) + np.tril(rng.uniform(-1, 1, (3, 3)), -1)
    positions = rng.uniform(-1, 2, (n, 3)) @ cell
    (i, j), shift = neighbour_list(positions, cell, np.array(pbc), cutoff)
    expected = primitive_neighbor_list("ijS", pbc, cell, positions, cutoff, self_interaction=False)
    assert np.array_equal(sorted_edges(i, j, shift), sorted_edges(*expected))
    lengths = np.linalg.norm(edge_vectors(positions, cell, np.stack([i, j]), shift), axis=1)
    assert (lengths < cutoff).all()
    assert (np.diff(i) >= 0).all()


def test_an_atom_neighbours_its_images_but_not_itself() -> None:
    (i, j), shift = neighbour_list(np.zeros((1, 3)), 3 * np.eye(3), np.ones(3, dtype=bool), 3.1)
    assert len(i) == 6 and (i == j).all()
    assert (np.abs(shift).sum(axis=1) == 1).all()


def test_no_cell_at_all(cluster) -> None:
    numbers, positions = cluster(6)
    g = Graph.from_positions(numbers, positions, np.zeros((3, 3)), np.zeros(3, dtype=bool), 20.0)
    assert g.n_edges == 30


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p, c: p.__setitem__((1, 2), np.nan), "position of atom 1"),
        (lambda p, c: c.__setitem__((0, 0), np.nan), "not finite"),
        (lambda p, c: c.__setitem__((0, 0), np.inf), "not finite"),
        (lambda p, c: p.__setitem__((0, 0), 1e9), "apart; check the unit"),
        (lambda p, c: c.__setitem__(0, 0), "vector 0, which is zero"),
        (lambda p, c: c.__setitem__(0, c[1]), "one plane or line"),
    ],
)
def test_geometry_that_no_search_survives(cluster, change, says: str) -> None:
    positions, cell = cluster(4)[1], 5 * np.eye(3)
    change(positions, cell)
    with pytest.raises(InputError, match=says):
        neighbour_list(positions, cell, np.ones(3, dtype=bool), 3.0)


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
    torch.testing.assert_close(glass.sum_over_neighbours(messages), expected)


def test_sum_over_neighbours_of_an_atom_without_any(graph_of) -> None:
    g = graph_of(np.array([3, 8, 3]), np.array([[0.0, 0, 0], [2, 0, 0], [30, 0, 0]]))
    assert g.sum_over_neighbours(torch.ones(2, 1)).flatten().tolist() == [1, 1, 0]
