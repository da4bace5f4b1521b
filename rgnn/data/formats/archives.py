"""NumPy archives of trajectories: rMD17 and others with arrays of coordinates, nuclear charges and forces."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.labels import FORCES
from rgnn.data.formats.selection import Items, Selection, Warn
from rgnn.data.formats.units import EV_ANGSTROM, Units, energy_unit, length_unit, style_units

# The names of each array: of rMD17 (Christensen & von Lilienfeld 2020), of MD17 and of sGDML.
NUMBERS = ("nuclear_charges", "z", "atomic_numbers", "numbers")
POSITIONS = ("coords", "R", "positions", "coordinates")
FORCE_ARRAYS = ("forces", "F", "force")
ENERGIES = ("energies", "E", "energy")
CELLS = ("cell", "lattice", "cells")
LARGEST = 2**31  # numbers of an archive at most


def read_npz(path: Path, wanted: Selection, warn: Warn) -> Items:
    """The wanted frames of an archive in kcal/mol and Angstrom (rMD17), or in the units that are given.

    Raises:
        InputError: arrays are missing or do not fit each other, or nothing says their units.
    """
    arrays = _load(path)
    numbers, positions = _one(arrays, NUMBERS, path), _one(arrays, POSITIONS, path)
    forces = _label(arrays, FORCE_ARRAYS, wanted.keys.forces, "--forces", path)
    if forces is None:
        forces = _one(arrays, FORCE_ARRAYS, path)
    numbers = numbers.reshape(-1) if numbers.ndim < 2 else numbers
    if (
        positions.ndim != 3
        or positions.shape != forces.shape
        or numbers.shape not in (positions.shape[:2], positions.shape[1:2])
    ):
        raise InputError(
            f"{path}: its arrays do not fit each other: {positions.shape} positions, {forces.shape} forces, "
            f"{numbers.shape} atomic numbers."
        )
    if np.any(numbers != np.round(numbers)):
        raise InputError(f"{path}: its atomic numbers are not whole; write them again.")
    units = _units(arrays, wanted, path)
    energies = _label(arrays, ENERGIES, wanted.keys.energy, "--energy", path)
    if energies is not None and energies.size != len(positions):
        warn(f"{path}: has {energies.size} energies for {len(positions)} frames, which are taken without them.")
        energies = None
    if wanted.keys.stress is not None:
        raise InputError(f"{path}: the stress of a NumPy archive is not read; leave --stress out.")
    cells = _cells(arrays, len(positions), path)
    plain = Selection(label=wanted.label)
    for index in _indices(wanted, len(positions)):
        cell = None if cells is None else cells[index]
        atoms = Atoms(
            numbers if numbers.ndim == 1 else numbers[index], units.length * positions[index],
            cell=None if cell is None else units.length * cell, pbc=cell is not None,
        )  # fmt: skip
        atoms.arrays[FORCES[0]] = units.force * forces[index]
        if energies is not None:
            atoms.info["energy"] = units.energy * float(energies.reshape(-1)[index])
        yield index, plain.frame(atoms, f"{path}: frame {index}")


def _indices(wanted: Selection, n: int) -> Iterator[int]:
    yield from range(wanted.first, n if wanted.last is None else min(n, wanted.last), wanted.every)


def _cells(arrays: Mapping[str, np.ndarray], n: int, path: Path) -> np.ndarray | None:
    """[n, 3, 3] cell vectors, from those of each frame or of all; None where there are none.

    Raises:
        InputError: they are of another shape.
    """
    name = next((name for name in CELLS if name in arrays), None)
    if name is None:
        return None
    cells = _one(arrays, (name,), path)
    if cells.shape in ((3,), (1, 3)):
        cells = np.diag(cells.ravel())
    if cells.shape in ((3, 3), (1, 3, 3)):
        cells = np.broadcast_to(cells.reshape(3, 3), (n, 3, 3))
    if cells.shape != (n, 3, 3):
        raise InputError(f"{path}: its array {name} is {cells.shape}, but {n} x 3 x 3 or 3 x 3 were expected.")
    return cells


def _label(
    arrays: Mapping[str, np.ndarray], names: tuple[str, ...], key: str | None, option: str, path: Path
) -> np.ndarray | None:
    """The array that was named, or the only one under a usual name; None where there is none.

    Raises:
        InputError: no such array, or two that differ.
    """
    found = [name for name in names if name in arrays] if key is None else [key]
    if not found:
        return None
    first, *others = (_one(arrays, (name,), path) for name in found)
    if any(other.size != first.size or not np.allclose(other.ravel(), first.ravel()) for other in others):
        raise InputError(f"{path}: has different arrays {' and '.join(found)}; choose one with {option}.")
    return first


def _units(arrays: Mapping[str, np.ndarray], wanted: Selection, path: Path) -> Units:
    """As the archive states them, else as given, else those of rMD17.

    Raises:
        InputError: unknown units, or none at all.
    """
    kinds = {"e_unit": "energy", "r_unit": "length"}
    stated = {kind: str(arrays[name].astype(str)) for name, kind in kinds.items() if name in arrays}
    noted = "kcal/mol" in str(arrays.get("units", "")).lower()
    rmd17 = noted or {"nuclear_charges", "coords", "forces", "old_indices"} <= arrays.keys()
    style = wanted.keys.units or ("real" if rmd17 else None)
    if style is None and "energy" not in stated:
        raise InputError(f"{path}: does not say its units; give --units metal (eV), real (kcal/mol) or atomic.")
    base = EV_ANGSTROM if style is None or "energy" in stated else style_units(style, str(path))
    length = length_unit(stated["length"], str(path)) if "length" in stated else base.length
    energy = energy_unit(stated["energy"], str(path)) if "energy" in stated else base.energy
    return Units(length, energy, energy / length)


def _load(path: Path) -> dict[str, np.ndarray]:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > 8 * LARGEST:
            raise InputError(f"{path}: would be {size / 1e9:.0f} GB in memory; divide it.")
        found = {}
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                try:
                    found[name] = arrays[name]
                except ValueError:  # Python objects, which are never unpickled
                    continue
        return found
    except InputError:
        raise
    except Exception as error:  # a damaged archive ends NumPy in many ways
        raise InputError(f"{path}: cannot be read ({first_line(error)}); fetch or write it again.") from None


def _one(arrays: Mapping[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    found = next((arrays[name] for name in names if name in arrays), None)
    if found is None or found.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: has no array of numbers {' or '.join(names)}; it has {', '.join(sorted(arrays)) or 'nothing'}."
        )
    return found
