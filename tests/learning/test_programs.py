"""Inputs for VASP, Quantum ESPRESSO and CP2K, and their outputs read back."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import Bohr, GPa, Hartree

from rgnn.base.errors import Awaited, InputError
from rgnn.base.events import SILENT
from rgnn.learning.labels import ProgramLabels
from rgnn.learning.programs import PROGRAMS, Cp2k, Espresso, Vasp

FORCES = np.random.default_rng(0).normal(0, 1, (8, 3))
STRESS = np.array([[1.0, 0.2, 0.3], [0.2, 2.0, 0.4], [0.3, 0.4, 3.0]])  # kbar, as VASP prints it


def structures() -> list[Atoms]:
    """Two crystals whose elements alternate, so that sorting them matters."""
    found = []
    for seed in range(2):
        atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True)
        atoms.positions += np.random.default_rng(seed).normal(0, 0.1, (8, 3))
        found.append(atoms)
    return found


@pytest.fixture
def template(tmp_path):
    folder = tmp_path / "template"
    folder.mkdir()
    return folder


def rows(name: str, values: np.ndarray) -> str:
    return (
        f'<varray name="{name}">\n'
        + "".join(f"<v> {' '.join(map(repr, v.tolist()))} </v>\n" for v in values)
        + "</varray>\n"
    )


def vasprun(atoms: Atoms, forces: np.ndarray, whole: bool = True) -> str:
    """What VASP 6 writes of one ionic step, as far as it is read."""
    names = "".join(f"<rc><c>{s}</c><c>1</c></rc>\n" for s in atoms.get_chemical_symbols())
    inner = f"<crystal>\n{rows('basis', atoms.cell[:])}</crystal>\n{rows('positions', atoms.get_scaled_positions())}"
    energies = "".join(f'<i name="{name}"> -5.5 </i>\n' for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy"))
    energies = f"<energy>\n{energies}</energy>\n"
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
    text += '<parameters>\n<i type="int" name="NELM">    60</i>\n<i name="EDIFF">  0.00001</i>\n</parameters>\n'
    text += '<kpoints>\n<varray name="kpointlist">\n</varray>\n<varray name="weights">\n</varray>\n</kpoints>\n'
    text += f'<atominfo>\n<array name="atoms">\n<set>\n{names}</set>\n</array>\n</atominfo>\n'
    text += f'<structure name="initialpos">\n{inner}</structure>\n<calculation>\n<scstep>\n{energies}</scstep>\n'
    if not whole:
        return text
    text += (
        f"<structure>\n{inner}</structure>\n{rows('forces', forces)}{rows('stress', STRESS)}{energies}</calculation>\n"
    )
    return text + "</modeling>\n"


def test_vasp_sorts_atoms_as_the_potcar_does_and_reads_labels_back(template, tmp_path) -> None:
    (template / "INCAR").write_text("NSW = 0\n")
    (template / "POTCAR").write_text("   VRHFIN =Li: s1p0\n ...\n   VRHFIN =F: s2p5\n")
    labels, round_folder, frames = ProgramLabels(Vasp(template)), tmp_path / "01", structures()
    with pytest.raises(Awaited, match=r"2 inputs are written: run VASP in .*/000 to 001, and give the same command"):
        labels.label(round_folder, frames, SILENT)
    for number in range(2):
        folder = round_folder / f"labels/00{number}"
        assert (folder / "INCAR").read_text() == "NSW = 0\n" and (folder / "POTCAR").is_file()
        written = ase.io.read(folder / "POSCAR")
        assert written.get_chemical_symbols() == 4 * ["Li"] + 4 * ["F"]
        assert sorted(map(tuple, written.positions.round(6))) == sorted(map(tuple, frames[number].positions.round(6)))
    first = round_folder / "labels/000"
    written = ase.io.read(first / "POSCAR")
    (first / "vasprun.xml").write_text(vasprun(written, FORCES, whole=False))
    with pytest.raises(Awaited, match="2 outputs are missing"):  # one is still running
        labels.label(round_folder, frames, SILENT)
    (first / "vasprun.xml").write_text(vasprun(written, FORCES))
    with pytest.raises(Awaited, match=r"1 output is missing: run VASP in .*/001, and"):
        labels.label(round_folder, frames, SILENT)
    (round_folder / "labels/001/skip").touch()
    (file,) = labels.label(round_folder, frames, SILENT)
    found = ase.io.read(file)
    np.testing.assert_allclose(found.get_forces(), FORCES, atol=1e-7)
    np.testing.assert_allclose(found.positions, written.positions, atol=1e-7)
    assert found.get_potential_energy() == pytest.approx(-5.5)
    expected = -0.1 * GPa * STRESS[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(found.get_stress(), expected, rtol=1e-5)


def test_an_output_of_another_structure_is_refused(template, tmp_path) -> None:
    (template / "INCAR").touch()
    labels, frames = ProgramLabels(Vasp(template)), structures()
    with pytest.raises(Awaited):
        labels.label(tmp_path / "01", frames, SILENT)
    moved = ase.io.read(tmp_path / "01/labels/000/POSCAR")
    moved.positions[3, 0] += 0.05
    (tmp_path / "01/labels/000/vasprun.xml").write_text(vasprun(moved, FORCES))
    with pytest.raises(InputError, match="is of another structure than was written"):
        labels.label(tmp_path / "01", frames, SILENT)


def test_a_template_that_cannot_work_is_refused(template, tmp_path) -> None:
    for program in PROGRAMS.values():
        with pytest.raises(InputError, match="and needs one"):
            program(template)
        with pytest.raises(InputError, match="is no folder"):
            program(tmp_path / "nowhere")
    (template / "INCAR").touch()
    (template / "POTCAR").write_text("VRHFIN =Cu: d10\n")
    with pytest.raises(InputError, match="is for Cu, but the structure has F, Li"):
        Vasp(template).prepare(structures()[0], tmp_path / "x")
    (template / "vasprun.xml").touch()
    with pytest.raises(InputError, match="is an output, and would be taken for that of each structure"):
        Vasp(template)


PW = """&CONTROL
  calculation = 'scf', tprnfor = .true., tstress = .true.
  pseudo_dir = "/pseudo/pbe"  ! in double quotes, with slashes
/
&SYSTEM
  ibrav = 0, nat = 8, ntyp = 2, ecutwfc = 40
  starting_magnetization(1) = 0.5
/
&ELECTRONS
/
ATOMIC_SPECIES
Li 6.94 Li.upf
F 18.998 F.upf
K_POINTS automatic
2 2 2 0 0 0
"""


def test_espresso_gets_its_input_as_it_is_with_the_structure(template, tmp_path) -> None:
    (template / "pw.in").write_text(PW)
    atoms = structures()[0]
    Espresso(template).prepare(atoms, tmp_path / "000")
    text = (tmp_path / "000/pw.in").read_text()
    assert text.startswith(PW)
    written = ase.io.read(tmp_path / "000/pw.in", format="espresso-in")
    np.testing.assert_allclose(written.positions, atoms.positions, atol=1e-9)
    np.testing.assert_allclose(written.cell[:], atoms.cell[:], atol=1e-9)
    assert written.get_chemical_symbols() == atoms.get_chemical_symbols()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ibrav = 0", "ibrav = 1", "ibrav is 1; write ibrav = 0"),
        ("tprnfor = .true.", "tprnfor = .false.", "tprnfor is .false.; write"),
        ("'scf'", "'vc-relax'", "may move atoms"),
        ("nat = 8", "nat = 7", "nat must be 8"),
        ("F 18.998 F.upf\n", "", "ATOMIC_SPECIES has no F"),
        ("K_POINTS", "ATOMIC_POSITIONS crystal\nK_POINTS", "has ATOMIC_POSITIONS, which is added"),
    ],
)
def test_an_input_of_pw_that_would_mislead_is_refused(old: str, new: str, said: str, template, tmp_path) -> None:
    (template / "pw.in").write_text(PW.replace(old, new))
    with pytest.raises(InputError, match=said):
        Espresso(template).prepare(structures()[0], tmp_path / "000")
    assert not (tmp_path / "000").exists()


def test_espresso_output_is_read(template, tmp_path, shared) -> None:
    """The first step of a real molecular dynamics run stands for a single calculation."""
    native = shared / "data/native/quantum_espresso_md.pwo"
    first = ase.io.read(native, index=0, format="espresso-out")
    symbols = first.get_chemical_symbols()
    species = "".join(f"{s} 1.0 {s}.upf\n" for s in sorted(set(symbols)))
    pw = PW.replace("nat = 8", f"nat = {len(first)}").replace("Li 6.94 Li.upf\nF 18.998 F.upf\n", species)
    (template / "pw.in").write_text(pw)
    labels = ProgramLabels(Espresso(template))
    with pytest.raises(Awaited, match=r"1 input is written: run Quantum ESPRESSO's pw\.x in .*labels/000, and"):
        labels.label(tmp_path / "01", [first], SILENT)
    (tmp_path / "01/labels/000/pw.out").write_bytes(native.read_bytes())
    (file,) = labels.label(tmp_path / "01", [first], SILENT)
    np.testing.assert_allclose(ase.io.read(file).get_forces(), first.get_forces(), atol=1e-7)


def test_cp2k_includes_the_structure_and_its_trajectory_is_read(template, tmp_path) -> None:
    (template / "run.inp").write_text("&FORCE_EVAL\n&SUBSYS\n@INCLUDE 'structure.inc'\n&END\n&END\n")
    atoms = structures()[0]
    labels = ProgramLabels(Cp2k(template))
    with pytest.raises(Awaited, match="run CP2K in"):
        labels.label(tmp_path / "01", [atoms], SILENT)
    folder = tmp_path / "01/labels/000"
    text = (folder / "structure.inc").read_text()
    lines = text.splitlines()
    cell = [[float(x) for x in line.split()[1:]] for line in lines if line.split()[0] in ("A", "B", "C")]
    np.testing.assert_allclose(cell, atoms.cell[:], atol=1e-9)
    assert "PERIODIC XYZ" in text and lines[-1] == "&END COORD"
    places = [line.split() for line in lines[lines.index("&COORD") + 1 : -1]]
    assert [p[0] for p in places] == atoms.get_chemical_symbols()
    for name, values in (("pos", atoms.positions), ("frc", FORCES * Bohr / Hartree)):
        body = "".join(f"{s} {' '.join(f'{x:.10f}' for x in v)}\n" for s, v in zip(atoms.symbols, values, strict=True))
        (folder / f"run-{name}-1.xyz").write_text(f"8\n i = 0, time = 0.000, E = {-2.0:.10f}\n{body}")
    (file,) = labels.label(tmp_path / "01", [atoms], SILENT)
    found = ase.io.read(file)
    np.testing.assert_allclose(found.get_forces(), FORCES, atol=1e-6)
    assert found.get_potential_energy() == pytest.approx(-2.0 * Hartree)
    assert found.pbc.all()


def test_cp2k_without_the_include_or_a_cell_is_refused(template, tmp_path) -> None:
    (template / "run.inp").write_text("&COORD\n&END\n")
    with pytest.raises(InputError, match=r"does not include structure\.inc"):
        Cp2k(template)
    (template / "run.inp").write_text("@INCLUDE structure.inc\n")
    with pytest.raises(InputError, match="CP2K needs a cell"):
        Cp2k(template).prepare(Atoms("LiF", [[0, 0, 0], [0, 0, 1.6]]), tmp_path / "000")
