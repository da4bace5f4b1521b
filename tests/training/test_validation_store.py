"""Frames of another store to validate on: none of them may be trained on."""

import numpy as np
import pytest

from rgnn import convert
from rgnn.base.errors import InputError
from rgnn.base.settings import dump_yaml
from rgnn.data.frames import Frame
from rgnn.data.store.writer import write_store
from rgnn.training.request import TrainingRequest
from rgnn.training.run import RunSettings, TrainingRun


@pytest.fixture
def stores(cluster, tmp_path):
    """A store, another, and one with some frames of both in other blocks."""
    made = []
    for seed in range(2):
        clusters = [cluster(6, 10 * seed + k)[1] for k in range(5)]
        frames = [Frame(np.arange(3, 9), x, np.zeros((3, 3)), np.zeros(3, bool), 0.1 * x) for x in clusters]
        made.append(write_store(frames, tmp_path / f"{seed}.zarr").path)
    convert(made, tmp_path / "both.zarr")
    return *made, tmp_path / "both.zarr"


def test_validation_frames_that_are_trained_on_are_refused(stores, tmp_path) -> None:
    one, other, both = stores
    assert TrainingRequest(one, validation_store=other).settings(lambda: one).validation_store == str(other)
    said = (
        r"both\.zarr: 5 of its 10 frames, the first of them frame 5, are in .*1\.zarr, which is trained on; validate on"
    )
    with pytest.raises(InputError, match=said):
        TrainingRun.prepare(TrainingRequest(other, validation_store=both).settings(lambda: other))
    file = tmp_path / "mine.yaml"
    file.write_text(dump_yaml(RunSettings(store=str(other), validation_store=str(both)).to_mapping()))
    with pytest.raises(InputError, match=said):
        TrainingRun.prepare(TrainingRequest(config=file).settings(lambda: other))
