"""Structures to start from."""

import itertools

import ase.io
import numpy as np
import pytest

from rgnn.base.errors import InputError
from rgnn.data.sample import sample_frames
from rgnn.data.store.writer import write_store
from rgnn.md import read_structure, read_structures


@pytest.fixture
def store(tmp_path):
    """Five frames of the packaged sample."""
    return write_store(itertools.islice(sample_frames(), 0, 100, 20), tmp_path / "s.zarr", 3.8)


def test_a_store_is_a_source_of_structures(store) -> None:
    for frame in (0, 3, -1):
        atoms = read_structure(store.path, frame)
        np.testing.assert_array_equal(atoms.positions, store.frame(frame).positions)
        assert atoms.pbc.all() and atoms.calc is None
    assert list(read_structures(store.path, "1:4:2")) == [1, 3]
    assert len(read_structures(store.path, "all")) == 5


@pytest.mark.parametrize("frame", [5, -6, 99])
def test_a_frame_that_a_store_does_not_have(store, frame: int) -> None:
    with pytest.raises(InputError, match=f"has 5 frames, so there is no frame {frame}"):
        read_structure(store.path, frame)


@pytest.mark.parametrize(("name", "kind"), [("t.xyz", "extxyz"), ("t.traj", "traj")])
def test_frames_are_counted_from_the_end_too(store, name: str, kind: str, tmp_path) -> None:
    frames = [store.frame(k).to_atoms() for k in range(3)]
    ase.io.write(tmp_path / name, frames, format=kind)
    for k in (-3, -2, -1, 0, 2):
        np.testing.assert_allclose(read_structure(tmp_path / name, k).positions, frames[k].positions, atol=1e-7)
    for k in (-4, -99, 3):
        with pytest.raises(InputError, match=f"frame {k}"):
            read_structure(tmp_path / name, k)
