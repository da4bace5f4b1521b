"""Folders of DeePMD-kit: type.raw, type_map.raw and set.*/{coord,box,force,energy,virial}.npy, in Angstrom and eV."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.selection import Items, Selection, Warn, element


def is_deepmd(path: Path) -> bool:
    """Whether a folder is a system of DeePMD-kit, or holds such systems."""
    return path.is_dir() and bool(systems(path))


def systems(path: Path) -> list[Path]:
    """The folders at or below a path that are systems: with types and at least one set of arrays."""
    folders = [path, *sorted(p for p in path.rglob("*") if p.is_dir() and not p.name.startswith("set."))]
    return [p for p in folders if (p / "type.raw").is_file() and any(p.glob("set.*/coord.npy"))]


def read_deepmd(path: Path, wanted: Selection, warn: Warn) -> Items:
    """The wanted frames of all systems of a folder, numbered through.

    Raises:
        InputError: types without elements, or arrays that are missing, damaged or do not fit each other.
    """
    first = 0
    for system in systems(path):
        types = _types(system / "type.raw")
        names = _type_map(system, wanted.elements)
        for part in sorted(system.glob("set.*")):
            n = _array(part / "coord.npy").size // (3 * len(types))
            coordinates, forces = (_fitting(part / f"{name}.npy", (n, len(types), 3)) for name in ("coord", "force"))
            boxes = None if (system / "nopbc").exists() else _fitting(part / "box.npy", (n, 3, 3))
            energies = _optional(part / "energy.npy", (n,), warn)
            virials = _optional(part / "virial.npy", (n, 3, 3), warn)
            mixed = part / "real_atom_types.npy"
            kinds = _fitting(mixed, (n, len(types))) if mixed.is_file() else None
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
                    atoms.info["energy"] = float(energies[k])
                if virials is not None and boxes is not None:
                    atoms.info["virial"] = virials[k]
                yield index, wanted.frame(atoms, f"{path}: frame {index}")
            first += n


def _types(file: Path) -> np.ndarray:
    try:
        types = np.array(file.read_text().split(), dtype=np.int64)
        if not types.size:
            raise ValueError("it is empty")
        return types
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
        wrong = types.min() if types.min() < 0 else types.max()
        raise InputError(
            f"{system}: has a type {wrong}, but only {len(names)} elements are named, for types from 0 on."
        )
    return np.array([atomic_numbers[names[kind]] for kind in types])


def _array(file: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(file, allow_pickle=False, mmap_mode="r")
        if array.dtype.kind not in "fiu":
            raise ValueError(f"its numbers are of the kind {array.dtype}")
        return array
    except Exception as error:  # a damaged file ends NumPy in many ways
        raise InputError(f"{file}: cannot be read ({first_line(error)}); write it again.") from None


def _fitting(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    array = _array(file)
    if array.size != np.prod(shape):
        raise InputError(f"{file}: holds {array.size} numbers, but {' x '.join(map(str, shape))} were expected.")
    return array.reshape(shape)


def _optional(file: Path, shape: tuple[int, ...], warn: Warn) -> np.ndarray | None:
    """An array that is not needed; None where it is missing, or of another shape, which is said."""
    if not file.is_file():
        return None
    array = _array(file)
    if array.size != np.prod(shape):
        expected = " x ".join(map(str, shape))
        warn(f"{file}: holds {array.size} numbers, but {expected} were expected; frames are taken without it.")
        return None
    return array.reshape(shape)
