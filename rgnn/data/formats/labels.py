"""Structures that ASE has read -> labelled frames: which arrays are the forces, and in which units."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB

from rgnn.base.choices import UnitStyle
from rgnn.base.errors import InputError
from rgnn.data.formats.units import (
    EV_ANGSTROM,
    Units,
    energy_unit,
    force_unit,
    length_unit,
    named_units,
    pressure_unit,
    style_units,
)
from rgnn.data.frames import Frame, Unusable, check_forces
from rgnn.graphs.neighbours import geometry_problem

# Names are compared in lower case, without the prefixes that say whose labels they are.
PREFIXES = ("ref_", "dft_", "qm_", "label_", "target_")
FORCES = ("forces", "force")
ENERGIES = ("energy", "free_energy", "total_energy")
STRESSES = ("stress", "virial", "virials")
TIMES = {"time_fs": 1.0, "time_ps": 1e3, "t_fs": 1.0}
TEMPERATURES = ("temperature", "temperature_k", "temp_k")
# Of what a unit is, by the word beside "unit".
UNIT_KINDS = {
    **dict.fromkeys(("length", "position", "positions", "distance", "pos", "lattice", "cell", "coordinates"), "length"),
    "energy": "energy", "force": "force", "forces": "force", "stress": "stress", "pressure": "stress",
    "virial": "virial", "virials": "virial",
}  # fmt: skip
# Under these keys the reader of extended XYZ puts stresses before ASE can stumble over them.
AS_WRITTEN = {"stress": "rgnn_stress", "virial": "rgnn_virial"}


@dataclass(frozen=True)
class Keys:
    """Which arrays of a file are the labels, and in which units, where the file does not say.

    Attributes:
        forces, energy, stress: names of the arrays; None finds them. A stress with "virial" in its name is one, in eV;
            any other is in eV/Angstrom^3 with ASE's sign.
        units: of a file that states none.
    """

    forces: str | None = None
    energy: str | None = None
    stress: str | None = None
    units: UnitStyle | None = None


USUAL = Keys()


def frame_of(atoms: Atoms, where: str, keys: Keys = USUAL) -> Frame:
    """The labels and atoms of an ASE structure, checked.

    Args:
        atoms: with forces as results of a calculator, as an array, or in the data of an ASE database.
        where: names the frame in errors.
        keys: which arrays are the labels.

    Raises:
        Unusable: no forces, two arrays of them that differ, unknown units, NaN or absurd values, or periodic without a
            cell.
    """
    found = _labels(atoms)
    name, forces = _forces(found, len(atoms), where, keys)
    stated = _stated(atoms.info, where)
    units = _units(stated, where, keys)
    positions = units.length * np.asarray(atoms.positions, dtype=np.float64)
    cell = units.length * np.asarray(atoms.cell[:], dtype=np.float64)
    if problem := geometry_problem(positions, cell, atoms.pbc):
        raise Unusable(f"{where} cannot be used: {problem}.", "impossible geometry")
    if atoms.numbers.min() < 1 or atoms.numbers.max() > 118:
        raise Unusable(f"{where}: holds an atom of no known element.", "unknown element")
    prefix = _split(name)[0]
    energy = _number(_beside(found, ENERGIES, prefix, keys.energy, where))
    info = {_plain(key): value for key, value in atoms.info.items()}
    times = (factor * t for key, factor in TIMES.items() if (t := _number(info.get(key))) is not None)
    return Frame(
        numbers=np.asarray(atoms.numbers),
        positions=positions,
        cell=cell,
        pbc=np.asarray(atoms.pbc, dtype=bool),
        forces=check_forces(units.force * np.asarray(forces, np.float64), len(atoms), where),
        energy=None if energy is None else units.energy * energy,
        temperature=next((t for key in TEMPERATURES if (t := _number(info.get(key))) is not None), None),
        time=next(times, None),
        stress=_stress(found, prefix, keys, abs(np.linalg.det(cell)), units, stated, where),
        kinetic_temperature=_kinetic_temperature(atoms) if units == EV_ANGSTROM else None,
    )


def _kinetic_temperature(atoms: Atoms) -> float | None:
    """K of the motion of the atoms, without that of their centre of mass; None where there are no velocities.

    A file that holds some atoms says so by constraints, and their degrees of freedom do not count.
    """
    if not atoms.has("momenta"):
        return None
    momenta, masses = atoms.get_momenta(), atoms.get_masses()
    freedom = atoms.get_number_of_degrees_of_freedom()
    if not atoms.constraints:
        momenta = momenta - masses[:, None] * momenta.sum(axis=0) / masses.sum()
        freedom -= 3
    kinetic = 0.5 * float((momenta**2 / masses[:, None]).sum())
    return 2 * kinetic / (freedom * kB) if freedom > 0 and np.isfinite(kinetic) and kinetic > 0 else None


def _labels(atoms: Atoms) -> dict[str, Any]:
    """All that may be labels by their names: results of a calculator, arrays, the comment, data of a database."""
    results = {} if atoms.calc is None else dict(atoms.calc.results)
    data = atoms.info.get("data")
    rows = {**atoms.info.get("key_value_pairs", {}), **data} if isinstance(data, Mapping) else {}
    arrays = {key: a for key, a in atoms.arrays.items() if key not in ("numbers", "positions")}
    found = {**rows, **atoms.info, **arrays, **results}
    for name, written in AS_WRITTEN.items():
        if written in found:
            found[name] = found.pop(written)
    return found


def _plain(name: object) -> str:
    return str(name).lower().replace("-", "_")


@lru_cache(1000)
def _split(name: str) -> tuple[str, str]:
    """The prefix of a name, and the rest."""
    plain = _plain(name)
    prefix = next((p for p in PREFIXES if plain.startswith(p)), "")
    return prefix, plain.removeprefix(prefix)


def _forces(found: Mapping[str, Any], n: int, where: str, keys: Keys) -> tuple[str, np.ndarray]:
    """The name of the forces, and what is under it."""
    if keys.forces is not None:
        if keys.forces not in found:
            raise Unusable(f"{where} has no array '{keys.forces}'; {_says(found, n)}.", f"no {keys.forces}")
        return keys.forces, found[keys.forces]
    named = {name: value for name, value in found.items() if _split(name)[1] in FORCES and value is not None}
    if not named:
        raise Unusable(
            f"{where} has no forces; {_says(found, n)}. Convert a trajectory that carries the forces of its "
            "calculation, name them with --forces, or let a potential give them with --label.",
            "no forces",
        )
    (first, forces), *others = named.items()
    for name, value in others:
        if np.shape(value) != np.shape(forces) or not np.allclose(value, forces, rtol=1e-6, atol=1e-8):
            zero = [key for key in (first, name) if not np.any(named[key])]
            which = f" ({zero[0]} is all zeros)" if zero else ""
            raise Unusable(
                f"{where} has two different arrays of forces, {first} and {name}{which}; choose one with --forces.",
                "two arrays of forces",
            )
    return first, forces


def _says(found: Mapping[str, Any], n: int) -> str:
    """Which arrays have three numbers for each atom, in words."""
    vectors = [name for name, value in found.items() if np.shape(value) == (n, 3)]
    return f"its arrays of vectors are {', '.join(vectors)}" if vectors else "it has no array of vectors"


def _beside(found: Mapping[str, Any], names: Iterable[str], prefix: str, key: str | None, where: str) -> Any:
    """A label that belongs to the forces: the one named, or that with the same prefix, or the only one there is."""
    if key is not None:
        if key not in found:
            raise Unusable(f"{where} has no '{key}'; it has {', '.join(map(str, found))}.", f"no {key}")
        return found[key]
    for base in names:
        named = {_split(name)[0]: value for name, value in found.items() if _split(name)[1] == base}
        if prefix in named:
            return named[prefix]
        if len(named) == 1:
            return next(iter(named.values()))
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        return None
    return float(value)


def _stress(
    found: Mapping[str, Any],
    prefix: str,
    keys: Keys,
    volume: float,
    units: Units,
    stated: Mapping[str, str],
    where: str,
) -> np.ndarray | None:
    """[6] xx, yy, zz, yz, xz, xy in eV/Angstrom^3, positive under tension as in ASE; None where it is not certain.

    Raises:
        Unusable: the array that was named with --stress cannot be used.
    """
    for name in STRESSES if keys.stress is None else (keys.stress,):
        value = _beside(found, (name,), prefix, keys.stress, where)
        if value is None:
            continue
        try:
            six = _voigt(np.asarray(value, np.float64))
            virial = "virial" in _plain(name)
            if six is None or not np.isfinite(six).all() or (virial and volume <= 0):
                raise ValueError("not a symmetric tensor of a cell")
            if virial:
                return -(energy_unit(stated["virial"], where) if "virial" in stated else units.energy) * six / volume
            scale = units.energy / units.length**3
            return (pressure_unit(stated["stress"], where) if "stress" in stated else scale) * six
        except (TypeError, ValueError, InputError) as error:
            if keys.stress is not None:
                raise Unusable(f"{where}: '{name}' cannot be its stress ({error}).", "unusable stress") from None
    return None


def _voigt(value: np.ndarray) -> np.ndarray | None:
    """Six components of a symmetric tensor of 6, 9 or 3 x 3 numbers; None where it is not one."""
    if value.shape == (6,):
        return value
    if value.size != 9:
        return None
    t = value.reshape(3, 3)
    if not np.allclose(t, t.T, rtol=1e-3, atol=1e-3 * max(1e-12, np.abs(t).max())):
        return None
    return np.array(
        [t[0, 0], t[1, 1], t[2, 2], (t[1, 2] + t[2, 1]) / 2, (t[0, 2] + t[2, 0]) / 2, (t[0, 1] + t[1, 0]) / 2]
    )


def _units(stated: Mapping[str, str], where: str, keys: Keys) -> Units:
    """As the structure states them, else as given, else Angstrom and eV.

    Raises:
        Unusable: units that are not known.
    """
    base = EV_ANGSTROM if keys.units is None or stated else style_units(keys.units, where)
    try:
        if "units" in stated:
            base = named_units(stated["units"], where)
        length = length_unit(stated["length"], where) if "length" in stated else base.length
        energy = energy_unit(stated["energy"], where) if "energy" in stated else base.energy
        whole = base.force if not {"length", "energy"} & stated.keys() else energy / length
        force = force_unit(stated["force"], where) if "force" in stated else whole
    except InputError as error:
        raise Unusable(str(error), "unknown unit") from None
    return Units(length, energy, force)


def _stated(info: Mapping[str, Any], where: str) -> dict[str, str]:
    """The unit of each kind that a comment states: force-unit, energyUnits, REF_forces_unit, unit_of_length, units, ...

    Raises:
        Unusable: two units of one kind.
    """
    stated: dict[str, str] = {}
    for key, value in info.items():
        words = _split(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(key)))[1].split("_")
        rest = [word for word in words if word not in ("unit", "units", "of")]
        if words == ["units"]:
            kind = "units"
        elif len(rest) == 1 and len(words) > 1 and rest[0] in UNIT_KINDS and words != ["unit", "cell"]:
            kind = UNIT_KINDS[rest[0]]
        else:
            continue
        if stated.setdefault(kind, str(value)) != str(value):
            raise Unusable(
                f"{where}: states two units of {kind}, '{stated[kind]}' and '{value}'; write all in eV and Angstrom.",
                "two units",
            )
    return stated
