"""CP2K's trajectories: positions in PROJECT-pos-1.xyz, forces in PROJECT-frc-1.xyz, cells in PROJECT-1.cell."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.extxyz import ExtXYZ
from rgnn.data.formats.lines import OPENERS, Lines
from rgnn.data.formats.selection import Items, Selection, Warn
from rgnn.data.formats.text import UNREADABLE, Chunk
from rgnn.data.frames import Unusable

COMMENT = re.compile(r"\s*i\s*=\s*(\d+)")
ENERGY = re.compile(r"\bE\s*=\s*(\S+)")
TIME = re.compile(r"\btime\s*=\s*([-+.\d]+)")


def is_cp2k(path: Path) -> bool:
    """Whether an XYZ file has CP2K's comment lines."""
    lines = iter(Lines(path))
    next(lines, "")
    comment = next(lines, "")
    return bool(COMMENT.match(comment)) and ("time" in comment or bool(ENERGY.search(comment)))  # GEO_OPT has no time


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
    keys = _keys(path)
    partners = _partners(keys, _keys(beside))
    if alone := sum(partner is None for partner in partners):
        warn(f"{path}: {alone:,} of {len(partners):,} steps have no forces in {beside.name}; they are left out.")
    forces = enumerate(ExtXYZ().split(Lines(beside)))
    positions = zip(ExtXYZ().split(Lines(path)), partners, _visits(keys), strict=False)
    for index, (position, partner, visit) in enumerate(each for each in positions if each[1] is not None):
        if wanted.past(index):
            return
        force = next(chunk for place, chunk in forces if place == partner)
        if index not in wanted:
            continue
        where = f"{path}: frame {index}"
        try:
            yield index, wanted.frame(_atoms(position, force, cells, visit, where), where)
        except Unusable as problem:
            yield index, problem
        except (ValueError, IndexError, KeyError, TypeError) as error:
            yield index, Unusable(f"{where}: cannot be read ({first_line(error)}).", UNREADABLE)


# The step and the energy of a frame as its comment writes them: a run that was begun again repeats steps.
Key = tuple[int, str]


def _keys(path: Path) -> list[Key | None]:
    """The key of each frame of a file; None for one without a step."""
    found: list[Key | None] = []
    lines = iter(Lines(path))
    for count in lines:
        if not count.strip().isdigit():
            continue
        comment = next(lines, "")
        step, energy = COMMENT.match(comment), ENERGY.search(comment)
        found.append((int(step[1]), energy[1] if energy else "") if step else None)
        for _ in zip(range(int(count)), lines, strict=False):
            pass
    return found


def _visits(keys: Sequence[Key | None]) -> list[tuple[int, int]]:
    """For each frame, how often its step came before, and how often it comes in all."""
    steps = [None if key is None else key[0] for key in keys]
    total, before = Counter(steps), Counter[int | None]()
    visits: list[tuple[int, int]] = []
    for step in steps:
        visits.append((before[step], total[step]))
        before[step] += 1
    return visits


def _partners(positions: Sequence[Key | None], forces: Sequence[Key | None]) -> list[int | None]:
    """The place among the forces of each frame of positions: the next that has its step and energy."""
    places: dict[Key, list[int]] = {}
    for place, key in enumerate(forces):
        if key is not None:
            places.setdefault(key, []).append(place)
    partners: list[int | None] = []
    begin = 0
    for key in positions:
        known = places.get(key, []) if key is not None else []
        k = bisect_left(known, begin)
        partners.append(known[k] if k < len(known) else None)
        begin = known[k] + 1 if k < len(known) else begin
    return partners


def _atoms(position: Chunk, force: Chunk, cells: "_Cells", visit: tuple[int, int], where: str) -> Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.units import Bohr, Hartree

    if problem := position.problem or force.problem:
        raise Unusable(f"{where}: its positions or its forces end in the middle.", problem)
    symbols, positions, comment = _table(position.text)
    others, forces, _ = _table(force.text)
    step = COMMENT.match(comment)
    if step is None or symbols != others:
        raise Unusable(f"{where}: its positions and forces are of different atoms.", "forces of other atoms")
    atoms = Atoms(symbols, positions)
    if time := TIME.search(comment):
        atoms.info["time_fs"] = float(time[1])
    box = cells.of(int(step[1]), visit)
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

    def __init__(self, by_step: dict[int, list[np.ndarray]], always: np.ndarray | None) -> None:
        cells = [cell for written in by_step.values() for cell in written]
        constant = bool(cells) and all(np.allclose(cell, cells[0], rtol=0, atol=1e-6) for cell in cells)
        self.by_step, self.always = by_step, cells[0] if constant else always

    def of(self, step: int, visit: tuple[int, int]) -> np.ndarray | None:
        """[3, 3] in Angstrom; a cell that never changes is that of the steps between those that are written, too.

        A run that was begun again comes to some steps twice, and writes a cell each time.

        Args:
            step: of the frame.
            visit: how often the positions came to this step before, and how often they do in all.

        Raises:
            KeyError: the cell of this step is not certain.
        """
        if self.always is not None or not self.by_step:
            return self.always
        cells, (before, total) = self.by_step.get(step, []), visit
        if len(cells) != total:
            raise KeyError(f"the cell file has step {step} {len(cells)} times and the positions {total} times")
        return cells[before]


def _cells(path: Path, wanted: Selection, warn: Warn) -> _Cells:
    if wanted.box is not None:
        return _Cells({}, wanted.box)
    stem = path.name.removesuffix(path.suffix) if path.suffix in OPENERS else path.name
    name = stem.replace("-pos-", "-").removesuffix(".xyz") + ".cell"
    for beside in (path.with_name(name), *(path.with_name(name + ending) for ending in OPENERS)):
        if beside.is_file():
            rows = [line.split() for line in Lines(beside) if line.strip() and not line.lstrip().startswith("#")]
            # Step, time in fs, Ax Ay Az Bx By Bz Cx Cy Cz in Angstrom, volume.
            by_step: dict[int, list[np.ndarray]] = {}
            for row in rows:
                if len(row) >= 11:
                    by_step.setdefault(int(row[0]), []).append(np.array(row[2:11], float).reshape(3, 3))
            return _Cells(by_step, None)
    warn(
        f"{path}: has no cell, so its frames are taken as not periodic; if they are, give --cell 'A B C' "
        f"in Angstrom or put {name} beside it."
    )
    return _Cells({}, None)
