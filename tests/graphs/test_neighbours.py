import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from rgnn import Graph
from rgnn.base.errors import InputError
from rgnn.graphs.neighbours import edge_vectors, neighbour_list
from rgnn.graphs.skin import SkinList


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


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_a_kept_list_gives_what_a_search_gives(seed: int, pbc) -> None:
    """Atoms that wander, a cell that changes, atoms that come: the same edges in the same order, always."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(3, 6, 3))
    positions, kept = rng.uniform(-1, 2, (6, 3)) @ cell, SkinList(3.0)
    for step in range(12):
        positions = positions + rng.normal(0, 0.05, positions.shape)
        if step == 5:
            cell = 1.01 * cell
        if step == 8:
            positions = np.concatenate([positions, rng.uniform(0, 1, (1, 3)) @ cell])
        index, vector = kept.edges(positions, cell, np.array(pbc))
        expected, shift = neighbour_list(positions, cell, np.array(pbc), 3.0)
        assert np.array_equal(index, expected)
        np.testing.assert_allclose(vector, edge_vectors(positions, cell, expected, shift), rtol=0, atol=1e-12)
    assert kept.searches >= 3


def test_a_list_is_kept_until_an_atom_has_gone_half_of_the_skin() -> None:
    positions, cell, pbc = np.array([[0, 0, 0], [2.0, 0, 0]]), np.zeros((3, 3)), np.zeros(3, dtype=bool)
    kept = SkinList(3.0, skin=0.5)
    for x, searches in ((2.0, 1), (2.2, 1), (2.24, 1), (2.26, 2), (2.4, 2), (1.9, 3)):
        positions[1, 0] = x
        assert kept.edges(positions, cell, pbc)[1].tolist() == [[x, 0, 0], [-x, 0, 0]]
        assert kept.searches == searches
    with pytest.raises(InputError, match="not a finite position"):
        kept.edges(positions * np.nan, cell, pbc)
