"""Folders of DeePMD-kit: type.raw, type_map.raw and set.*/{coord,box,force,energy,virial}.npy, in Angstrom and eV."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.selection import Items, Selection, element


def is_deepmd(path: Path) -> bool:
    """Whether a folder is a system of DeePMD-kit, or holds such systems."""
    return path.is_dir() and bool(systems(path))


def systems(path: Path) -> list[Path]:
    """The folders at or below a path that are systems: with types and at least one set of arrays."""
    folders = [path, *sorted(p for p in path.rglob("*") if p.is_dir() and not p.name.startswith("set."))]
    return [p for p in folders if (p / "type.raw").is_file() and any(p.glob("set.*/coord.npy"))]


def read_deepmd(path: Path, wanted: Selection) -> Items:
    """The wanted frames of all systems of a folder, numbered through.

    Raises:
        InputError: types without elements, or arrays that are missing, damaged or do not fit each other.
    """
    first = 0
    for system in systems(path):
        types = _types(system / "type.raw")
        names = _type_map(system, wanted.elements)
        for part in sorted(system.glob("set.*")):
            coordinates = _array(part / "coord.npy").reshape(-1, len(types), 3)
            n = len(coordinates)
            forces = _fitting(part / "force.npy", (n, len(types), 3))
            boxes = None if (system / "nopbc").exists() else _fitting(part / "box.npy", (n, 3, 3))
            energies, virials = (_optional(part / f"{name}.npy", n) for name in ("energy", "virial"))
            kinds = _array(part / "real_atom_types.npy") if (part / "real_atom_types.npy").is_file() else None
            for k in range(n):
                index = first + k
                if wanted.past(index):
                    return
                if index not in wanted:
                    continue
                numbers = _numbers(types if kinds is None else kinds[k], names, system)
                atoms = Atoms(numbers, coordinates[k], cell=None if boxes is None else boxes[k], pbc=boxes is not None)
                atoms.arrays["forces"] = forces[k]
                if energies is not None:
                    atoms.info["energy"] = float(energies[k].reshape(-1)[0])
                if virials is not None and boxes is not None:
                    atoms.info["virial"] = virials[k].reshape(3, 3)
                yield index, wanted.frame(atoms, f"{path}: frame {index}")
            first += n


def _types(file: Path) -> np.ndarray:
    try:
        return np.array(file.read_text().split(), dtype=np.int64)
    except ValueError as error:
        raise InputError(f"{file}: does not hold whole numbers ({first_line(error)}); write it again.") from None


def _type_map(system: Path, elements: Sequence[str]) -> list[str]:
    """The element of each type; CP2K's kinds such as Fe1 are Fe.

    Raises:
        InputError: no elements are known, or a name is not one.
    """
    file = system / "type_map.raw"
    names = file.read_text().split() if file.is_file() else list(elements)
    if not names:
        raise InputError(f"{system}: has no type_map.raw; name the elements of its types, as in --elements Li,O,P.")
    return [element(name, file) for name in names]


def _numbers(types: np.ndarray, names: Sequence[str], system: Path) -> np.ndarray:
    if types.size and not 0 <= types.min() <= types.max() < len(names):
        raise InputError(f"{system}: has a type {types.max()}, but only {len(names)} elements are named.")
    return np.array([atomic_numbers[names[kind]] for kind in types])


def _array(file: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(file, allow_pickle=False, mmap_mode="r")
        return array
    except Exception as error:  # a damaged file ends NumPy in many ways
        raise InputError(f"{file}: cannot be read ({first_line(error)}); write it again.") from None


def _fitting(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    array = _array(file)
    if array.size != np.prod(shape):
        raise InputError(f"{file}: holds {array.size} numbers, but {' x '.join(map(str, shape))} were expected.")
    return array.reshape(shape)


def _optional(file: Path, n: int) -> np.ndarray | None:
    return _array(file).reshape(n, -1) if file.is_file() and _array(file).size % n == 0 else None
