"""Physical checks of many minutes on two cores: pytest -m long."""

import ase.io
import numpy as np
import pytest

from rgnn import evaluate, load_model
from rgnn.analysis.observables import radial_distribution
from rgnn.chip.hardware import Hardware
from rgnn.data.conversion import convert
from rgnn.md import MDSettings, read_log, read_structure, run_atoms
from rgnn.plots.dynamics import second_half
from rgnn.training.run import RunSettings, TrainingRun

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def model(shared, tmp_path_factory):
    """Trained by the defaults on both samples, for 4 bits and 5% noise: about 20 minutes."""
    folder = tmp_path_factory.mktemp("long")
    convert([shared / f"data/lipo_chgnet_train_{part}.xyz" for part in "ab"], folder / "train.zarr")
    config = RunSettings(store=str(folder / "train.zarr"), hardware=Hardware(bits=4, noise=0.05))
    TrainingRun.prepare(config).run(folder / "run")
    return load_model(folder / "run")


def test_accuracy_on_a_sample_it_has_never_seen(shared, model, tmp_path) -> None:
    store = convert([shared / "data/lipo_chgnet_test.xyz"], tmp_path / "test.zarr").store
    ideal, trained = evaluate(model, store, repeats=1).rows
    assert ideal.hardware == model.hardware.ideal()
    assert trained.relative_error().high < 0.25


def test_ten_thousand_steps_keep_temperature_and_structure(shared, model, tmp_path) -> None:
    """No atom lost (run_atoms would raise), mean temperature within 5%, first peaks within 0.05 Angstrom."""
    labelled = [a for a in ase.io.read(shared / "data/lipo_chgnet_test.xyz", ":") if a.info["temperature"] == 600]
    ase.io.write(tmp_path / "structure.xyz", labelled[0])
    run_atoms(read_structure(tmp_path / "structure.xyz"), model, MDSettings(temperature=600), tmp_path / "run")
    log = read_log(tmp_path / "run")
    assert log["step"][-1] == 10_000
    assert np.mean(log["temperature_K"]) == pytest.approx(600, rel=0.05)
    ours, theirs = radial_distribution(second_half(tmp_path / "run")), radial_distribution(labelled)
    for pair in ((3, 8), (8, 15)):
        assert ours.first_peak(pair) == pytest.approx(theirs.first_peak(pair), abs=0.05)
