"""All other formats: those that ASE reads frame by frame, and those that only dpdata knows."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.selection import Items, Selection, element
from rgnn.data.formats.text import CUT_SHORT
from rgnn.data.frames import Unusable

DATABASES = ("db", "json")  # ASE's names of them


def read_with_ase(path: Path, format: str, wanted: Selection) -> Items:  # noqa: A002 (ASE's word)
    """The wanted frames, up to the first that ASE cannot read."""
    import ase.io

    part = slice(wanted.first, wanted.last, wanted.every)
    if format in DATABASES:
        reader = _rows(path, part)
    else:
        reader = ase.io.iread(str(path), index=part, format=format, do_not_split_by_at_sign=True)
    index = wanted.first
    while True:
        try:
            atoms = next(reader, None)
        except Exception as error:  # ASE's readers raise whatever their parsing runs into
            yield index, Unusable(f"{path}: frame {index} cannot be read ({first_line(error)}).", CUT_SHORT)
            return
        if atoms is None:
            return
        yield index, wanted.frame(atoms, f"{path}: frame {index}")
        index += wanted.every


def _rows(path: Path, part: slice) -> Iterator[Atoms]:
    """The rows of an ASE database with all that they hold: labels may be in their data."""
    from ase.db import connect

    with connect(path) as database:
        for row in itertools.islice(database.select(), part.start, part.stop, part.step):
            yield row.toatoms(add_additional_information=True)


def read_with_dpdata(path: Path, format: str, wanted: Selection) -> Items:  # noqa: A002 (dpdata's word too)
    """The wanted frames of a format that dpdata reads, of all compositions; it reads the whole file at once.

    Raises:
        InputError: dpdata is not installed, does not know the format, or cannot read the file.
    """
    try:
        import dpdata
    except ImportError:
        raise InputError(
            f"{path}: format 'dpdata:{format}' needs dpdata, which is not installed; pip install dpdata."
        ) from None
    try:
        try:
            several = dpdata.MultiSystems.from_file(str(path), fmt=format)
            data = [system.data for system in several.systems.values()]
        except (NotImplementedError, AttributeError, TypeError):  # a format of one composition
            data = []
        data = data or [dpdata.LabeledSystem(str(path), fmt=format).data]
    except Exception as error:  # dpdata raises whatever its parsing runs into
        raise InputError(f"{path}: dpdata cannot read it as '{format}' ({first_line(error)}).") from None
    index = -1
    for system in data:
        for atoms in _dpdata_frames(system, path):
            index += 1
            if wanted.past(index):
                return
            if index in wanted:
                yield index, wanted.frame(atoms, f"{path}: frame {index}")


def _dpdata_frames(data: dict[str, Any], path: Path) -> Iterator[Atoms]:
    from ase.calculators.singlepoint import SinglePointCalculator

    symbols = [element(data["atom_names"][kind], path) for kind in data["atom_types"]]
    for k, positions in enumerate(data["coords"]):
        periodic = not data.get("nopbc", False)
        atoms = Atoms(symbols, positions, cell=data["cells"][k] if periodic else None, pbc=periodic)
        results: dict[str, Any] = {"forces": np.asarray(data["forces"][k])} if "forces" in data else {}
        if "energies" in data:
            results["energy"] = float(data["energies"][k])
        if "virials" in data and periodic:
            atoms.info["virial"] = np.asarray(data["virials"][k])
        atoms.calc = SinglePointCalculator(atoms, **results)
        yield atoms
