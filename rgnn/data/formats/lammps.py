"""Dumps of LAMMPS, in the units and with the elements that they state."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from rgnn.base.choices import UnitStyle
from rgnn.base.errors import InputError
from rgnn.data.formats.selection import element
from rgnn.data.formats.text import CUT_SHORT, Chunk, Splitter
from rgnn.data.formats.units import style_units

# Columns of positions, and whether they are fractions of the box.
POSITIONS = {("x", "y", "z"): False, ("xu", "yu", "zu"): False, ("xs", "ys", "zs"): True, ("xsu", "ysu", "zsu"): True}
FORCES = ("fx", "fy", "fz")


class LammpsDump(Splitter):
    """A text dump: the sections ITEM: TIMESTEP, BOX BOUNDS and ATOMS of each frame.

    Args:
        elements: of the types 1, 2, ..., for dumps without a column of elements.
        units: of dumps that state none; None is metal.
    """

    format = "lammps-dump-text"

    def __init__(self, elements: tuple[str, ...] = (), units: UnitStyle | None = None) -> None:
        self.elements, self.units = elements, units
        self.stated: str | None = None

    def split(self, lines: Iterable[str]) -> Iterator[Chunk]:
        """Cut the lines of a file into its frames."""
        frame: list[str] = []
        for line in lines:
            if frame and frame[-1].startswith("ITEM: UNITS"):
                self.stated = line.strip()  # LAMMPS writes them once, before the first frame
            begins = line.startswith(("ITEM: TIMESTEP", "ITEM: UNITS"))
            if begins and any(part.startswith("ITEM: ATOMS") for part in frame):
                yield self._chunk(frame)
                frame = []
            frame.append(line)
        if any(line.strip() for line in frame):
            yield self._chunk(frame)

    @staticmethod
    def _chunk(frame: list[str]) -> Chunk:
        start = next((k for k, line in enumerate(frame) if line.startswith("ITEM: ATOMS")), None)
        count = next((k for k, line in enumerate(frame) if line.startswith("ITEM: NUMBER OF ATOMS")), None)
        if start is None or count is None or not frame[count + 1].strip().isdigit():
            return Chunk("", CUT_SHORT)
        rows = [line for line in frame[start + 1 :] if line.strip()]
        whole = len(rows) == int(frame[count + 1]) and (
            frame[-1].endswith("\n") or len(rows) < 2 or len(rows[-1].split()) == len(rows[-2].split())
        )
        return Chunk("".join(frame), "" if whole else CUT_SHORT)

    def read(self, texts: list[str], path: Path) -> list[Atoms]:
        """The structures of some frames, in Angstrom and eV/Angstrom.

        Raises:
            InputError: types without elements, unknown units, or no positions.
        """
        return [self._atoms(text, path) for text in texts]

    def _atoms(self, text: str, path: Path) -> Atoms:
        sections = dict(_sections(text))
        units = style_units(self.stated or self.units or "metal", str(path))
        head, rows = next((head, body) for head, body in sections.items() if head.startswith("ATOMS"))
        columns = head.split()[1:]
        table = [row.split() for row in rows]
        if any(len(row) != len(columns) for row in table):
            raise InputError(f"{path}: a row of atoms does not have the {len(columns)} columns {' '.join(columns)}.")
        cell, origin, pbc = _box(sections)
        place = next((names for names in POSITIONS if set(names) <= set(columns)), None)
        if place is None:
            raise InputError(f"{path}: has no positions (its columns are {' '.join(columns)}); dump x, y and z.")
        where = _floats(table, columns, place)
        positions = where @ cell if POSITIONS[place] else where - origin
        order = np.argsort(_floats(table, columns, ("id",))[:, 0]) if "id" in columns else np.arange(len(table))
        numbers = self._numbers(table, columns, path)
        atoms = Atoms(numbers[order], units.length * positions[order], cell=units.length * cell, pbc=pbc)
        if set(FORCES) <= set(columns):
            atoms.arrays["forces"] = units.force * _floats(table, columns, FORCES)[order]
        if "TIME" in sections:
            atoms.info["time_fs"] = units.time * float(sections["TIME"][0])
        return atoms

    def _numbers(self, table: list[list[str]], columns: list[str], path: Path) -> np.ndarray:
        """Atomic numbers by the column of elements, or by the types.

        Raises:
            InputError: neither is known.
        """
        if "element" in columns:
            symbols = [row[columns.index("element")] for row in table]
        elif "type" in columns:
            names = [row[columns.index("type")] for row in table]
            if not all(name.isdigit() for name in names):
                return np.array([atomic_numbers[element(name, path)] for name in names])  # type labels such as Li
            types = [int(name) for name in names]
            if not self.elements:
                raise InputError(
                    f"{path}: has types 1 to {max(types)} but no elements; name them in their order, as in "
                    "--elements Li,O,P, or dump the column element."
                )
            if max(types) > len(self.elements) or min(types) < 1:
                raise InputError(
                    f"{path}: has a type {max(types)}, but --elements names {len(self.elements)}; name one a type."
                )
            symbols = [self.elements[kind - 1] for kind in types]
        else:
            raise InputError(f"{path}: has neither elements nor types; dump the column element.")
        if unknown := next((s for s in symbols if s not in atomic_numbers or s == "X"), None):
            raise InputError(f"{path}: '{unknown}' is not an element; name them with --elements.")
        return np.array([atomic_numbers[s] for s in symbols])


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """(heading, lines) of each ITEM."""
    for part in text.split("ITEM: ")[1:]:
        head, *body = part.splitlines()
        yield head.strip(), [line for line in body if line.strip()]


def _floats(table: list[list[str]], columns: list[str], names: tuple[str, ...]) -> np.ndarray:
    places = [columns.index(name) for name in names]
    return np.array([[row[k] for k in places] for row in table], np.float64)


def _box(sections: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray, list[bool]]:
    """Cell vectors as rows, the origin, and which of them are periodic.

    LAMMPS gives the bounds of a box that holds a tilted cell (docs.lammps.org/Howto_triclinic.html), or the vectors
    themselves for a general one.
    """
    head, lines = next((head, body) for head, body in sections.items() if head.startswith("BOX BOUNDS"))
    rows = np.array([line.split() for line in lines], np.float64)
    words = head.split()[2:]
    pbc = [word.startswith("p") for word in words if len(word) == 2 and set(word) <= set("pfsm")][:3]
    pbc = pbc if len(pbc) == 3 else [True] * 3
    if "abc" in words:
        return rows[:, :3], rows[:, 3], pbc
    low, high = rows[:, 0].copy(), rows[:, 1].copy()
    xy, xz, yz = rows[:, 2] if rows.shape[1] == 3 else (0.0, 0.0, 0.0)
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    x, y, z = high - low
    return np.array([[x, 0, 0], [xy, y, 0], [xz, yz, z]]), low, pbc
