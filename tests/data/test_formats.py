import pickle
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from rgnn.base.errors import InputError
from rgnn.data.formats import read_frames, scan
from rgnn.data.formats.selection import Selection
from rgnn.data.frames import Frame, Unusable


def frames(n: int = 5, forces=None) -> list[Atoms]:
    rng = np.random.default_rng(0)
    made = []
    for k in range(n):
        atoms = Atoms("LiOP", positions=rng.uniform(0, 5, (3, 3)), cell=np.diag([5.0, 5, 6]), pbc=True)
        atoms.info["temperature"] = 300 + k
        labels = rng.normal(size=(3, 3)) if forces is None else forces
        atoms.calc = SinglePointCalculator(atoms, forces=labels, energy=-1.0 - k)
        made.append(atoms)
    return made


@pytest.mark.parametrize("name", ["t.xyz", "t.traj", "t.db", "t.json"])
def test_frames_come_as_they_were_written(tmp_path, name) -> None:
    written = frames()
    ase.io.write(tmp_path / name, written)
    read = list(read_frames(tmp_path / name))
    assert len(read) == 5
    for atoms, frame in zip(written, read, strict=True):
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.numbers, atoms.numbers)
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-8)
        np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(frame.cell, atoms.cell[:])
        assert frame.pbc.all()
        assert frame.energy == pytest.approx(atoms.get_potential_energy())


def test_a_part_of_the_frames(tmp_path) -> None:
    ase.io.write(tmp_path / "t.xyz", frames(10), format="extxyz")
    assert [f.temperature for f in read_frames(tmp_path / "t.xyz", Selection(every=3, first=1, last=9))] == [
        301,
        304,
        307,
    ]


def test_forces_under_other_names(tmp_path) -> None:
    atoms = frames(1)[0]
    labels = atoms.get_forces()
    atoms.calc = None
    atoms.arrays["REF_forces"] = labels
    ase.io.write(tmp_path / "t.xyz", atoms, format="extxyz")
    np.testing.assert_allclose(next(read_frames(tmp_path / "t.xyz")).forces, labels, atol=1e-8)


def refused(path: Path, **options) -> str:
    with pytest.raises(InputError) as error:
        list(read_frames(path, Selection(**options)))
    assert str(path) in str(error.value)
    return str(error.value)


def test_no_forces(tmp_path) -> None:
    atoms = frames(1)[0]
    atoms.calc = None
    ase.io.write(tmp_path / "t.xyz", atoms, format="extxyz")
    assert "frame 0 has no forces" in refused(tmp_path / "t.xyz")


@pytest.mark.parametrize(("value", "words"), [(np.nan, "nan"), (np.inf, "inf"), (1001.0, "1001 eV/Angstrom")])
def test_nan_and_absurd_forces(tmp_path, value, words) -> None:
    bad = np.zeros((3, 3))
    bad[1, 2] = value
    ase.io.write(tmp_path / "t.traj", [*frames(2), *frames(1, bad)])
    said = refused(tmp_path / "t.traj")
    assert "frame 2" in said
    assert "atom 1" in said
    assert words in said


@pytest.mark.parametrize("keep", [0.99, 0.6, 0.1])
def test_a_truncated_xyz(tmp_path, keep) -> None:
    ase.io.write(tmp_path / "t.xyz", frames(4), format="extxyz")
    text = (tmp_path / "t.xyz").read_text()
    (tmp_path / "t.xyz").write_text(text[: int(keep * len(text))])
    *whole, (index, problem) = scan(tmp_path / "t.xyz")
    assert isinstance(problem, Unusable) and problem.reason == "cut short"
    assert [k for k, _ in whole] == list(range(index)) == list(range(int(4 * keep)))
    assert all(isinstance(frame, Frame) for _, frame in whole)


def test_a_name_with_an_at_sign(tmp_path) -> None:
    for n, name in ((2, "run.xyz@1"), (5, "run.xyz")):
        ase.io.write(tmp_path / "t.xyz", frames(n))
        (tmp_path / "t.xyz").rename(tmp_path / name)
    assert len(list(read_frames(tmp_path / "run.xyz@1", Selection(format="extxyz")))) == 2


def test_files_that_cannot_be_used(tmp_path) -> None:
    assert "no such file" in refused(tmp_path / "none.xyz")
    (tmp_path / "empty.xyz").touch()
    assert "empty" in refused(tmp_path / "empty.xyz")
    (tmp_path / "what.bin").write_bytes(bytes(range(256)))
    assert "ASE has no format 'bin'" in refused(tmp_path / "what.bin")
    assert "no format" in refused(tmp_path / "what.bin", format="nonsense")
    ase.io.write(tmp_path / "t.xyz", frames(2), format="extxyz")
    assert "holds no frames" in refused(tmp_path / "t.xyz", first=5)


def test_periodic_without_a_cell(tmp_path) -> None:
    atoms = frames(1)[0]
    labels = atoms.get_forces()
    atoms.cell[:] = 0
    atoms.calc = SinglePointCalculator(atoms, forces=labels)
    ase.io.write(tmp_path / "t.traj", atoms)
    assert "zero" in refused(tmp_path / "t.traj")


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


@pytest.mark.parametrize("name", ["t.xyz", "t.traj", "t.pkl", "t.db", "t.bundle"])
def test_pickles_are_never_executed(tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    refused(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_python_files_are_never_executed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text("open('exploded', 'w')\n")
    refused(tmp_path / "t.py")
    refused(tmp_path / "t.py", format="py")
    (tmp_path / "t.bundle").mkdir()
    (tmp_path / "t.bundle" / "metadata.json").write_text("{}")
    assert "refused" in refused(tmp_path / "t.bundle", format="bundletrajectory")
    assert not (tmp_path / "exploded").exists()
