"""NumPy archives of trajectories: rMD17 and others with arrays of coordinates, nuclear charges and forces."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.labels import FORCES
from rgnn.data.formats.selection import Items, Selection
from rgnn.data.formats.units import style_units

# The names of each array: of rMD17 (Christensen & von Lilienfeld 2020), of MD17 and of sGDML.
NUMBERS = ("nuclear_charges", "z", "atomic_numbers", "numbers")
POSITIONS = ("coords", "R", "positions", "coordinates")
FORCE_ARRAYS = ("forces", "F", "force")
ENERGIES = ("energies", "E", "energy")
CELLS = ("cell", "lattice", "cells")
LARGEST = 2**31  # numbers of an archive at most


def read_npz(path: Path, wanted: Selection) -> Items:
    """The wanted frames of an archive in kcal/mol and Angstrom (rMD17), or in the units that are given.

    Raises:
        InputError: arrays are missing or do not fit each other, or nothing says their units.
    """
    arrays = _load(path)
    numbers, positions = _one(arrays, NUMBERS, path), _one(arrays, POSITIONS, path)
    forces = arrays[wanted.keys.forces] if wanted.keys.forces in arrays else _one(arrays, FORCE_ARRAYS, path)
    numbers = numbers.reshape(-1) if numbers.ndim < 2 else numbers
    if positions.ndim != 3 or positions.shape != forces.shape or numbers.shape[-1] != positions.shape[1]:
        raise InputError(
            f"{path}: its arrays do not fit each other: {positions.shape} positions, {forces.shape} forces, "
            f"{numbers.shape} atomic numbers."
        )
    style = wanted.keys.units or ("real" if _is_rmd17(arrays) else None)
    if style is None:
        raise InputError(f"{path}: does not say its units; give --units metal (eV), real (kcal/mol) or atomic.")
    units = style_units(style, str(path))
    energies = next((arrays[name].reshape(-1) for name in ENERGIES if name in arrays), None)
    cells = next((arrays[name] for name in CELLS if name in arrays), None)
    plain = Selection(label=wanted.label)
    for index in _indices(wanted, len(positions)):
        cell = None if cells is None else cells[index] if cells.ndim == 3 else cells
        atoms = Atoms(
            numbers if numbers.ndim == 1 else numbers[index], units.length * positions[index],
            cell=None if cell is None else units.length * cell, pbc=cell is not None,
        )  # fmt: skip
        atoms.arrays[FORCES[0]] = units.force * forces[index]
        if energies is not None and len(energies) == len(positions):
            atoms.info["energy"] = units.energy * float(energies[index])
        yield index, plain.frame(atoms, f"{path}: frame {index}")


def _indices(wanted: Selection, n: int) -> Iterator[int]:
    yield from range(wanted.first, n if wanted.last is None else min(n, wanted.last), wanted.every)


def _is_rmd17(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether it has the arrays of rMD17, which are in kcal/mol and Angstrom, or the note of MD17 that says so."""
    said = " ".join(str(arrays[name]) for name in ("e_unit", "r_unit", "units") if name in arrays).lower()
    return {"nuclear_charges", "coords", "forces", "old_indices"} <= arrays.keys() or "kcal/mol" in said


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
        raise InputError(f"{path}: has no array {' or '.join(names)}; it has {', '.join(sorted(arrays)) or 'nothing'}.")
    return found
