"""CP2K's trajectories: positions in PROJECT-pos-1.xyz, forces in PROJECT-frc-1.xyz, cells in PROJECT-1.cell."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.lines import OPENERS, Lines
from rgnn.data.formats.selection import Items, Selection, Warn
from rgnn.data.formats.text import CUT_SHORT, UNREADABLE, Chunk, ExtXYZ
from rgnn.data.frames import Unusable

COMMENT = re.compile(r"\s*i\s*=\s*(\d+)")
ENERGY = re.compile(r"\bE\s*=\s*(\S+)")


def is_cp2k(path: Path) -> bool:
    """Whether an XYZ file has CP2K's comment lines."""
    lines = iter(Lines(path))
    next(lines, "")
    comment = next(lines, "")
    return bool(COMMENT.match(comment)) and "time" in comment


def forces_beside(path: Path) -> Path:
    """The file of the forces that belong to positions."""
    return path.with_name(path.name.replace("-pos-", "-frc-"))


def without_forces(paths: Sequence[Path]) -> list[Path]:
    """The files without those of forces that are read together with their positions."""
    partners = {forces_beside(p) for p in paths if "-pos-" in p.name}
    return [p for p in paths if p not in partners]


def read_cp2k(path: Path, wanted: Selection, warn: Warn) -> Items:
    """Frames from positions in Angstrom and forces in hartree/bohr, CP2K's default units.

    Raises:
        InputError: the forces are not beside the positions.
    """
    if "-frc-" in path.name:
        path = path.with_name(path.name.replace("-frc-", "-pos-"))
    beside = forces_beside(path)
    if beside == path or not beside.is_file() or not path.is_file():
        raise InputError(
            f"{path}: CP2K writes positions and forces to two files; "
            "put NAME-pos-1.xyz and NAME-frc-1.xyz side by side."
        )
    cells = _cells(path, wanted, warn)
    split = ExtXYZ().split
    pairs = zip(_chunks(split(Lines(path))), _chunks(split(Lines(beside))), strict=False)
    for index, (position, force) in enumerate(pairs):
        if wanted.past(index):
            return
        if position is None and force is None:
            return
        if index in wanted:
            where = f"{path}: frame {index}"
            try:
                atoms = _atoms(position, force, cells, where)
                yield index, wanted.frame(atoms, where)
            except Unusable as problem:
                yield index, problem
            except (ValueError, IndexError, KeyError) as error:
                yield index, Unusable(f"{where}: cannot be read ({first_line(error)}).", UNREADABLE)
        if position is None or force is None:
            return


def _chunks(chunks: Iterator[Chunk]) -> Iterator[Chunk | None]:
    """The chunks, and then None."""
    yield from chunks
    yield None


def _atoms(position: Chunk | None, force: Chunk | None, cells: "_Cells", where: str) -> Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.units import Bohr, Hartree

    if position is None or force is None or position.problem or force.problem:
        problem = next((c.problem for c in (position, force) if c is not None and c.problem), CUT_SHORT)
        raise Unusable(f"{where}: its positions or its forces end in the middle.", problem)
    symbols, positions, comment = _table(position.text)
    others, forces, force_comment = _table(force.text)
    step, force_step = (COMMENT.match(c) for c in (comment, force_comment))
    if step is None or force_step is None or step[1] != force_step[1] or symbols != others:
        raise Unusable(f"{where}: its positions and forces are of different steps or atoms.", "forces of another step")
    atoms = Atoms(symbols, positions)
    box = cells.of(int(step[1]))
    if box is not None:
        atoms.set_cell(box)
        atoms.pbc = True
    energy = ENERGY.search(comment)
    results = {"forces": forces * (Hartree / Bohr)}
    if energy:
        results["energy"] = float(energy[1]) * Hartree
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _table(text: str) -> tuple[list[str], np.ndarray, str]:
    """Symbols, three columns of numbers, and the comment."""
    _, comment, *lines = text.splitlines()
    rows = [line.split() for line in lines]
    symbols = [re.match("[A-Za-z]+", row[0])[0].capitalize() for row in rows]  # type: ignore[index]
    return symbols, np.array([row[1:4] for row in rows], dtype=np.float64), comment


class _Cells:
    """The cell of each step: those of a file, the same for all, or none."""

    def __init__(self, by_step: dict[int, np.ndarray], always: np.ndarray | None) -> None:
        self.by_step, self.always = by_step, always

    def of(self, step: int) -> np.ndarray | None:
        """[3, 3] in Angstrom."""
        if self.by_step and step not in self.by_step:
            raise KeyError(f"the cell file has no step {step}")
        return self.by_step.get(step, self.always)


def _cells(path: Path, wanted: Selection, warn: Warn) -> _Cells:
    if wanted.box is not None:
        return _Cells({}, wanted.box)
    stem = path.name.removesuffix(path.suffix) if path.suffix in OPENERS else path.name
    name = stem.replace("-pos-", "-").removesuffix(".xyz") + ".cell"
    for beside in (path.with_name(name), *(path.with_name(name + ending) for ending in OPENERS)):
        if beside.is_file():
            rows = [line.split() for line in Lines(beside) if line.strip() and not line.lstrip().startswith("#")]
            # Step, time in fs, Ax Ay Az Bx By Bz Cx Cy Cz in Angstrom, volume.
            return _Cells({int(r[0]): np.array(r[2:11], float).reshape(3, 3) for r in rows if len(r) >= 11}, None)
    warn(
        f"{path}: has no cell, so its frames are taken as not periodic; if they are, give --cell 'A B C' "
        f"in Angstrom or put {name} beside it."
    )
    return _Cells({}, None)
