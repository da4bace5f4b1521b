"""A chip of a device group is rarely as large as the published model wants."""

import itertools

import numpy as np
import pytest

import rgnn
from rgnn.base.errors import InputError
from rgnn.chip.measurement import Measurement, to_chip
from rgnn.data.sample import sample_frames
from rgnn.data.store.writer import write_store
from rgnn.models.settings import MomentSettings
from rgnn.training.chip_size import narrowed, weights_on_chip
from rgnn.training.run import RunSettings


def chip_of(rows: int, columns: int) -> rgnn.Chip:
    reads = np.random.default_rng(0).normal(14e-6, 2e-6, (1, rows, columns))
    return to_chip(Measurement(reads, "map.csv", "S", False)).chip


@pytest.fixture
def store(tmp_path) -> rgnn.GraphStore:
    """Ten frames of the packaged sample."""
    return write_store(itertools.islice(sample_frames(), 0, 270, 27), tmp_path / "store.zarr", 3.8)


def test_what_has_room_is_proposed(store, tmp_path) -> None:
    """256 x 256 cells are the usual array; the published model wants 2.7 of them."""
    chip_of(256, 256).save(tmp_path / "chip")
    with pytest.raises(
        InputError, match=r"needs 86,832 weights .* has 32,768 .*--narrow makes a model of n_features 10"
    ) as said:
        rgnn.train(store, tmp_path / "run", chip=tmp_path / "chip")
    assert "--preset moments has room (6,912)" in str(said.value)
    assert "--preset ridge --narrow has room" in str(said.value)
    assert "--preset gnnff" not in str(said.value)  # uses no chip
    assert not (tmp_path / "run").exists()


def test_the_narrow_model_trains_and_its_record_repeats_it(store, tmp_path) -> None:
    chip_of(128, 128).save(tmp_path / "chip")
    found = rgnn.train(store, tmp_path / "run", chip=tmp_path / "chip", narrow=True, epochs=1)
    assert found.model.settings.n_features < 18
    assert found.model.n_fixed == weights_on_chip(found.model.settings) <= 128 * 64
    assert RunSettings.read(tmp_path / "run/config.yaml").model == found.model.settings
    rgnn.train(store, tmp_path / "run", chip=tmp_path / "chip", narrow=True, epochs=1, resume=True)


@pytest.mark.parametrize("preset", ["default", "ridge", "moments"])
def test_the_widest_that_fits_is_taken(preset: str) -> None:
    settings = RunSettings.preset(preset).model.for_elements((3, 8, 15))
    needed = weights_on_chip(settings)
    for share in (1.0, 0.7, 0.2, 0.08):
        chip = rgnn.Chip.synthetic(cells=2 * int(share * needed))
        narrow = narrowed(settings, chip)
        assert weights_on_chip(narrow) <= len(chip.weights)
        assert (narrow == settings) == (share == 1.0)
        wider = [s for s in (settings, *settings.narrower()) if weights_on_chip(s) > weights_on_chip(narrow)]
        assert all(weights_on_chip(s) > len(chip.weights) for s in wider)
    with pytest.raises(InputError, match="too few for the narrowest model of the family"):
        narrowed(settings, rgnn.Chip.synthetic(cells=40))


def test_narrower_models_are_ever_narrower() -> None:
    for settings in (RunSettings().model, MomentSettings.ridge().for_elements((3, 8)), MomentSettings(elements=(3, 8))):
        sizes = [weights_on_chip(s) for s in (settings, *settings.narrower())]
        assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes) > 5


def test_a_small_chip_serves_a_wide_model_by_reusing_its_cells(store, tmp_path) -> None:
    chip_of(256, 256).save(tmp_path / "chip")
    found = rgnn.train(store, tmp_path / "run", chip=tmp_path / "chip", reuse_cells=True, epochs=1)
    model = found.model
    assert model.provenance.cells_are_reused
    assert model.n_fixed == 86_832
    with pytest.raises(InputError, match="serve several matrices"):
        model.read(model.hardware.override(stuck_on=0.01))
    with pytest.raises(InputError, match="name a chip"):
        rgnn.train(store, tmp_path / "other", reuse_cells=True, epochs=1)
