import itertools

import pytest

from rgnn import GraphStore
from rgnn.base.errors import InputError
from rgnn.base.estimate import evenly
from rgnn.costs import estimate_costs, operations, workload
from rgnn.costs.study import FRAMES
from rgnn.data.sample import sample_frames
from rgnn.data.store.writer import write_store


@pytest.fixture(scope="module")
def glass_store(tmp_path_factory) -> GraphStore:
    """Thirty frames of the packaged sample."""
    return write_store(
        itertools.islice(sample_frames(), 30), tmp_path_factory.mktemp("store") / "glass.zarr", source=""
    )


def test_a_study_counts_the_mean_frame_of_the_store(small_model, glass_store) -> None:
    study = estimate_costs(small_model, glass_store, bits=4)
    frame = workload([glass_store.graph(k) for k in evenly(range(len(glass_store)), FRAMES)])
    ops = operations(small_model.settings, frame)
    assert (study.model, study.frame, study.hardware.bits) == ("", frame, 4)
    assert study.counts.analog_products == ops.reservoir_products
    n = len(glass_store)
    assert study.epoch.digital_products == pytest.approx(3 * n * ops.trained_products)
    assert study.epoch.digital_operations == pytest.approx(n * study.counts.digital_operations)
    chip = study.comparisons[0].chip
    assert study.epoch_energy(chip) == n * chip.training


def test_hardware_is_as_trained_where_nothing_is_given(small_model, glass_store) -> None:
    assert estimate_costs(small_model, glass_store).hardware == small_model.hardware
    with pytest.raises(InputError, match="name a graph store"):
        estimate_costs(small_model)
