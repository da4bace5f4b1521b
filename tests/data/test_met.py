"""Which frames of a store a model has met, by their digests, and what a training that begins with it makes of them."""

from pathlib import Path

import numpy as np
import pytest

from rgnn import GraphStore
from rgnn.base.provenance import Provenance, UsedFrames
from rgnn.data.frames import Frame
from rgnn.data.met import Met, doubtful, kept_apart, uses_of
from rgnn.data.store.split import Partition, partition
from rgnn.data.store.writer import StoreWriter, write_store

OLD = Partition(list(range(18)), list(range(20, 25)), [28, 29])  # 18, 19 and 25 to 27 are left out


def frame(number: int) -> Frame:
    """A pair of atoms that no other number gives."""
    positions = np.array([[0.0, 0.0, 0.0], [1.5 + 0.01 * number, 0.0, 0.0]])
    return Frame(np.array([3, 8]), positions, np.zeros((3, 3)), np.zeros(3, bool), 0.1 * positions)


def stored(path: Path, numbers: range | list[int]) -> GraphStore:
    return write_store(map(frame, numbers), path, 3.0)


@pytest.fixture
def old(tmp_path) -> GraphStore:
    return stored(tmp_path / "old.zarr", range(30))


@pytest.fixture
def known(old) -> Provenance:
    return Provenance(data=str(old.path), data_checksum=old.checksum, used=OLD.used(old))


def divided(known: Provenance, store: GraphStore, seed: int = 0) -> Partition:
    met = Met.by(uses_of(known, store), store)
    return kept_apart(partition(store, 0.2, seed), store, met, 0.2, seed)


def test_of_the_same_store_the_split_of_before_stays(old, known) -> None:
    for seed in range(4):
        found = divided(known, old, seed)
        assert (found.train, found.validation, found.test) == (OLD.train, OLD.validation, OLD.test)
        assert not doubtful(Met.by(known.used, old), "runs/a", old, found.validation)


def test_of_a_grown_store_only_new_frames_are_divided(old, known) -> None:
    with StoreWriter(old.path, 3.0, append=True) as writer:
        for number in range(30, 60):
            writer.add(frame(number), str(number))
    grown = GraphStore(old.path)
    for seed in range(4):
        found, asked = divided(known, grown, seed), partition(grown, 0.2, seed)
        assert [k for k in found.validation if k < 30] == OLD.validation
        assert [k for k in found.train if k < 30] == OLD.train
        assert found.test == OLD.test
        assert [k for k in found.validation if k >= 30] == [k for k in asked.validation if k >= 30]


def test_frames_are_known_in_another_store_and_order(tmp_path, known) -> None:
    numbers = [23, 5, 40, 41, 29, 18, 7, 24, 42, *range(43, 60)]
    store = stored(tmp_path / "mixed.zarr", numbers)
    found = divided(known, store)
    validates, trains = ({numbers[k] for k in part} for part in (found.validation, found.train))
    assert {23, 24} <= validates and {5, 7} <= trains
    assert {numbers[k] for k in found.test} == {29}
    assert 18 not in validates | trains
    assert not validates & set(OLD.train)


def test_new_frames_validate_where_all_that_would_were_trained_on(tmp_path, known) -> None:
    numbers = [*range(16), 50, 51, 52]
    store = stored(tmp_path / "s.zarr", numbers)
    for seed in range(6):
        found = divided(known, store, seed)
        assert found.validation and all(numbers[k] >= 50 for k in found.validation)
        assert any(numbers[k] >= 50 for k in found.train)


def test_a_store_of_held_out_frames_may_train(tmp_path, known) -> None:
    store = stored(tmp_path / "s.zarr", OLD.validation)
    assert divided(known, store) == partition(store, 0.2, 0)


def test_validation_on_frames_that_were_trained_on_is_said(tmp_path, known) -> None:
    store = stored(tmp_path / "s.zarr", range(15))
    found, met = divided(known, store), Met.by(known.used, store)
    said = doubtful(met, "runs/a", store, found.validation)
    assert said.startswith(f"runs/a was trained on {len(found.validation)} of the {len(found.validation)} validation")


def test_stores_that_are_gone_or_other_are_said(tmp_path, old, known) -> None:
    store = stored(tmp_path / "s.zarr", range(100, 130))
    with StoreWriter(old.path, 3.0, overwrite=True) as writer:
        for number in range(5, 30):
            writer.add(frame(number), str(number))
    met = Met.by(uses_of(known, store), store)
    assert met.unknown == (str(old.path),)
    assert "is not known which frames runs/a was trained on" in doubtful(met, "runs/a", store, [1, 2])
    earlier = known.override(used=(*OLD.used(store), UsedFrames(store="runs/z")))
    assert "(runs/z is not here, or has changed)" in doubtful(Met.by(earlier.used, store), "runs/a", store, [20])


def test_a_damaged_store_is_not_known(tmp_path, old, known) -> None:
    store = stored(tmp_path / "s.zarr", range(100, 130))
    for file in old.path.rglob("digest/**/*"):
        if file.is_file():
            file.write_bytes(b"")
    assert Met.by(uses_of(known, store), store).unknown == (str(old.path),)


def test_a_moved_store_is_known_by_what_it_holds(tmp_path, old, known) -> None:
    old.path.rename(tmp_path / "moved.zarr")
    met = Met.by(uses_of(known), GraphStore(tmp_path / "moved.zarr"))
    assert not met.unknown and len(met.trained) == len(OLD.train)


def test_models_of_before_have_their_held_out_frames(tmp_path, old) -> None:
    before = Provenance(data=str(old.path), data_checksum=old.checksum, held_out=((3, 5),), started_from="runs/z")
    (own, earlier), digests = uses_of(before, old), old.column("digest")
    assert (own.train, own.validation, earlier.store) == (((0, 2), (6, 29)), ((3, 5),), "runs/z")
    met = Met.by(uses_of(before), old)
    assert set(met.validated) == set(digests[3:6]) and len(met.trained) == 27
    elsewhere = Provenance(data=str(old.path), data_checksum=old.checksum, validation_data="other.zarr")
    assert len(Met.by(uses_of(elsewhere), old).trained) == 30


def test_what_any_training_has_trained_on_is_not_held_out(old, known) -> None:
    """A run that began with this one, on another split of the same store."""
    later = known.override(used=(*Partition([20, 21], [0, 1, 22]).used(old), *known.used))
    met = Met.by(later.used, old)
    assert np.flatnonzero(met.of(old, "trained")).tolist() == [*range(18), 20, 21]
    assert np.flatnonzero(met.of(old, "validated")).tolist() == [22, 23, 24]
    assert np.flatnonzero(met.of(old, "tested")).tolist() == [28, 29]
