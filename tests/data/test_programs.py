"""Outputs of VASP, CP2K, LAMMPS, DeePMD-kit and others in the ways that go wrong."""

import sys
import types
from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.units import Bohr, Hartree

from rgnn.base.errors import InputError
from rgnn.data.conversion import convert
from rgnn.data.formats import read_frames, scan
from rgnn.data.formats.labels import Keys
from rgnn.data.formats.lammps import LammpsDump
from rgnn.data.formats.selection import Selection, element
from rgnn.data.formats.text import FORCE_FIELD, NOT_CONVERGED
from rgnn.data.formats.vasp import Outcar, VaspXML
from rgnn.data.frames import Frame, Unusable

RNG = np.random.default_rng(0)
CELL = np.array([[6.0, 0, 0], [1.0, 5.5, 0], [-0.5, 0.7, 6.2]])
POSITIONS = np.array([[0.4, 0.4, 0.5], [2.2, 0.5, 0.4], [0.5, 2.4, 0.6]])
FORCES = RNG.normal(0, 1, (3, 3))


def outcar(*steps: tuple[int, float], nelm: int = 15, ibrion: int = 0) -> str:
    """The lines that decide, of ionic steps of (iterations, last energy change)."""
    text = f"   NELM   =    {nelm};   NELMIN=  2\n   EDIFF  = 0.1E-05   stopping-criterion for ELM\n"
    text += f"   IBRION =      {ibrion}\n   POTIM  = 2.0000\n   TEBEG  =   600.0;   TEEND  = 600.0\n"
    for number, (iterations, change) in enumerate(steps, 1):
        for k in range(iterations):
            energy = change if k == iterations - 1 else 1.0
            text += f"---- Iteration   {number}(  {k + 1})  ----\n"
            text += f" total energy-change (2. order) :{energy: .7E}  (0.1E-9)\n"
        text += "--- aborting loop because EDIFF is reached ---\n"
        text += " POSITION                                       TOTAL-FORCE (eV/Angst)\n ----\n 0 0 0 1 1 1\n ----\n"
        text += "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  energy  without entropy=  -1.0\n"
    return text


def test_convergence_of_outcar_is_counted_whatever_it_says() -> None:
    """VASP 5 writes that EDIFF is reached where NELM ran out, too."""
    text = outcar((15, -2.4e-3), (15, 8e-7), (7, -9e-7), (15, -1.1e-6))
    problems = [chunk.problem for chunk in Outcar().split(text.splitlines(keepends=True))]
    assert problems == [NOT_CONVERGED, "", "", NOT_CONVERGED]


def test_time_and_temperature_of_outcar() -> None:
    chunks = list(Outcar().split(outcar((7, 1e-7), (7, 1e-7)).splitlines(keepends=True)))
    assert [dict(chunk.info) for chunk in chunks] == [{"time_fs": t, "temperature": 600.0} for t in (2.0, 4.0)]
    relaxation = Outcar().split(outcar((7, 1e-7), ibrion=2).splitlines(keepends=True))
    assert [dict(chunk.info) for chunk in relaxation] == [{}]


def test_other_tables_of_forces_are_left_out_of_outcar() -> None:
    """Those without van der Waals terms, and those of a machine-learned force field, which are counted."""
    step = outcar((7, 1e-7))
    without = " POSITION                    FORCE-w/o vdW (eV/Angst)\n ------\n 0 0 0 9 9 9\n ------\n"
    learned = (
        "  ML FORCE on cell =-STRESS\n  in kB 9 9 9 9 9 9\n POSITION          TOTAL-FORCE (eV/Angst) (ML)\n ------\n"
        " 0 0 0 9 9 9\n ------\n  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  enthalpy is ML TOTEN = 9\n"
    )
    text = step.replace("  FREE ENERGIE", without + "  FREE ENERGIE") + 3 * learned
    chunks = list(Outcar().split(text.splitlines(keepends=True)))
    assert Counter(chunk.problem for chunk in chunks) == {"": 1, FORCE_FIELD: 3}
    assert "9 9 9" not in chunks[0].text and "1 1 1" in chunks[0].text


def vasprun(*energies: list[float], learns: bool = False) -> str:
    head = '<modeling>\n<i type="int" name="NELM">    3</i>\n<i name="EDIFF">  0.00001</i>\n'
    head += '<i type="int" name="IBRION">  0</i>\n'
    head += '<i name="POTIM">  1.5</i>\n<i name="TEBEG"> 300.0</i>\n<i name="TEEND"> 600.0</i>\n'
    head += '<i type="logical" name="ML_LMLFF"> T </i>\n' if learns else ""
    for step in energies:
        inner = "".join(f'<scstep>\n<i name="e_fr_energy"> {e} </i>\n</scstep>\n' for e in step)
        head += f"<calculation>\n{inner}</calculation>\n"
    return head + "</modeling>\n"


def test_convergence_and_time_of_vasprun() -> None:
    text = vasprun([5.0, 1.0, 0.9], [5.0, 1.0, 1.000001], [5.0, 1.0])
    chunks = list(VaspXML().split(text.splitlines(keepends=True)))
    assert [chunk.problem for chunk in chunks] == [NOT_CONVERGED, "", ""]
    assert [dict(chunk.info) for chunk in chunks] == [{"time_fs": t} for t in (1.5, 3.0, 4.5)]  # a ramp of temperature
    learned = VaspXML().split(vasprun([5.0, 1.0], [], learns=True).splitlines(keepends=True))
    assert [chunk.problem for chunk in learned] == ["", FORCE_FIELD]


def dump(columns: str, rows: list[str], head: str = "", bounds: str | None = None) -> str:
    low, high = np.zeros(3), np.diag(CELL).copy()
    xy, xz, yz = CELL[1, 0], CELL[2, 0], CELL[2, 1]
    low[0] += min(0, xy, xz, xy + xz)
    high[0] += max(0, xy, xz, xy + xz)
    low[1] += min(0, yz)
    high[1] += max(0, yz)
    tilts = (xy, xz, yz)
    box = "ITEM: BOX BOUNDS xy xz yz pp pp ff\n"
    box += "".join(f"{a:.9f} {b:.9f} {t:.9f}\n" for a, b, t in zip(low, high, tilts, strict=True))
    atoms = f"ITEM: NUMBER OF ATOMS\n3\n{bounds or box}ITEM: ATOMS {columns}\n" + "\n".join(rows) + "\n"
    return f"{head}ITEM: TIMESTEP\n0\n{atoms}ITEM: TIMESTEP\n10\n{atoms}"


def atom_rows(order=(2, 0, 1), scaled=False, names=("Li", "O", "P")) -> list[str]:
    where = POSITIONS @ np.linalg.inv(CELL) if scaled else POSITIONS
    return [f"{k + 1} {k + 1} {names[k]} " + " ".join(f"{x:.12f}" for x in (*where[k], *FORCES[k])) for k in order]


@pytest.mark.parametrize("scaled", [False, True])
def test_lammps_dumps_give_tilted_cells_in_the_order_of_ids(scaled: bool, tmp_path) -> None:
    place = "xs ys zs" if scaled else "x y z"
    (tmp_path / "dump.lammpstrj").write_text(dump(f"id type element {place} fx fy fz", atom_rows(scaled=scaled)))
    frames = list(read_frames(tmp_path / "dump.lammpstrj"))
    assert len(frames) == 2
    for frame in frames:
        np.testing.assert_array_equal(frame.numbers, [3, 8, 15])
        np.testing.assert_allclose(frame.positions, POSITIONS, atol=1e-8)
        np.testing.assert_allclose(frame.cell, CELL, atol=1e-8)
        np.testing.assert_allclose(frame.forces, FORCES, atol=1e-11)
        assert frame.pbc.tolist() == [True, True, False]


def test_a_dump_agrees_with_ase(tmp_path) -> None:
    (tmp_path / "dump.lammpstrj").write_text(dump("id type element x y z fx fy fz", atom_rows()))
    theirs = ase.io.read(tmp_path / "dump.lammpstrj", 0, format="lammps-dump-text")
    (ours, _) = read_frames(tmp_path / "dump.lammpstrj")
    np.testing.assert_array_equal(theirs.numbers, ours.numbers)
    np.testing.assert_allclose(theirs.get_all_distances(mic=False), ours.to_atoms().get_all_distances(), atol=1e-8)
    np.testing.assert_allclose(theirs.cell[:], ours.cell, atol=1e-8)


@pytest.mark.parametrize(("style", "factor"), [("real", 1 / 23.060548), ("metal", 1.0), ("electron", Hartree / Bohr)])
def test_units_of_dumps_are_obeyed_from_any_frame_on(style: str, factor: float, tmp_path) -> None:
    head = f"ITEM: UNITS\n{style}\nITEM: TIME\n0.5\n"
    (tmp_path / "d.dump").write_text(dump("id type element x y z fx fy fz", atom_rows(), head))
    for frame in (*read_frames(tmp_path / "d.dump"), *read_frames(tmp_path / "d.dump", Selection(first=1))):
        np.testing.assert_allclose(frame.forces, factor * FORCES, rtol=1e-6)
    length = Bohr if style == "electron" else 1.0
    np.testing.assert_allclose(frame.cell, length * CELL, atol=1e-8)
    first = next(read_frames(tmp_path / "d.dump"))
    assert first.time == pytest.approx(0.5 * (1000 if style == "metal" else 1))


def test_types_need_elements(tmp_path) -> None:
    rows = [" ".join(row.split()[:2] + row.split()[3:]) for row in atom_rows()]
    (tmp_path / "d.dump").write_text(dump("id type x y z fx fy fz", rows))
    with pytest.raises(InputError, match=r"types 1 to 3 but no elements; .* --elements Li,O,P"):
        list(read_frames(tmp_path / "d.dump"))
    for names in (("Li", "O"), ("Li", "O", "Xx")):
        with pytest.raises(InputError, match=r"name one a type|is not an element"):
            list(read_frames(tmp_path / "d.dump", Selection(elements=names)))
    frame = next(read_frames(tmp_path / "d.dump", Selection(elements=("Li", "O", "P"))))
    np.testing.assert_array_equal(frame.numbers, [3, 8, 15])
    np.testing.assert_allclose(frame.forces, FORCES, atol=1e-11)


def test_a_dump_that_was_cut(tmp_path) -> None:
    text = dump("id type element x y z fx fy fz", atom_rows())
    (tmp_path / "d.dump").write_text(text[:-60])
    found = [item for _, item in scan(tmp_path / "d.dump")]
    assert isinstance(found[0], Frame) and isinstance(found[1], Unusable) and found[1].reason == "cut short"
    assert LammpsDump().format == "lammps-dump-text"


def cp2k(folder: Path, positions: list[int], forces: list[int], cells: list[int] | None = None, grows=False) -> Path:
    """A run of CP2K whose frame of step k holds the positions and forces k shifts; energies are those of the steps."""
    for kind, steps, factor in (("pos", positions, 1.0), ("frc", forces, Bohr / Hartree)):
        with (folder / f"run-{kind}-1.xyz").open("w") as file:
            for k in steps:
                values = (POSITIONS + 0.01 * k) if kind == "pos" else factor * (FORCES + k)
                file.write(f"3\n i = {k}, time = {0.5 * k:.3f}, E = {-17.0 - k:.6f}\n")
                file.writelines(
                    f"{s} {' '.join(f'{x:.12f}' for x in row)}\n" for s, row in zip("HOH", values, strict=True)
                )
    if cells is not None:
        rows = [f"{k} {0.5 * k} {6 + k * grows} 0 0 0 6 0 0 0 6 216.0" for k in cells]
        (folder / "run-1.cell").write_text("# Step Time Ax ... Volume\n" + "\n".join(rows) + "\n")
    return folder / "run-pos-1.xyz"


@pytest.mark.parametrize(
    ("positions", "forces", "right"),
    [
        (list(range(21)), [0, 5, 10, 15, 20], [0, 5, 10, 15, 20]),
        ([0, 5, 10], list(range(11)), [0, 5, 10]),
        (list(range(12)), [k for k in range(12) if k != 4], [k for k in range(12) if k != 4]),
        ([*range(7), *range(5, 10)], [*range(6), *range(5, 10)], list(range(10))),
        ([*range(7), *range(5, 10)], [*range(5), *range(5, 10)], list(range(10))),
    ],
)
def test_cp2k_is_paired_by_step(positions: list[int], forces: list[int], right: list[int], tmp_path) -> None:
    said: list[str] = []
    frames = list(read_frames(cp2k(tmp_path, positions, forces), warn=said.append))
    steps = [round(float((frame.positions[0, 0] - POSITIONS[0, 0]) / 0.01)) for frame in frames]
    assert steps == right
    for step, frame in zip(steps, frames, strict=True):
        np.testing.assert_allclose(frame.forces, FORCES + step, atol=1e-9)
        assert frame.time == 0.5 * step and frame.energy == pytest.approx(Hartree * (-17 - step))
    assert any("have no forces in run-frc-1.xyz" in text for text in said) == (len(right) < len(positions))


def test_cells_that_are_written_now_and_then(tmp_path) -> None:
    path = cp2k(tmp_path, list(range(6)), list(range(6)), cells=[0, 5])
    assert [frame.cell[0, 0] for frame in read_frames(path)] == [6] * 6
    path = cp2k(tmp_path, list(range(6)), list(range(6)), cells=[0, 5], grows=True)
    kinds = [type(item) for _, item in scan(path)]
    assert kinds == [Frame, *[Unusable] * 4, Frame]


def test_cells_of_steps_that_a_restart_repeats(tmp_path) -> None:
    path = cp2k(tmp_path, [0, 1, 2, 1, 2], [0, 1, 2, 1, 2], cells=[0, 1, 2, 1, 2], grows=True)
    file = tmp_path / "run-1.cell"
    head, *rows = file.read_text().splitlines()
    rows[3:] = [
        row.replace(f"{k} {0.5 * k} {6 + k} ", f"{k} {0.5 * k} {6 + k}.5 ") for k, row in ((1, rows[3]), (2, rows[4]))
    ]
    file.write_text("\n".join([head, *rows]) + "\n")
    assert [frame.cell[0, 0] for frame in read_frames(path)] == [6, 7, 8, 7.5, 8.5]
    file.write_text("\n".join([head, *rows[:3], rows[4]]) + "\n")  # step 1 was written once: of which of the two?
    assert [type(item) for _, item in scan(path)] == [Frame, Unusable, Frame, Unusable, Frame]


def test_cp2k_geometry_optimisation_has_no_time(tmp_path) -> None:
    path = cp2k(tmp_path, [1, 2], [1, 2])
    for name in ("run-pos-1.xyz", "run-frc-1.xyz"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace("time = 0.500, ", "").replace("time = 1.000, ", ""))
    assert [frame.time for frame in read_frames(path)] == [None, None]


def deepmd(folder: Path, types=(0, 1, 2), names: str | None = "Li\nO\nP\n", n: int = 4) -> Path:
    part = folder / "set.000"
    part.mkdir(parents=True)
    (folder / "type.raw").write_text("\n".join(map(str, types)))
    if names is not None:
        (folder / "type_map.raw").write_text(names)
    np.save(part / "coord.npy", np.stack([POSITIONS + 0.1 * k for k in range(n)]).reshape(n, 9))
    np.save(part / "force.npy", np.stack([FORCES + k for k in range(n)]).reshape(n, 9))
    np.save(part / "box.npy", np.stack([CELL] * n).reshape(n, 9))
    np.save(part / "energy.npy", -1.0 - np.arange(n))
    np.save(part / "virial.npy", np.stack([-np.linalg.det(CELL) * 0.01 * np.eye(3)] * n).reshape(n, 9))
    return folder


def test_deepmd_folders_are_found_by_themselves(tmp_path) -> None:
    """One system, or a folder of several; as dpdata reads them where it is here."""
    frames = list(read_frames(deepmd(tmp_path / "all" / "one")))
    assert len(frames) == 4
    np.testing.assert_array_equal(frames[0].numbers, [3, 8, 15])
    np.testing.assert_allclose(frames[3].forces, FORCES + 3)
    np.testing.assert_allclose(frames[0].stress, [0.01, 0.01, 0.01, 0, 0, 0], atol=1e-12)
    assert frames[2].energy == -3.0
    deepmd(tmp_path / "all" / "two", names="Na\nS\nCl\n")
    assert len(list(read_frames(tmp_path / "all"))) == 8
    assert len(list(read_frames(tmp_path / "all", Selection(first=1, every=3)))) == 3
    dpdata = pytest.importorskip("dpdata")
    theirs = dpdata.LabeledSystem(str(tmp_path / "all" / "one"), fmt="deepmd/npy")
    np.testing.assert_allclose(theirs["forces"][3], frames[3].forces)


def test_deepmd_types_are_elements(tmp_path) -> None:
    kinds = deepmd(tmp_path / "kinds", names="Fe1\nFe2\nO\n")
    np.testing.assert_array_equal(next(read_frames(kinds, Selection(format="dpdata:deepmd/npy"))).numbers, [26, 26, 8])
    without = deepmd(tmp_path / "without", names=None)
    with pytest.raises(InputError, match=r"has no type_map.raw; name the elements .* --elements Li,O,P"):
        list(read_frames(without))
    np.testing.assert_array_equal(next(read_frames(without, Selection(elements=("Li", "O", "P")))).numbers, [3, 8, 15])
    with pytest.raises(InputError, match="has a type 2, but only 2 elements are named"):
        list(read_frames(without, Selection(elements=("Li", "O"))))
    assert [element(name, "f") for name in ("Fe1", "O", "H_ghost", "C2")] == ["Fe", "O", "H", "C"]
    for name in ("Foo", "1H", "", "water"):
        with pytest.raises(InputError):
            element(name, "f")


def test_deepmd_mixed_types(tmp_path) -> None:
    folder = deepmd(tmp_path / "mixed", types=(0, 0, 0))
    np.save(folder / "set.000" / "real_atom_types.npy", np.array([[0, 1, 2], [2, 1, 0], [0, 0, 0], [1, 1, 1]]))
    assert [f.numbers.tolist() for f in read_frames(folder)] == [[3, 8, 15], [15, 8, 3], [3] * 3, [8] * 3]


def test_rmd17_archives(tmp_path) -> None:
    arrays = {"nuclear_charges": np.array([8, 1, 1]), "coords": np.stack([POSITIONS, POSITIONS + 0.1])}
    arrays |= {"forces": np.stack([FORCES, -FORCES]), "energies": np.array([-23.060548, -1.0])}
    np.savez(tmp_path / "rmd17.npz", **arrays, old_indices=np.arange(2))
    frames = list(read_frames(tmp_path / "rmd17.npz"))
    np.testing.assert_allclose(frames[1].forces, -FORCES / 23.060548, rtol=1e-6)
    assert frames[0].energy == pytest.approx(-1.0, rel=1e-6) and not frames[0].pbc.any()
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(InputError, match="does not say its units; give --units metal"):
        list(read_frames(tmp_path / "other.npz"))
    metal = next(read_frames(tmp_path / "other.npz", Selection(keys=Keys(units="metal"))))
    np.testing.assert_allclose(metal.forces, FORCES)
    np.savez(tmp_path / "bad.npz", **{**arrays, "forces": FORCES}, old_indices=np.arange(2))
    with pytest.raises(InputError, match="do not fit each other"):
        list(read_frames(tmp_path / "bad.npz"))
    np.savez(tmp_path / "few.npz", **{**arrays, "energies": np.array([-1.0])}, old_indices=np.arange(2))
    said = list[str]()
    assert [frame.energy for frame in read_frames(tmp_path / "few.npz", warn=said.append)] == [None, None]
    assert "has 1 energies for 2 frames, which are taken without them" in said[0]


def archive(folder: Path, **more: object) -> Path:
    """An archive in the arrays of MD17 and sGDML."""
    arrays = {"z": np.array([8, 1, 1]), "R": np.stack([POSITIONS] * 2), "F": np.stack([FORCES] * 2)}
    np.savez(folder / "t.npz", **{**arrays, **more})
    return folder / "t.npz"


@pytest.mark.parametrize(
    ("energy", "length", "scale", "force"),
    [
        ("eV", "Ang", 1.0, 1.0),
        ("kcal/mol", "Angstrom", 1.0, 1 / 23.060548),
        (b"Hartree", b"bohr", Bohr, Hartree / Bohr),
        ("kcal/mol", "bohr", Bohr, 1 / 23.060548 / Bohr),
    ],
)
def test_stated_units_of_archives(energy, length, scale: float, force: float, tmp_path) -> None:
    path = archive(tmp_path, R=np.stack([POSITIONS / scale] * 2), E=np.ones(2), e_unit=energy, r_unit=length)
    for units in (None, "metal"):  # what the file states comes first
        frame = next(read_frames(path, Selection(keys=Keys(units=units))))
        np.testing.assert_allclose(frame.positions, POSITIONS, atol=1e-12)
        np.testing.assert_allclose(frame.forces, force * FORCES, rtol=1e-6)
        assert frame.energy == pytest.approx(force * scale, rel=1e-6)


def test_labels_of_archives_are_named_and_not_guessed(tmp_path) -> None:
    def read(path: Path, **keys: str) -> Frame:
        return next(read_frames(path, Selection(keys=Keys(units="metal", **keys))))

    path = archive(tmp_path, forces=np.stack([2 * FORCES] * 2), E=np.zeros(2), dft=np.ones(2))
    with pytest.raises(InputError, match="different arrays forces and F; choose one with --forces"):
        read(path)
    np.testing.assert_allclose(read(path, forces="F").forces, FORCES)
    assert read(path, forces="F", energy="dft").energy == 1
    for keys in ({"forces": "nope"}, {"forces": "F", "energy": "nope"}):
        with pytest.raises(InputError, match="has no array of numbers nope; it has E, F, R"):
            read(path, **keys)
    np.testing.assert_allclose(read(archive(tmp_path, forces=np.stack([FORCES] * 2))).forces, FORCES)


@pytest.mark.parametrize("cell", [6 * np.ones(3), 6 * np.eye(3), np.stack([6 * np.eye(3)] * 2)])
def test_cells_of_archives(cell: np.ndarray, tmp_path) -> None:
    frame = next(read_frames(archive(tmp_path, cell=cell), Selection(keys=Keys(units="metal"))))
    np.testing.assert_allclose(frame.cell, 6 * np.eye(3))
    assert frame.pbc.all()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"cell": np.ones((2, 3))}, r"array cell is \(2, 3\), but 2 x 3 x 3 or 3 x 3 were expected"),
        ({"cell": np.stack([np.eye(3)] * 5)}, "array cell is"),
        ({"cell": np.array("none")}, "no array of numbers cell"),
        ({"z": np.array([[8, 1, 1]] * 5)}, "do not fit each other"),
        ({"z": np.array([8.5, 1, 1])}, "atomic numbers are not whole"),
        ({"e_unit": "furlong"}, "'furlong'"),
    ],
)
def test_archives_that_do_not_fit_are_refused(arrays: dict[str, np.ndarray], said: str, tmp_path) -> None:
    with pytest.raises(InputError, match=said):
        list(read_frames(archive(tmp_path, **arrays), Selection(keys=Keys(units="metal"))))


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("coord", np.ones((4, 8)), "coord.npy: holds 32 numbers, but 3 x 3 x 3 were expected"),
        ("coord", np.array(["a"] * 36), "coord.npy: cannot be read"),
        ("force", np.ones((4, 8)), "force.npy: holds 32 numbers"),
        ("real_atom_types", np.zeros((4, 2), int), "real_atom_types.npy: holds 8 numbers"),
        ("real_atom_types", np.full((4, 3), -1), "has a type -1, but only 3 elements are named"),
    ],
)
def test_deepmd_arrays_that_do_not_fit_are_refused(name: str, array: np.ndarray, said: str, tmp_path) -> None:
    deepmd(tmp_path)
    np.save(tmp_path / "set.000" / f"{name}.npy", array)
    with pytest.raises(InputError, match=said):
        list(read_frames(tmp_path))


@pytest.mark.parametrize(("name", "array"), [("energy", np.ones((4, 3))), ("virial", np.ones((4, 6)))])
def test_deepmd_labels_of_other_shapes_cost_no_forces(name: str, array: np.ndarray, tmp_path) -> None:
    deepmd(tmp_path)
    np.save(tmp_path / "set.000" / f"{name}.npy", array)
    said = list[str]()
    frames = list(read_frames(tmp_path, warn=said.append))
    assert len(frames) == 4
    assert all((f.energy if name == "energy" else f.stress) is None for f in frames)
    assert f"{name}.npy: holds {array.size} numbers, but 4" in said[0] and "frames are taken without it" in said[0]


def test_deepmd_without_types_is_refused(tmp_path) -> None:
    deepmd(tmp_path)
    (tmp_path / "type.raw").write_text("")
    with pytest.raises(InputError, match=r"type\.raw: does not hold whole numbers"):
        list(read_frames(tmp_path))


def test_types_of_lammps_may_be_labels(tmp_path) -> None:
    rows = atom_rows(names=("Li", "O1", "P"))
    (tmp_path / "t.lammpstrj").write_text(dump("id mol type x y z fx fy fz", rows))
    frame = next(read_frames(tmp_path / "t.lammpstrj"))
    assert frame.numbers.tolist() == [3, 8, 15]
    np.testing.assert_allclose(frame.forces, FORCES, atol=1e-11)


def test_formats_with_units_of_their_own_take_no_others(tmp_path) -> None:
    (tmp_path / "OUTCAR").write_text(outcar((7, 1e-7)))
    with pytest.raises(InputError, match="defines its units; leave --units out"):
        scan(tmp_path / "OUTCAR", Selection(keys=Keys(units="real")))


def test_data_sets_by_name(tmp_path, monkeypatch) -> None:
    """As load-atoms gives them, which stands in here for the real package."""
    atoms = ase.Atoms("LiOP", POSITIONS, cell=CELL, pbc=True)
    atoms.arrays["forces"] = FORCES
    package = types.ModuleType("load_atoms")
    package.load_dataset = lambda name: [atoms] * 5 if name == "Glass" else 1 / 0
    monkeypatch.setitem(sys.modules, "load_atoms", package)
    found = list(read_frames("load-atoms:Glass", Selection(first=1, every=2)))
    assert len(found) == 2
    np.testing.assert_array_equal(found[0].forces, FORCES)
    assert len(convert(["load-atoms:Glass"], tmp_path / "s.zarr").store) == 1  # the others are the same frame
    with pytest.raises(InputError, match="load-atoms cannot load it"):
        list(read_frames("load-atoms:Nothing"))
    monkeypatch.setitem(sys.modules, "load_atoms", None)
    with pytest.raises(InputError, match="pip install load-atoms"):
        list(read_frames("load-atoms:Glass"))


@pytest.mark.parametrize(
    ("case", "options", "frames", "rms"),
    [
        ("01-outcar-nelm/OUTCAR", {}, 2, None),
        ("02-lammps-types/dump.lammpstrj", {"elements": ("Li", "O", "P")}, 3, 0.8152),
        ("03-lammps-units/dump.lammpstrj", {}, 3, 0.8152),
        ("11-dpdata-multi/three.xyz", {}, 3, None),
        ("14-outcar-mlff/OUTCAR", {}, 4, None),
        ("15-gnnff-db/frames.db", {}, 3, 0.8152),
        ("16-cp2k-steps/each-pos-1.xyz", {}, 5, None),
        ("16-cp2k-steps/lost-pos-1.xyz", {}, 11, None),
        ("16-cp2k-steps/restart-pos-1.xyz", {}, 10, None),
        ("16-cp2k-steps/celleach5-pos-1.xyz", {}, 11, None),
        ("17-stress-voigt/frames.xyz", {}, 3, 0.8152),
        ("18-two-forces/frames.xyz", {"keys": Keys(forces="REF_forces")}, 3, 0.8152),
        ("19-force-names/nep_lowercase.xyz", {}, 2, None),
        ("19-force-names/key_REF_force.xyz", {}, 3, 0.8152),
        ("23-deepmd-npy-no-format/b2o3", {}, 3, None),
        ("24-deepmd-no-type-map/lgps", {"elements": ("Li", "Ge", "P", "S")}, 3, None),
    ],
)
def test_files_of_others(shared, case: str, options: dict, frames: int, rms: float | None) -> None:
    """Frames and forces by dpdata, ASE or hand; see the README of each case."""
    found = [item for _, item in scan(shared / "cases" / case, Selection(**options)) if isinstance(item, Frame)]
    assert len(found) == frames
    if rms is not None:
        squares = np.concatenate([np.square(frame.forces) for frame in found])
        assert np.sqrt(squares.mean()) == pytest.approx(rms, abs=2e-3)
