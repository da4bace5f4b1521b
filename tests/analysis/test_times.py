"""The time between frames, as files of all kinds give it."""

import ase.io
import numpy as np
import pytest
from ase import Atoms

from rgnn.analysis import AnalysisSettings, analyse, open_trajectory
from rgnn.base.errors import InputError


def walk(times: list[float], **info: object) -> list[Atoms]:
    rng = np.random.default_rng(0)
    frames = []
    positions = 6.0 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1]])  # none meet
    for time in times:
        positions = positions + rng.normal(0, 0.1, (6, 3))
        atoms = Atoms("Li6", positions, cell=[12.0] * 3, pbc=True)
        atoms.info.update({"time_fs": time, **info})
        frames.append(atoms)
    return frames


EVEN = [10.0 * k for k in range(40)]
UNEVEN = [*EVEN[:20], *(200.0 + 35 * k for k in range(20))]
CHANGED = [*EVEN[:20], *(200.0 + 50 * k for k in range(40))]


@pytest.mark.parametrize("name", ["t.xyz", "t.traj"])
def test_uneven_times_are_said_and_nothing_is_fitted_to_them(name: str, tmp_path) -> None:
    ase.io.write(tmp_path / name, walk(EVEN))
    assert open_trajectory(tmp_path / name).interval == pytest.approx(0.01)
    ase.io.write(tmp_path / name, walk(UNEVEN))
    opened = open_trajectory(tmp_path / name)
    assert opened.interval is None and opened.uneven == ("the first frames are 10 fs apart, but frames 20 and 21 35 fs")
    found = analyse(opened, AnalysisSettings(skip=0.0))
    assert found.displacements is None and any("the time between frames is uneven" in note for note in found.notes)
    with pytest.raises(InputError, match=r"is uneven .*so 0.05 ps cannot be skipped; give --interval"):
        analyse(opened, AnalysisSettings(skip_ps=0.05))
    assert open_trajectory(tmp_path / name, interval=0.01).interval == 0.01


@pytest.mark.parametrize("name", ["t.xyz", "t.traj"])
def test_frames_at_two_intervals_are_taken_at_the_larger(name: str, tmp_path) -> None:
    frames = walk(CHANGED)
    ase.io.write(tmp_path / name, frames)
    opened = open_trajectory(tmp_path / name)
    assert opened.interval == pytest.approx(0.05) and opened.length == 44 and not opened.uneven
    taken = list(opened.frames(2))
    assert [a.info["time_fs"] for a in taken] == [50.0 * k for k in range(2, 44)]
    np.testing.assert_allclose(taken[0].positions, frames[10].positions, atol=1e-6)
    moved = taken[-1].positions - taken[0].positions
    np.testing.assert_allclose(moved, frames[-1].positions - frames[10].positions, atol=1e-6)
    found = analyse(opened, AnalysisSettings(skip=0.0))
    assert found.displacements is not None and found.displacements.interval == pytest.approx(0.05)
    assert any("frames 50 fs apart were taken, which leaves out 16 of 60" in note for note in found.notes)


def test_a_frame_that_was_written_twice_counts_once_and_two_runs_do_not_become_one(tmp_path) -> None:
    frames = walk(EVEN)
    ase.io.write(tmp_path / "twice.xyz", [*frames[:20], *frames[19:]])
    opened = open_trajectory(tmp_path / "twice.xyz")
    assert opened.interval == pytest.approx(0.01) and opened.length == 40 and "leaves out 1 of 41" in opened.remark
    ase.io.write(tmp_path / "two.xyz", [*frames, *frames])
    opened = open_trajectory(tmp_path / "two.xyz")
    assert opened.interval is None
    assert opened.uneven == "time falls from 390 to 0 fs at frame 40, so these are several runs in one file"


@pytest.mark.parametrize("times", [EVEN[::-1], [0.0] * 10, [0, 10, 20, 20, 30, 40]])
def test_times_that_do_not_rise_are_not_even(times: list[float], tmp_path) -> None:
    ase.io.write(tmp_path / "t.xyz", walk(times))
    opened = open_trajectory(tmp_path / "t.xyz")
    assert opened.interval is None and opened.uneven


def test_frames_in_no_order_of_time_have_no_displacements(tmp_path) -> None:
    """Unwrapping what is shuffled makes a random walk of it, which is no diffusion."""
    rng = np.random.default_rng(0)
    frames = walk(EVEN)
    for atoms in frames:
        atoms.positions[:2] = [[rng.uniform(0, 12), 3, 9], [rng.uniform(0, 12), 9, 3]]
    ase.io.write(tmp_path / "t.xyz", frames)
    found = analyse(open_trajectory(tmp_path / "t.xyz"), AnalysisSettings(skip=0.0))
    assert found.displacements is None and any("in no order of time" in note for note in found.notes)


def test_rounded_times_are_even(tmp_path) -> None:
    """As Quantum ESPRESSO rounds them: 0.97 fs to 0.1 fs."""
    ase.io.write(tmp_path / "t.xyz", walk([round(0.97 * k, 1) for k in range(60)]))
    assert open_trajectory(tmp_path / "t.xyz").interval == pytest.approx(0.97e-3, rel=2e-3)


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan"), float("inf")])
def test_an_interval_is_above_zero(interval: float, tmp_path) -> None:
    ase.io.write(tmp_path / "t.xyz", walk(EVEN))
    with pytest.raises(InputError, match=r"--interval is .* but it must be above 0"):
        open_trajectory(tmp_path / "t.xyz", interval=interval)


def test_times_of_cp2k_and_of_vasp(tmp_path, shared) -> None:
    atoms = walk([0.0])[0]
    rows = "".join(f"Li {x} {y} {z}\n" for x, y, z in atoms.positions)
    text = "".join(f"6\n i = {k}, time = {0.5 * k:.3f}, E = -17.0\n{rows}" for k in range(8))
    (tmp_path / "run-pos-1.xyz").write_text(text)
    assert open_trajectory(tmp_path / "run-pos-1.xyz").interval == pytest.approx(0.5e-3)
    assert open_trajectory(shared / "data/native/vasprun_LGPS_AIMD_264steps.xml.gz").interval == pytest.approx(2e-3)
    assert open_trajectory(shared / "data/native/OUTCAR_water_dimer_10_steps").interval == pytest.approx(1e-3)
    assert open_trajectory(shared / "data/native/OUTCAR_Li5P2NO6_relax_79steps.gz").interval is None
