"""Outputs of other programs against what ASE reads from the whole file, and against the numbers in the file."""

import gzip
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.units import Bohr, Hartree

from rgnn.base.errors import InputError
from rgnn.data.formats import read_frames, scan
from rgnn.data.formats.cp2k import without_forces
from rgnn.data.formats.selection import Selection
from rgnn.data.frames import Frame, Unusable

NATIVE = {
    "OUTCAR_water_dimer_10_steps": 10,
    "OUTCAR_Li5P2NO6_relax_79steps.gz": 79,
    "vasprun_water_dimer_10_steps.xml": 10,
    "vasprun_LGPS_AIMD_264steps.xml.gz": 264,
    "quantum_espresso_md.pwo": 50,
}


@pytest.fixture
def native(shared) -> Path:
    return shared / "data" / "native"


def text_of(path: Path) -> str:
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()


@pytest.mark.parametrize("name", NATIVE)
def test_all_is_what_ase_reads_from_the_whole_file(native, name: str) -> None:
    frames, images = list(read_frames(native / name)), ase.io.read(native / name, ":")
    assert len(frames) == len(images) == NATIVE[name]
    for frame, atoms in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame.numbers, atoms.numbers)
        np.testing.assert_array_equal(frame.positions, atoms.positions)
        np.testing.assert_array_equal(frame.cell, atoms.cell[:])
        np.testing.assert_array_equal(frame.forces, atoms.calc.results["forces"])
        assert frame.energy == atoms.calc.results["energy"]


@pytest.mark.parametrize("name", [n for n in NATIVE if n.startswith("OUTCAR")])
def test_forces_of_vasp_are_those_printed(native, name: str) -> None:
    tables = re.findall(r"TOTAL-FORCE \(eV/Angst\)\n -+\n(.*?)\n -+\n", text_of(native / name), re.DOTALL)
    for frame, table in zip(read_frames(native / name), tables, strict=True):
        np.testing.assert_array_equal(frame.forces, np.array([row.split() for row in table.split("\n")], float)[:, 3:])


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("part", [Selection(first=3, every=3), Selection(first=1, last=5)])
def test_parts(native, name: str, part: Selection) -> None:
    whole = list(read_frames(native / name))
    for mine, theirs in zip(read_frames(native / name, part), whole[part.first : part.last : part.every], strict=True):
        assert mine.digest == theirs.digest


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("keep", [0.55, 0.77, 0.93])
def test_a_file_that_ends_in_the_middle(native, tmp_path, name: str, keep: float) -> None:
    """Plain, and compressed and cut."""
    text = text_of(native / name)
    cut = tmp_path / name.removesuffix(".gz")
    cut.write_text(text[: int(keep * len(text))])
    *frames, (_, last) = scan(cut)
    assert isinstance(last, Unusable) and last.reason == "cut short"
    assert 0 < len(frames) < NATIVE[name]
    for (_, mine), theirs in zip(frames, read_frames(native / name), strict=False):
        assert isinstance(mine, Frame) and mine.digest == theirs.digest
    packed = gzip.compress(text.encode())
    squeezed = tmp_path / f"{name.removesuffix('.gz')}.gz"
    squeezed.write_bytes(packed[: int(keep * len(packed))])
    *frames, (_, last) = scan(squeezed)
    assert isinstance(last, Unusable) and frames


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("OUTCAR_water_dimer_10_steps", {"because EDIFF is reached": "although EDIFF is not"}),
        ("OUTCAR_water_dimer_10_steps", {r"NELM   = +60": "NELM   =  9", r"EDIFF  = 0.1E-05": "EDIFF  = 0.1E-19"}),
        ("quantum_espresso_md.pwo", {"convergence has been achieved in": "convergence NOT achieved after"}),
        (
            "vasprun_water_dimer_10_steps.xml",
            {r'(name="NELM">)\s*60': r"\g<1> 3", r'(name="EDIFF">)\s*0.00000100': r"\g<1> 1E-19"},
        ),
    ],
)
def test_frames_that_did_not_converge(native, tmp_path, name: str, changes: dict[str, str]) -> None:
    text = text_of(native / name)
    for old, new in changes.items():
        text, replaced = re.subn(old, new, text, count=1)
        assert replaced
    (tmp_path / name).write_text(text)
    left_out = [item for _, item in scan(tmp_path / name) if isinstance(item, Unusable)]
    assert left_out and {problem.reason for problem in left_out} == {"not converged"}
    assert all(isinstance(item, Frame) for _, item in scan(tmp_path / name, Selection(unconverged=True)))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("OUTCAR_water_dimer_10_steps", {r"NELM   = +60": "NELM   =  9"}),
        ("vasprun_water_dimer_10_steps.xml", {r'(name="NELM">)\s*60': r"\g<1> 9"}),
    ],
)
def test_a_step_may_converge_on_its_last_iteration(native, tmp_path, name: str, changes: dict[str, str]) -> None:
    text = text_of(native / name)
    for old, new in changes.items():
        text = re.sub(old, new, text, count=1)
    (tmp_path / name).write_text(text)
    assert all(isinstance(item, Frame) for _, item in scan(tmp_path / name))


def test_cp2k(native) -> None:
    path = native / "cp2k_cobalt_oxide_water-pos-1.xyz"
    said: list[str] = []
    frames = list(read_frames(path, warn=said.append))
    stated = ase.io.read(native / "cp2k_cobalt_oxide_water-frc-1.xyz", ":", format="xyz")
    assert len(frames) == 30 and "no cell" in said[0]
    for frame, atoms in zip(frames, stated, strict=True):
        np.testing.assert_allclose(frame.forces, atoms.positions * Hartree / Bohr, rtol=1e-14)
    assert frames[0].energy == pytest.approx(-12660.6289171951 * Hartree)
    assert not frames[0].pbc.any()
    assert read_frames(path, Selection(cell=(10.0, 10.5, 40.0))).__next__().pbc.all()


def cp2k_files(folder: Path, steps=(0, 1, 2), force_steps=(0, 1, 2), cell: bool = True) -> Path:
    def text(k: int, scale: float) -> str:
        return f"2\n i = {k}, time = {k}.000, E = -1.5\n Li1 {scale} 0 {k}.0\n O 0 {scale} 1.5\n"

    (folder / "water-pos-1.xyz").write_text("".join(text(k, 1.0) for k in steps))
    (folder / "water-frc-1.xyz").write_text("".join(text(k, 0.01) for k in force_steps))
    if cell:
        rows = [f"{k} 0.0 {8 + k} 0 0 0 8 0 0 0 8 512.0\n" for k in steps]
        (folder / "water-1.cell").write_text("# Step Time Ax Ay Az ...\n" + "".join(rows))
    return folder / "water-pos-1.xyz"


def test_cp2k_with_its_cells(tmp_path) -> None:
    frames = list(read_frames(cp2k_files(tmp_path)))
    assert [f.cell[0, 0] for f in frames] == [8, 9, 10]
    np.testing.assert_allclose(frames[2].forces[0], np.array([0.01, 0, 2.0]) * 51.4220674763, rtol=1e-7)
    assert frames[0].numbers.tolist() == [3, 8]
    files = [tmp_path / name for name in ("water-frc-1.xyz", "water-pos-1.xyz")]
    assert without_forces(files) == files[1:]


def test_cp2k_files_that_do_not_belong_together(tmp_path) -> None:
    said: list[str] = []
    items = dict(scan(cp2k_files(tmp_path, force_steps=(0, 7)), warn=said.append))
    assert list(items) == [0] and isinstance(items[0], Frame)
    assert any("steps have no forces in water-frc-1.xyz" in text for text in said)
    (tmp_path / "water-frc-1.xyz").unlink()
    with pytest.raises(InputError, match="side by side"):
        list(scan(tmp_path / "water-pos-1.xyz"))


def test_a_format_that_only_dpdata_reads(tmp_path) -> None:
    pytest.importorskip("dpdata")
    (tmp_path / "type.raw").write_text("0\n1\n")
    (tmp_path / "type_map.raw").write_text("Li\nO\n")
    for name, row in {
        "coord": "0 0 0 0 0 2.0",
        "force": "0 0 1 0 0 -1",
        "box": "9 0 0 0 9 0 0 0 9",
        "energy": "-1",
    }.items():
        (tmp_path / f"{name}.raw").write_text(row + "\n")
    [frame] = read_frames(tmp_path, Selection(format="dpdata:deepmd/raw"))
    assert frame.numbers.tolist() == [3, 8]
    np.testing.assert_allclose(frame.forces, [[0, 0, 1], [0, 0, -1]])


def test_without_dpdata_its_formats_say_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dpdata", None)
    with pytest.raises(InputError, match="pip install dpdata"):
        list(scan(tmp_path, Selection(format="dpdata:deepmd/raw")))
