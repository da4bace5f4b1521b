from itertools import product
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from springs import Springs, crystal

from rgnn.analysis import AnalysisSettings, activation_energies, compare
from rgnn.base.errors import InputError, Interrupted
from rgnn.base.events import Listener
from rgnn.md import MDSettings, Stage, run_atoms

FRAMES = 20


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Two trajectories of the same name, in folders of their own."""
    rng = np.random.default_rng(0)
    start = 2.7 * np.array(list(product(range(3), repeat=3)))[:12]
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        frames = [Atoms([3] * 12, start + rng.normal(0, 0.2, start.shape), cell=[8.1] * 3, pbc=True)] * FRAMES
        ase.io.write(tmp_path / folder / "run.xyz", frames, format="extxyz")
        paths.append(tmp_path / folder / "run.xyz")
    return paths


def test_runs_of_one_name_are_told_apart(files) -> None:
    found = compare(files, AnalysisSettings(r_max=3.9, skip=0.0))
    assert [run.name for run in found.runs] == [str(path) for path in files]
    assert found.reference is None and not found.fits and not found.warnings
    assert [run.frames for run in compare(files[:1], AnalysisSettings(r_max=3.9)).runs] == [FRAMES - FRAMES // 5]


def test_a_reference_is_read_from_its_first_frame(files) -> None:
    found = compare(files[:1], AnalysisSettings(r_max=3.9, skip=0.5), reference=files[1])
    assert found.runs[0].frames == FRAMES // 2
    assert found.reference is not None and found.reference.frames == FRAMES


def test_progress_counts_the_frames_of_all_runs_and_may_stop(files) -> None:
    seen = list[tuple[float, float]]()

    class Counting(Listener):
        def progress(self, done: float, total: float, note: str = "") -> None:
            seen.append((done, total))

        def stop(self) -> bool:
            return len(seen) == FRAMES + 3

    with pytest.raises(Interrupted):
        compare(files, AnalysisSettings(r_max=3.9, skip=0.0), listener=Counting())
    assert seen == [(k + 1, 2 * FRAMES) for k in range(FRAMES + 3)]


def test_runs_count_as_one_only_under_the_same_conditions(tmp_path) -> None:
    """All start at 300 K; one goes on to another temperature, one has another friction, one another density."""

    def run(name: str, size: float = 1.0, hold: float = 400, **changes) -> Path:
        stages = (Stage(steps=20, temperature_from=300, temperature_to=hold), Stage(steps=40, temperature=hold))
        settings = MDSettings(stages=stages, write_every=1, trajectory="traj").override(**changes)
        atoms = crystal()
        atoms.set_cell(size * atoms.cell[:], scale_atoms=True)
        run_atoms(atoms, Springs(), settings, tmp_path / name)
        return tmp_path / name

    runs = [run("a"), run("b", seed=1, restart_every=7), run("hotter", seed=2, hold=600), run("looser", friction=0.02)]
    runs += [run("larger", 1.02, seed=3), run("shorter", timestep=0.5)]
    (joint,) = compare(runs, AnalysisSettings(skip=0.0)).together
    assert joint.names == ("a", "b")


def test_a_run_whose_temperature_was_changed_is_of_no_one_temperature(tmp_path) -> None:
    stages = (Stage(steps=40, temperature_from=300, temperature_to=600), Stage(steps=60, temperature=600))
    run_atoms(crystal(), Springs(), MDSettings(stages=stages, write_every=1, trajectory="traj"), tmp_path / "a")
    (whole,) = compare([tmp_path / "a"], AnalysisSettings(skip=0.2)).runs
    (hold,) = compare([tmp_path / "a"], AnalysisSettings(skip=0.4)).runs
    assert "450 to 600 K in what is analysed" in whole.ramp and whole.ramp in whole.notes
    assert hold.ramp == "" and not any("thermostat" in note for note in hold.notes)
    assert activation_energies([whole]) == ({}, {})  # it is no point of a line
    assert activation_energies([hold])[1].keys() == {3, 9}
    with pytest.raises(InputError, match=r"no activation energy: a: the thermostat has 450 to 600 K"):
        compare([tmp_path / "a"], AnalysisSettings(skip=0.2), arrhenius=True)


def test_what_makes_no_sense_is_refused(files) -> None:
    with pytest.raises(InputError, match="name it too"):
        compare(files, reference_temperature=300)
    with pytest.raises(InputError, match="no activation energy"):
        compare(files, AnalysisSettings(r_max=3.9), arrhenius=True)
