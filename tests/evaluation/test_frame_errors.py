"""Energies and stresses: errors that are known because the labels are the model's, bent on purpose."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from pair_energy import PairEnergy, pair_energy

import rgnn
from rgnn import Chip, Graph, GraphStore, Hardware
from rgnn.chip.board.settings import BoardSettings
from rgnn.data.frames import Frame
from rgnn.data.store.writer import write_store
from rgnn.evaluation import evaluate_hardware
from rgnn.evaluation.board import evaluate_on_board
from rgnn.evaluation.frame_errors import GPA, FrameErrors
from rgnn.evaluation.intervals import Sample
from rgnn.evaluation.other_chip import evaluate_on_other_chip
from rgnn.evaluation.plan import plan, resume
from rgnn.evaluation.predicted import gather
from rgnn.reports.evaluation import tables, write_evaluation

CUTOFF, FRAMES, TENSION = 3.8, 24, 0.002
# Energies are off by so much: a constant for each atom, as of another reference, and a known rest.
OFFSET, REST = 3.0, np.random.default_rng(0).normal(0, 0.004, FRAMES)


def structure(k: int):
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True) if k % 2 else bulk("LiF", "rocksalt", a=4.1, cubic=True)
    atoms = atoms.repeat((2, 1, 1)) if k % 2 else atoms
    atoms.rattle(0.1, seed=k)
    return atoms


@pytest.fixture(scope="module")
def model() -> PairEnergy:
    atoms = structure(1)
    g = Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, CUTOFF)
    return pair_energy(g, hardware=Hardware(bits=8, noise=0.05), shift=-1.5)


@pytest.fixture(scope="module")
def store(model, tmp_path_factory) -> GraphStore:
    """Labels are what the ideal chip gives, less known errors; the last four frames have no energy and no stress."""
    frames, ideal = [], model.hardware.ideal()
    for k in range(FRAMES):
        atoms = structure(k)
        g = Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, CUTOFF)
        found = model(g, model.read(ideal))
        energy = float(found.energy[0].detach()) - len(atoms) * (OFFSET + REST[k])
        stress = found.stress[0].detach().numpy()[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)] - TENSION * (np.arange(6) < 3)
        known = k < FRAMES - 4
        frames.append(
            Frame(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, found.forces.detach().numpy(),
                  energy if known else None, 300.0, None, stress if known else None)
        )  # fmt: skip
    path = tmp_path_factory.mktemp("store") / "pairs.zarr"
    write_store(frames, path, cutoff=CUTOFF)
    return GraphStore(path)


@pytest.fixture(scope="module")
def found(model, store):
    return rgnn.evaluate(model, store, noise=[0.2], repeats=3)


def test_known_errors_come_out(found) -> None:
    whole, known = found.rows[0].whole, FRAMES - 4
    assert found.rows[0].hardware.noise is None
    assert whole.energies.frames == known == whole.stresses.frames
    assert whole.offset == pytest.approx(1000 * (OFFSET + REST[:known].mean()), abs=1e-3)
    assert whole.energies.mae.value == pytest.approx(1000 * np.abs(OFFSET + REST[:known]).mean(), abs=1e-3)
    assert whole.stresses.mae.value == pytest.approx(TENSION / 2, rel=1e-4)
    assert whole.components["yy"].rmse.value == pytest.approx(TENSION, rel=1e-4)
    assert whole.components["xy"].mae.value < 1e-6
    assert whole.pressure_offset == pytest.approx(-TENSION, rel=1e-4)


def test_differences_do_not_see_the_reference_of_energies(found) -> None:
    """Two compositions, each with an offset of its own; the rest is as wide as it was made."""
    rest = REST[: FRAMES - 4]
    expected = 1000 * np.sqrt((rest[::2].var(ddof=1) + rest[1::2].var(ddof=1)) / 2)
    differences = found.rows[0].whole.differences
    assert differences.rmse.value == pytest.approx(expected, rel=1e-4)
    assert differences.rmse.low < 4 < differences.rmse.high < 100


def test_differences_of_few_frames_are_not_too_small() -> None:
    """Two frames of a composition: half of their difference would be too small by the root of two."""
    rng, squares, sizes = np.random.default_rng(0), [], []
    for _ in range(400):
        errors = rng.normal(0, 1, (1, 1, 4))
        whole = FrameErrors(
            np.ones(4), np.array([0, 0, 1, 2]), errors / 1000, np.full((1, 1, 4, 6), np.nan), Sample.of_one_run(4)
        )
        squares.append(whole.differences.rmse.value**2)
        sizes.append(whole.differences.frames)
    assert np.mean(squares) == pytest.approx(1, rel=0.15)
    assert set(sizes) == {2}  # frames that are alone in their composition have no difference


def test_the_grid_has_them_too(found) -> None:
    ideal, trained, loud = (row.whole for row in found.rows)
    assert trained.energy.shape == (1, 3, FRAMES)
    assert ideal.differences.rmse.value < trained.differences.rmse.value < loud.differences.rmse.value
    assert trained.stresses.mae.value < loud.stresses.mae.value


def test_json_and_csv_have_units_in_their_keys(found, tmp_path) -> None:
    files = write_evaluation(found, tmp_path)
    record = json.loads((tmp_path / "eval.json").read_text())
    energy, stress = record["settings"][1]["energy"], record["settings"][1]["stress"]
    assert (energy["frames"], energy["frames_without_label"], stress["frames"]) == (FRAMES - 4, 4, FRAMES - 4)
    low, high = energy["differences"]["rmse_mev_per_atom_95"]
    assert low < energy["differences"]["rmse_mev_per_atom"] < high
    assert stress["mae_gpa"] == pytest.approx(stress["mae_ev_per_angstrom3"] / GPA)
    head, ideal, *_ = (line.split(",") for line in (tmp_path / "eval.csv").read_text().splitlines())
    row = dict(zip(head, ideal, strict=True))
    assert float(row["stress_mae_gpa"]) == pytest.approx(TENSION / 2 / GPA, rel=1e-4)
    assert {file.name for file in files} >= {"parity-energy-stress.png", "predictions.xyz", "report.html"}
    page = (tmp_path / "report.html").read_text()
    assert f"energy in {FRAMES - 4} of {FRAMES} frames" in page and "Energy differences, meV/atom" in page


def test_a_resumed_setting_keeps_its_energies(model, store, tmp_path) -> None:
    indices = list(range(6))
    first, again = (
        evaluate_hardware(model, store, indices, [model.hardware], repeats=2, keep=tmp_path)[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first.whole.energy, again.whole.energy)
    np.testing.assert_array_equal(first.whole.stress, again.whole.stress)


def test_a_resumed_evaluation_knows_whether_its_frames_were_held_out(model, store, tmp_path) -> None:
    """Frames 0 to 3 were; frame 9 was trained on."""
    trained = copy.deepcopy(model)
    trained.provenance = model.provenance.override(data_checksum=store.checksum, held_out=((0, 3),))
    rgnn.save_model(trained, tmp_path / "model")
    for frames, held_out in (([1, 2], True), ([1, 9], False)):
        begun = plan(str(tmp_path / "model"), store, frames=frames)
        begun.save(tmp_path / "e")
        assert begun.held_out == resume(tmp_path / "e").held_out == held_out


def test_intervals_on_another_chip_and_on_a_board_know_the_trajectories_too(model, store, tmp_path) -> None:
    begun = plan(model, store, frames=[1, 2, 5, 23], repeats=1)
    Chip.synthetic(9).save(tmp_path / "other")
    for name, errors in evaluate_on_other_chip(begun, tmp_path / "other", tmp_path / "o").stages:
        assert errors.sample is begun.sample, name
    on_board = replace(begun, settings=begun.settings.override(board=BoardSettings(driver="simulator")))
    found = evaluate_on_board(on_board, tmp_path / "b")
    assert all(row.sample is on_board.sample for row in [*found.simulated, *(s.errors for s in found.stages)])


def test_predictions_are_those_of_the_errors_and_ase_reads_them(model, store, tmp_path) -> None:
    """The first draw, frame by frame: what is written less the labels gives the very errors."""
    indices = [1, 2, 5, 23]
    [row] = evaluate_hardware(model, store, indices, [model.hardware], repeats=2, seed=4)
    pairs = gather(model, store, indices, model.hardware, 4, tmp_path / "p.xyz")
    read = ase.io.read(tmp_path / "p.xyz", ":")
    for k, atoms in enumerate(read):
        forces = atoms.arrays["predicted_forces"] - atoms.get_forces()
        assert np.abs(forces).sum() == pytest.approx(row.sums[0, 0, k, :, 1].sum(), rel=1e-4)
        assert atoms.info["frame"] == indices[k]
        if indices[k] < FRAMES - 4:
            error = atoms.info["predicted_energy"] - atoms.get_potential_energy()
            assert error == pytest.approx(row.whole.energy[0, 0, k], abs=1e-6)
            np.testing.assert_allclose(
                atoms.info["predicted_stress"] - atoms.get_stress(), row.whole.stress[0, 0, k], atol=1e-7
            )
    assert "energy" not in read[3].calc.results and np.isnan(pairs.energy[0, 3])
    assert [p.name for p in Path(tmp_path).iterdir()] == ["p.xyz"]


def test_without_labels_there_are_no_tables_but_words(model, store, tmp_path) -> None:
    found = rgnn.evaluate(model, store, frames=[22, 23], repeats=1)
    assert found.to_mapping()["settings"][0]["energy"]["mae_mev_per_atom"] is None
    assert not any("Energy" in t.title or "Stress" in t.title for t in tables(found.rows, {}, model))
    write_evaluation(found, tmp_path)
    assert "no energy in any frame; no stress in any frame" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "parity-energy-stress.png").exists()
