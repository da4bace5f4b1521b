"""Structures that ASE has read -> labelled frames: which arrays are the forces, and in which units."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from rgnn.base.choices import UnitStyle
from rgnn.base.errors import InputError
from rgnn.data.formats.units import (
    EV_ANGSTROM,
    Units,
    energy_unit,
    force_unit,
    length_unit,
    named_units,
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
# Under this key the reader of extended XYZ puts a stress before ASE can stumble over it.
STRESS_AS_WRITTEN = "rgnn_stress"


@dataclass(frozen=True)
class Keys:
    """Which arrays of a file are the labels, and in which units, where the file does not say.

    Attributes:
        forces, energy, stress: names of the arrays; None finds them.
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
    units = _units(atoms, where, keys)
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
        stress=_stress(found, prefix, keys, abs(np.linalg.det(cell)), units, where),
    )


def _labels(atoms: Atoms) -> dict[str, Any]:
    """All that may be labels by their names: results of a calculator, arrays, the comment, data of a database."""
    results = {} if atoms.calc is None else dict(atoms.calc.results)
    data = atoms.info.get("data")
    rows = {**atoms.info.get("key_value_pairs", {}), **data} if isinstance(data, Mapping) else {}
    arrays = {key: a for key, a in atoms.arrays.items() if key not in ("numbers", "positions")}
    return {**rows, **atoms.info, **arrays, **results}


def _plain(name: object) -> str:
    return str(name).lower().replace("-", "_")


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
    found: Mapping[str, Any], prefix: str, keys: Keys, volume: float, units: Units, where: str
) -> np.ndarray | None:
    """[6] xx, yy, zz, yz, xz, xy in eV/Angstrom^3, positive under tension as in ASE; None where it is not certain."""
    for base in STRESSES if keys.stress is None else (_split(keys.stress)[1],):
        value = _beside(found, (base,), prefix, keys.stress, where)
        if value is None and base == "stress":
            value = found.get(STRESS_AS_WRITTEN)
        if value is None:
            continue
        try:
            six = _voigt(np.asarray(value, np.float64))
        except (TypeError, ValueError):
            continue
        if six is None or not np.isfinite(six).all():
            continue
        if base == "stress":
            return units.energy / units.length**3 * six
        return -units.energy * six / volume if volume > 0 else None
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


def _units(atoms: Atoms, where: str, keys: Keys) -> Units:
    """As the structure states them, else as given, else Angstrom and eV.

    Raises:
        Unusable: units that are not known.
    """
    stated = dict(_stated(atoms.info))
    base = EV_ANGSTROM if keys.units is None or stated else style_units(keys.units, where)
    try:
        if "units" in stated:
            base = named_units(stated["units"], where)
        length = length_unit(stated["length"], where) if "length" in stated else base.length
        energy = energy_unit(stated["energy"], where) if "energy" in stated else base.energy
        force = force_unit(stated["force"], where) if "force" in stated else energy / length
    except InputError as error:
        raise Unusable(str(error), "unknown unit") from None
    return Units(length, energy, force)


def _stated(info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(kind, unit) of each unit that a comment states: force-unit, energy_units, length-unit, units, ..."""
    kinds = {"length": "length", "position": "length", "positions": "length", "distance": "length", "pos": "length"}
    kinds |= {"energy": "energy", "force": "force", "forces": "force"}
    for key, value in info.items():
        words = _plain(key).split("_")
        if words == ["units"]:
            yield "units", str(value)
        elif len(words) == 2 and ("unit" in words or "units" in words):
            kind = words[1] if words[0].startswith("unit") else words[0]
            if kind in kinds:
                yield kinds[kind], str(value)
