import shutil
import threading

import ase.io
import numpy as np
import pytest
from ase import Atoms
from listeners import Heard
from springs import CONFIG, Scripted, Springs, StopAt, assert_same, crystal

from rgnn import RGNN, Chip, Graph, Hardware
from rgnn.base.errors import BrokenRunError, InputError, Interrupted
from rgnn.md import Stage, read_log, run_atoms, run_batch
from rgnn.models.settings import MessagePassingSettings

QUIET = CONFIG.override(noise=0.0)


@pytest.fixture(scope="module")
def model() -> RGNN:
    config = MessagePassingSettings(cutoff=3.0, n_features=6, reservoir_layers=1, trained_layers=1)
    model = RGNN(config, Hardware(bits=4, noise=0.1), Chip.synthetic(0).matrices(RGNN.matrices(config)))
    a = crystal()
    a.rattle(0.1, seed=1)
    model(Graph.from_positions(a.numbers, a.positions, a.cell[:], a.pbc, 3.0))
    return model.eval()


def structures() -> list[Atoms]:
    """Three that differ in size, shape and boundaries."""
    made = [crystal(), crystal((2, 1, 1)), Atoms("LiFLi", [[0, 0, 0], [1.9, 0, 0], [3.0, 1.6, 0]])]
    for k, atoms in enumerate(made):
        atoms.rattle(0.05, seed=k)
    return made


def configs(config=CONFIG):
    return [config.override(seed=k) for k in range(3)]


def outs(folder):
    return [folder / str(k) for k in range(3)]


def frames(out):
    return np.stack([f.positions for f in ase.io.read(out / "trajectory.xyz", ":")])


def test_without_noise_each_run_equals_the_same_run_alone(model, tmp_path) -> None:
    calls = []
    counted = model.register_forward_hook(lambda module, inputs, output: calls.append(inputs[0].atoms_per_frame))
    results = run_batch(structures(), model, configs(QUIET), outs(tmp_path / "together"))
    counted.remove()
    assert calls == [(8, 16, 3)] * 25  # one call of the model for each step, and one for step 0
    for k, (atoms, config) in enumerate(zip(structures(), configs(QUIET), strict=True)):
        alone = run_atoms(atoms, model, config, tmp_path / "alone" / str(k))
        together = tmp_path / "together" / str(k)
        np.testing.assert_allclose(frames(together), frames(tmp_path / "alone" / str(k)), atol=1e-6)
        assert results[k].temperature == pytest.approx(alone.temperature, rel=1e-4)
        assert results[k].steps == 24


def test_hardware_that_sees_all_rows_at_once_does_not_mix_the_runs(tmp_path) -> None:
    """Input ranges that follow the data: one call for each run, so that each equals the same run alone to the bit."""
    config = MessagePassingSettings(cutoff=3.0, n_features=6, reservoir_layers=1, trained_layers=1)
    dynamic = RGNN(config, Hardware(bits=4, range="dynamic"), Chip.synthetic(0).matrices(RGNN.matrices(config))).eval()
    assert not dynamic.hardware.rows_are_independent
    run_batch(structures(), dynamic, configs(), outs(tmp_path / "together"))
    run_atoms(structures()[1], dynamic, configs()[1], tmp_path / "alone")
    assert_same(tmp_path / "alone", tmp_path / "together" / "1")


@pytest.fixture(scope="module")
def unbroken(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch")
    run_batch(structures(), model, configs(), outs(folder))
    return folder


def test_a_batch_repeats_itself_noise_included(model, unbroken, tmp_path) -> None:
    run_batch(structures(), model, configs(), outs(tmp_path))
    for k in range(3):
        assert_same(unbroken / str(k), tmp_path / str(k))


@pytest.mark.parametrize("at", [1, 9])
def test_a_stopped_batch_goes_on_to_the_same_end(model, unbroken, tmp_path, at: int) -> None:
    """All runs stop at the same step, whenever in a step the signal comes, and are resumed together."""
    outcomes = run_batch(structures(), model, configs(), outs(tmp_path), listener=Heard(StopAt(at)))
    assert {type(outcome) for outcome in outcomes} == {Interrupted}
    assert len({str(outcome).partition(" at step ")[2].partition(" ")[0] for outcome in outcomes}) == 1
    seen = []
    run_batch(
        None,
        model,
        configs(),
        outs(tmp_path),
        resume=True,
        listener=Heard(progress=lambda step, total, note: seen.append(step)),
    )
    assert seen == list(range(at + 1, 24))
    for k in range(3):
        assert_same(unbroken / str(k), tmp_path / str(k))


def test_a_run_that_breaks_leaves_the_others_alone(tmp_path) -> None:
    def spoil(forces):
        if len(forces) > 16:
            forces[9] = float("nan")  # atom 1 of the second run
        return forces

    outcomes = run_batch(structures(), Scripted(6, spoil), configs(QUIET), outs(tmp_path / "a"))
    assert isinstance(outcomes[1], BrokenRunError)
    assert "at step 6 the force on atom 1 (Li) is nan" in str(outcomes[1]) or "atom 1 (F)" in str(outcomes[1])
    assert (tmp_path / "a" / "1" / "broken.xyz").exists()
    for k in (0, 2):
        run_atoms(structures()[k], Springs(), configs(QUIET)[k], tmp_path / "alone" / str(k))
        np.testing.assert_allclose(frames(tmp_path / "a" / str(k)), frames(tmp_path / "alone" / str(k)), atol=1e-9)
        assert outcomes[k].steps == 24


def test_runs_of_different_length_and_temperature(tmp_path) -> None:
    ramp = (Stage(name="ramp", steps=10, temperature_from=100, temperature_to=500),)
    settings = [QUIET, QUIET.override(steps=10, temperature=100.0, stages=ramp), QUIET.override(steps=15)]
    results = run_batch(structures(), Springs(), settings, outs(tmp_path))
    assert [result.steps for result in results] == [24, 10, 15]
    assert read_log(tmp_path / "1")["target_K"].tolist() == [100, 220, 340, 460]


def test_what_goes_wrong_outside_a_run_ends_the_batch(tmp_path) -> None:
    """An error of the model reaches the caller, and no thread is left waiting."""

    class Failing(Springs):
        def predict(self, g, reading):
            raise MemoryError("no memory")

    with pytest.raises(MemoryError):
        run_batch(structures(), Failing(), configs(), outs(tmp_path / "a"))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("run ")]
    with pytest.raises(InputError, match="share a chip"):
        run_batch(structures(), Springs(), [QUIET, CONFIG, CONFIG], outs(tmp_path / "b"))


def test_a_full_disk_in_one_run_is_not_swallowed(tmp_path, monkeypatch) -> None:
    def full(*arguments) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rgnn.md.outputs.Outputs.write_speed", full)
    with pytest.raises(OSError, match="No space"):
        run_batch(structures(), Springs(), configs(), outs(tmp_path))
    shutil.rmtree(tmp_path)
