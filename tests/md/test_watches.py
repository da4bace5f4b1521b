"""What a run has seen of its closest atoms: in log, summary, figure and rgnn info."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols
from ase.io import read, write
from listeners import Heard
from springs import CONFIG, Springs, StopAt, crystal

from rgnn.base.errors import InputError, Interrupted
from rgnn.base.provenance import Closest, Provenance, TrainingDomain
from rgnn.md import MDSettings, read_log, run_atoms
from rgnn.md.contacts import ContactWatch
from rgnn.md.state import State
from rgnn.md.structures import require_velocities
from rgnn.plots.dynamics import run_figure
from rgnn.reports.contents import contents
from rgnn.reports.dynamics import closest_words, dynamics_mapping


def model(distance: float) -> Springs:
    springs = Springs()
    closest = (Closest(first=3, second=9, distance=distance),)
    springs.provenance = Provenance(elements=(3, 9), seen=TrainingDomain(closest=closest, frames=1))
    return springs


RUN = CONFIG.override(steps=30, temperature=600, write_every=2)


def test_the_closest_atoms_of_every_pair_are_logged_and_summed_up(tmp_path) -> None:
    out = tmp_path / "run"
    result = run_atoms(crystal(2), model(1.9), RUN, out)
    log, frames = read_log(out), read(out / "trajectory.traj", ":")
    for k, atoms in enumerate(frames):
        distances = atoms.get_all_distances(mic=True)
        for name in ("Li-F", "Li-Li"):
            one, other = (atoms.symbols == symbol for symbol in name.split("-"))
            near = distances[np.ix_(one, other)]
            near = near[near > 0].min()
            assert log[f"closest_{name}"][k] == (
                pytest.approx(near, abs=1e-6) if near < 2.6 else pytest.approx(np.nan, nan_ok=True)
            )
        assert log["closest_ratio"][k] == pytest.approx(log["closest_Li-F"][k] / 1.9, rel=1e-6)
    row = int(log["closest_Li-F"].argmin())
    pair = result.closest["Li-F"]
    assert (pair.distance, pair.trained, pair.too_close) == (pytest.approx(log["closest_Li-F"][row]), 1.9, False)
    assert pair.time == pytest.approx(log["time_fs"][row] / 1000)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["closest"]["Li-F"]["distance"] == pair.distance
    assert f"Li-F {pair.distance:.2f} Å at" in closest_words(result.closest)
    plain = json.loads(json.dumps(dynamics_mapping(result, RUN, {}), allow_nan=False))
    assert plain["closest"]["Li-F"] == {
        "angstrom": pair.distance, "time_ps": pair.time, "training_angstrom": 1.9, "too_close": False,
    }  # fmt: skip
    found = contents(out)
    assert found.closest == result.closest and found.measured.verdict == result.thermostat
    assert found.to_mapping()["closest"] == plain["closest"]
    _, peaks = run_figure(out, tmp_path / "figure.png")
    assert peaks


def test_a_run_that_goes_on_too_close_says_so_everywhere(tmp_path) -> None:
    out = tmp_path / "run"
    result = run_atoms(crystal(2), model(2.6), RUN.override(close_contacts="ignore"), out)
    assert result.closest["Li-F"].too_close and closest_words(result.closest).endswith("too close")
    figure, peaks = run_figure(out, tmp_path / "figure.png")
    assert peaks == {} and figure.stat().st_size > 1000
    assert contents(out).closest["Li-F"].too_close


def test_a_resumed_run_has_the_same_watches(tmp_path) -> None:
    whole = run_atoms(crystal(), model(1.9), RUN, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run_atoms(crystal(), model(1.9), RUN, tmp_path / "cut", listener=Heard(StopAt(11)))
    again = run_atoms(None, model(1.9), RUN, tmp_path / "cut", resume=True)
    assert again.closest == whole.closest and again.thermostat == whole.thermostat
    assert (tmp_path / "cut/log.csv").read_text() == (tmp_path / "whole/log.csv").read_text()


def test_a_run_without_a_record_of_training_is_watched_for_fused_atoms(tmp_path) -> None:
    result = run_atoms(crystal(), Springs(), RUN, tmp_path / "run")
    log = read_log(tmp_path / "run")
    assert np.isnan(log["closest_ratio"]).all() and np.isfinite(log["closest_Li-F"]).all()
    assert result.closest["Li-F"].trained is None and closest_words(result.closest) == ""


def test_fused_atoms_stop_a_model_that_knows_its_training_and_else_are_told_of() -> None:
    atoms = crystal()
    atoms.positions[2] = atoms.positions[0] + (0, 0, 0.4)
    pair = "-".join(chemical_symbols[z] for z in sorted(atoms.numbers[[0, 2]]))
    for domain, stops in ((model(1.9).provenance.seen, True), (TrainingDomain(), False)):
        said: list[str] = []
        words = ContactWatch(domain, "stop", said.append).look(3, atoms)
        assert (words is not None) == stops == (not said)
        assert f"the closest {pair} are 0.4 Angstrom apart, less than 0.6 of the sum" in (words or said[0])


def moving(**changes) -> Atoms:
    atoms = crystal()
    rng = np.random.default_rng(3)
    atoms.set_velocities(rng.normal(0, 0.02, (len(atoms), 3)) + 0.01)
    return atoms


def test_velocities_of_the_file_are_kept(tmp_path) -> None:
    write(tmp_path / "moving.xyz", moving(), format="extxyz")
    atoms, settings = read(tmp_path / "moving.xyz"), RUN.override(keep_velocities=True)
    said: list[str] = []
    run_atoms(atoms, Springs(), settings, tmp_path / "run", listener=Heard(lambda: False, info=said.append))
    first = read(tmp_path / "run/trajectory.traj", 0)
    drift = atoms.get_momenta().sum(axis=0) / atoms.get_masses().sum()
    np.testing.assert_allclose(first.get_velocities(), atoms.get_velocities() - drift, atol=1e-9)
    assert any(f"{first.get_temperature() * 8 / 7:.0f} K" in words for words in said)
    drawn = State.start(atoms, Springs(), RUN)
    assert not np.allclose(drawn.atoms.get_velocities(), first.get_velocities(), atol=1e-3)


def test_velocities_that_are_not_there_are_not_kept() -> None:
    settings = MDSettings(keep_velocities=True)
    with pytest.raises(InputError, match=r"has no velocities that ASE reads.*--keep-velocities"):
        State.start(crystal(), Springs(), settings)
    still = crystal()
    still.set_momenta(np.zeros((len(still), 3)))
    with pytest.raises(InputError, match="only velocities of zero"):
        State.start(still, Springs(), settings)
    wrong = moving()
    momenta = wrong.get_momenta()
    momenta[3] = np.inf
    wrong.set_momenta(momenta)
    with pytest.raises(InputError, match=r"file\.xyz: the velocity of atom 3 is not finite"):
        require_velocities(wrong, "file.xyz")
