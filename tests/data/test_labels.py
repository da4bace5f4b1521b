"""Forces, energies and stresses under the names and in the units of other programs."""

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from rgnn.base.errors import InputError
from rgnn.data.conversion import convert
from rgnn.data.formats import read_frames, scan
from rgnn.data.formats.labels import Keys
from rgnn.data.formats.selection import Selection
from rgnn.data.formats.units import energy_unit, force_unit, length_unit, style_units
from rgnn.data.frames import Frame, Unusable
from rgnn.data.store.reader import GraphStore

BOX = 6.0
RNG = np.random.default_rng(0)
POSITIONS = np.array([[0.4, 0.4, 0.5], [2.2, 0.5, 0.4], [0.5, 2.4, 0.6]]) + RNG.normal(0, 0.02, (3, 3))
FORCES = RNG.normal(0, 1, (3, 3))
STRESS = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])


def xyz(
    columns="forces:R:3", comment="", arrays=(FORCES,), lattice="Lattice", properties="Properties", scale=1.0
) -> str:
    """Two frames of LiOP as text, their second forces the negative of the first."""
    text = ""
    for sign in (1, -1):
        box = f'{lattice}="{BOX * scale} 0 0 0 {BOX * scale} 0 0 0 {BOX * scale}"'
        text += f'3\n{box} {properties}=species:S:1:pos:R:3:{columns} {comment} pbc="T T T"\n'
        for k, symbol in enumerate(("Li", "O", "P")):
            rows = [scale * POSITIONS[k], *(sign * a[k] for a in arrays)]
            text += f"{symbol} {' '.join(f'{x:.12f}' for x in np.concatenate(rows))}\n"
    return text


def read(tmp_path, text: str, name="t.xyz", **options) -> list[Frame]:
    (tmp_path / name).write_text(text)
    return list(read_frames(tmp_path / name, Selection(**options)))


def problem(tmp_path, text: str, **options) -> Unusable:
    (tmp_path / "t.xyz").write_text(text)
    (_, first), *_ = scan(tmp_path / "t.xyz", Selection(**options))
    assert isinstance(first, Unusable)
    return first


@pytest.mark.parametrize(
    "name",
    ["forces", "force", "REF_forces", "REF_force", "DFT_forces", "DFT_force", "dft_force", "ref_forces", "Forces"],
)
def test_usual_names_of_forces(name: str, tmp_path) -> None:
    for frame in read(tmp_path, xyz(f"{name}:R:3")):
        np.testing.assert_allclose(np.abs(frame.forces), np.abs(FORCES), atol=1e-11)


def test_lower_case_keys_of_nep(tmp_path) -> None:
    text = xyz("force:R:3", "energy=-1.5", lattice="lattice", properties="properties")
    frame = read(tmp_path, text)[0]
    np.testing.assert_allclose(frame.forces, FORCES, atol=1e-11)
    np.testing.assert_allclose(frame.cell, BOX * np.eye(3))
    assert frame.energy == -1.5


def test_two_arrays_are_reported_and_not_guessed(tmp_path) -> None:
    text = xyz("forces:R:3:REF_forces:R:3", "energy=-1 REF_energy=-2", (np.zeros((3, 3)), FORCES))
    said = problem(tmp_path, text)
    assert said.reason == "two arrays of forces" and "(forces is all zeros); choose one with --forces" in str(said)
    frame = read(tmp_path, text, keys=Keys(forces="REF_forces"))[0]
    np.testing.assert_allclose(frame.forces, FORCES, atol=1e-11)
    assert frame.energy == -2  # that of the same labels
    assert read(tmp_path, text, keys=Keys(forces="forces"))[0].energy == -1
    assert read(tmp_path, text, keys=Keys(forces="forces", energy="REF_energy"))[0].energy == -2
    same = xyz("forces:R:3:REF_forces:R:3", arrays=(FORCES, FORCES))
    np.testing.assert_allclose(read(tmp_path, same)[0].forces, FORCES, atol=1e-11)


def test_an_error_names_what_was_found(tmp_path) -> None:
    text = xyz("labels_of_ada:R:3")
    assert "its arrays of vectors are labels_of_ada" in str(problem(tmp_path, text))
    assert "name them with --forces" in str(problem(tmp_path, text))
    np.testing.assert_allclose(read(tmp_path, text, keys=Keys(forces="labels_of_ada"))[0].forces, FORCES, atol=1e-11)
    assert "has no array 'nothing'" in str(problem(tmp_path, text, keys=Keys(forces="nothing")))
    assert "has no 'nothing'" in str(problem(tmp_path, xyz(), keys=Keys(energy="nothing")))


@pytest.mark.parametrize("name", ["t.db", "t.json"])
def test_labels_in_the_data_of_a_database(name: str, tmp_path) -> None:
    with ase.db.connect(tmp_path / name) as database:
        for sign in (1, -1):
            atoms = Atoms("LiOP", POSITIONS, cell=BOX * np.eye(3), pbc=True)
            database.write(atoms, data={"forces": sign * FORCES, "energy": -3.0})
    frames = list(read_frames(tmp_path / name))
    np.testing.assert_allclose(frames[1].forces, -FORCES)
    assert frames[0].energy == -3.0 and len(frames) == 2
    assert len(list(read_frames(tmp_path / name, Selection(first=1)))) == 1


@pytest.mark.parametrize(
    ("comment", "length", "force", "energy"),
    [
        ('force-unit="Hartree/Bohr"', 1.0, units.Hartree / units.Bohr, 1.0),
        ("forces_unit=kcal/mol/Angstrom energy-unit=kcal/mol", 1.0, 1 / 23.060548, 1 / 23.060548),
        ("length-unit=bohr force_unit=au energy_units=Ha", units.Bohr, units.Hartree / units.Bohr, units.Hartree),
        ("length_units=nm energy_unit=kJ/mol", 10.0, 1 / 964.8533, 1 / 96.48533),
        ("units=real", 1.0, 1 / 23.060548, 1 / 23.060548),
        ("unit_force=eV/Å", 1.0, 1.0, 1.0),
        ("unit_cell=conventional", 1.0, 1.0, 1.0),
        ('units="eV, Angstrom"', 1.0, 1.0, 1.0),
        ("units=eV/Angstrom", 1.0, 1.0, 1.0),
        ('units="Hartree Bohr"', units.Bohr, units.Hartree / units.Bohr, units.Hartree),
        ("forceUnit=kcal/mol/A energyUnits=kcal/mol", 1.0, 1 / 23.060548, 1 / 23.060548),
        ("REF_forces_unit=Hartree/Bohr unit_of_energy=Ha", 1.0, units.Hartree / units.Bohr, units.Hartree),
        ("lattice_unit=bohr pos_unit=bohr force_unit=eV/A", units.Bohr, 1.0, 1.0),
    ],
)
def test_stated_units_are_obeyed(comment: str, length: float, force: float, energy: float, tmp_path) -> None:
    frame = read(tmp_path, xyz(comment=f"energy=2.0 {comment}", scale=1 / length))[0]
    np.testing.assert_allclose(frame.positions, POSITIONS, atol=1e-9)
    np.testing.assert_allclose(frame.cell, BOX * np.eye(3), atol=1e-9)
    np.testing.assert_allclose(frame.forces, force * FORCES, rtol=1e-6, atol=1e-11)
    assert frame.energy == pytest.approx(2 * energy, rel=1e-6)


def test_unknown_units_are_refused_and_given_ones_are_those_of_silent_files(tmp_path) -> None:
    said = problem(tmp_path, xyz(comment="force-unit=furlong"))
    assert said.reason == "unknown unit" and "'furlong'" in str(said)
    frame = read(tmp_path, xyz(scale=1 / units.Bohr), keys=Keys(units="atomic"))[0]
    np.testing.assert_allclose(frame.positions, POSITIONS, atol=1e-9)
    np.testing.assert_allclose(frame.forces, units.Hartree / units.Bohr * FORCES, atol=1e-9)
    stated = read(tmp_path, xyz(comment="units=metal"), keys=Keys(units="atomic"))[0]
    np.testing.assert_allclose(stated.forces, FORCES, atol=1e-11)


def test_a_list_of_units_gives_forces_theirs(tmp_path) -> None:
    frame = read(tmp_path, xyz(comment='energy=2 units="Hartree, Angstrom, Hartree/Bohr"'))[0]
    np.testing.assert_allclose(frame.positions, POSITIONS, atol=1e-9)
    np.testing.assert_allclose(frame.forces, units.Hartree / units.Bohr * FORCES, atol=1e-9)
    assert frame.energy == pytest.approx(2 * units.Hartree)
    for name in ("kcal/mol/A", "Hartree/Bohr"):
        assert "says nothing of energy and length" in str(problem(tmp_path, xyz(comment=f"units={name}")))


def test_two_units_of_one_kind_are_refused(tmp_path) -> None:
    said = problem(tmp_path, xyz(comment="lattice_unit=bohr pos_unit=Angstrom"))
    assert "two units of length, 'bohr' and 'Angstrom'" in str(said)


# 160.21766 GPa are 1 eV/Angstrom^3, and 10 kbar are 1 GPa.
@pytest.mark.parametrize(
    ("comment", "key", "factor"),
    [
        ("stress={} stress-unit=GPa", None, 1 / 160.21766208),
        ("stress={} pressure_unit=kbar", "stress", 1 / 1602.1766208),
        ("stress={} stress_unit=eV/A^3", None, 1.0),
        ("stress={} stress_unit=Ha/Bohr**3", None, units.Hartree / units.Bohr**3),
        ("stress={}", "stress", 1.0),
        ("sigma={}", "sigma", 1.0),
        ("my_virial={}", "my_virial", -1 / BOX**3),
        ("virial={} virial_unit=kcal/mol", None, -1 / BOX**3 / 23.060548),
    ],
)
def test_units_and_names_of_stresses(comment: str, key: str | None, factor: float, tmp_path) -> None:
    text = xyz(comment=comment.format('"1 2 3 4 5 6"'))
    stress = read(tmp_path, text, keys=Keys(stress=key))[0].stress
    np.testing.assert_allclose(stress, factor * np.arange(1, 7), rtol=1e-6)


def test_a_stress_that_was_named_is_not_dropped_silently(tmp_path) -> None:
    text = xyz(comment='stress="1 2 3 4 5 6" stress_unit=furlong sigma="1 2"')
    assert read(tmp_path, text)[0].stress is None
    assert "'furlong'" in str(problem(tmp_path, text, keys=Keys(stress="stress")))
    assert "'sigma' cannot be its stress" in str(problem(tmp_path, text, keys=Keys(stress="sigma")))
    assert "it has" in str(problem(tmp_path, text, keys=Keys(stress="other")))


@pytest.mark.parametrize("name", ["pbc", "PBC", "Pbc"])
def test_which_directions_are_periodic_in_any_spelling(name: str, tmp_path) -> None:
    text = xyz().replace('pbc="T T T"', f'{name}="T F F"')
    assert read(tmp_path, text)[0].pbc.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("eV/Angstrom", 1.0), ("eV Å^-1", 1.0), ("eV*Ang^-1", 1.0), ("eV per Angstrom", 1.0), ("meV/Angstrom", 1e-3),
        ("Ha/Bohr", 51.4220670904), ("Eh/a0", 51.4220670904), ("a.u.", 51.4220670904), ("Ry/au", 25.7110335452),
        ("kcal mol-1 A-1", 0.0433641039), ("kJ/mol/nm", 0.0010364269), ("nN", 0.6241509),
    ],
)  # fmt: skip
def test_spellings_of_units(text: str, value: float) -> None:
    assert force_unit(text, "f") == pytest.approx(value, rel=1e-6)


def test_other_units() -> None:
    assert length_unit("Bohr", "f") == length_unit("au", "f") == pytest.approx(0.529177, rel=1e-6)
    assert energy_unit("mHa", "f") == pytest.approx(0.0272114, rel=1e-5)
    assert style_units("metal", "f").time == 1000 and style_units("real", "f").time == 1
    with pytest.raises(InputError, match="units are 'lj'"):
        style_units("lj", "f")


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ('stress="0.01 0.02 0.03 0.04 0.05 0.06"', STRESS),
        ('stress="0.01 0.06 0.05 0.06 0.02 0.04 0.05 0.04 0.03"', STRESS),
        ('virial="-2.16 0 0 0 -2.16 0 0 0 -2.16"', np.array([0.01, 0.01, 0.01, 0, 0, 0])),  # V = 216
        ('REF_stress="0.01 0.02 0.03 0.04 0.05 0.06"', STRESS),
        ('stress="nonsense"', None),
        ("stress=0.1", None),
        ('dipole="1 2" magmom="a b" charges=3 foo="bar baz"', None),
    ],
)
def test_what_is_not_needed_does_not_cost_the_forces(comment: str, found: np.ndarray | None, tmp_path) -> None:
    frame = read(tmp_path, xyz(comment=f"energy=-1 {comment}"))[0]
    np.testing.assert_allclose(frame.forces, FORCES, atol=1e-11)
    assert frame.energy == -1
    assert (frame.stress is None) == (found is None)
    if found is not None:
        np.testing.assert_allclose(frame.stress, found, atol=1e-12)


def test_unknown_columns_and_a_byte_order_mark(tmp_path) -> None:
    text = "\ufeff" + xyz("magmoms:R:3:forces:R:3:flag:L:1".replace(":flag:L:1", ""), arrays=(POSITIONS, FORCES))
    np.testing.assert_allclose(read(tmp_path, text)[0].forces, FORCES, atol=1e-11)
    np.testing.assert_allclose(read(tmp_path, text.replace("\n", "\r\n"))[0].forces, FORCES, atol=1e-11)


def glass(n: int, forces: float) -> list[Atoms]:
    """Frames of a crystal that vibrates in bonds of about 10 eV/Angstrom^2, forces scaled."""
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(n):
        atoms = Atoms("Si", [[0, 0, 0]], cell=[2.3, 2.3, 2.3], pbc=True).repeat(3)
        shift = rng.normal(0, 0.05, (27, 3))
        atoms.positions += shift
        atoms.calc = SinglePointCalculator(atoms, forces=-10 * forces * shift)
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("wrong", [23.0605, 51.422])
def test_forces_that_no_bond_is_stiff_enough_for_are_refused(wrong: float, tmp_path) -> None:
    file, out = tmp_path / "t.xyz", tmp_path / "t.zarr"
    ase.io.write(file, glass(4, 1.0))
    assert len(convert([file], out).store) == 4
    ase.io.write(file, glass(4, wrong))
    with pytest.raises(InputError, match=r"too large for distances that vary by .* give --units real"):
        convert([file], tmp_path / "wrong.zarr")
    assert [p.name for p in tmp_path.iterdir() if "wrong" in p.name] == []
    real = convert([file], tmp_path / "real.zarr", wanted=Selection(keys=Keys(units="real"))).store
    metal = convert([file], tmp_path / "metal.zarr", wanted=Selection(keys=Keys(units="metal"))).store
    assert metal.ledger.force_rms / real.ledger.force_rms == pytest.approx(23.0605, rel=1e-4)


def test_a_store_keeps_energy_stress_and_time(tmp_path) -> None:
    text = xyz(comment='energy=-1.5 stress="0.01 0.02 0.03 0.04 0.05 0.06" time_fs=2.5 temperature=300')
    (tmp_path / "t.xyz").write_text(text)
    store = convert([tmp_path / "t.xyz"], tmp_path / "t.zarr", 4.0).store
    frame = GraphStore(store.path).frame(0)
    assert (frame.energy, frame.time, frame.temperature) == (-1.5, 2.5, 300)
    np.testing.assert_allclose(frame.stress, STRESS)
    np.testing.assert_allclose(store.column("stress"), [STRESS, STRESS])
    again = convert([store.path], tmp_path / "again.zarr", 4.0).store
    np.testing.assert_allclose(again.frame(1).stress, STRESS)
    assert again.frame(1).time == 2.5
