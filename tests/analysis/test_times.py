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
    positions = rng.uniform(0, 12, (6, 3))
    for time in times:
        positions = positions + rng.normal(0, 0.1, (6, 3))
        atoms = Atoms("Li6", positions, cell=[12.0] * 3, pbc=True)
        atoms.info.update({"time_fs": time, **info})
        frames.append(atoms)
    return frames


EVEN = [10.0 * k for k in range(40)]
UNEVEN = [*EVEN[:20], *(200.0 + 50 * k for k in range(20))]


@pytest.mark.parametrize("name", ["t.xyz", "t.traj"])
def test_uneven_times_are_said_and_nothing_is_fitted_to_them(name: str, tmp_path) -> None:
    ase.io.write(tmp_path / name, walk(EVEN))
    assert open_trajectory(tmp_path / name).interval == pytest.approx(0.01)
    ase.io.write(tmp_path / name, walk(UNEVEN))
    opened = open_trajectory(tmp_path / name)
    assert opened.interval is None and opened.uneven == ("the first frames are 10 fs apart, but frames 20 and 21 50 fs")
    found = analyse(opened, AnalysisSettings(skip=0.0))
    assert found.displacements is None and any("the time between frames is uneven" in note for note in found.notes)
    with pytest.raises(InputError, match=r"is uneven .*so 0.05 ps cannot be skipped; give --interval"):
        analyse(opened, AnalysisSettings(skip_ps=0.05))
    assert open_trajectory(tmp_path / name, interval=0.01).interval == 0.01


@pytest.mark.parametrize("times", [EVEN[::-1], [0.0] * 10, [0, 10, 20, 20, 30, 40]])
def test_times_that_do_not_rise_are_not_even(times: list[float], tmp_path) -> None:
    ase.io.write(tmp_path / "t.xyz", walk(times))
    opened = open_trajectory(tmp_path / "t.xyz")
    assert opened.interval is None and opened.uneven


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
