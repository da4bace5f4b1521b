"""Inputs of programs that label structures outside of rgnn, one folder for each, and their outputs read back."""

import re
import shutil
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from rgnn.base.choices import LabelProgram
from rgnn.base.errors import InputError
from rgnn.data.formats import Selection, scan
from rgnn.data.formats.cp2k import forces_beside
from rgnn.data.formats.text import CUT_SHORT
from rgnn.data.frames import EdgeFrame, Frame, Unusable

# An output belongs to a structure where no atom is further away than this, Angstrom; programs print few digits.
SAME_PLACE = 0.01


class Program(ABC):
    """A program and its template: a folder with all files of a calculation but the structure.

    Args:
        template: the folder.

    Raises:
        InputError: it lacks what the program needs.
    """

    words: ClassVar[str]
    how: ClassVar[str]

    def __init__(self, template: Path) -> None:
        if not template.is_dir():
            raise InputError(f"{template}: is no folder with a calculation's files, all but the structure.")
        self.template = template
        self.check()
        if (old := self.output(template)) is not None:
            raise InputError(f"{old}: is an output, and would be taken for that of each structure; take it away.")

    @abstractmethod
    def check(self) -> None:
        """Raise InputError where the template lacks something."""

    @abstractmethod
    def write(self, atoms: Atoms, folder: Path) -> None:
        """Write the structure as the program reads it."""

    @abstractmethod
    def output(self, folder: Path) -> Path | None:
        """The output in a folder; None where there is none yet."""

    def ordered(self, atoms: Atoms) -> Atoms:
        """The atoms in the order in which they are written."""
        return atoms

    def selection(self, atoms: Atoms) -> Selection:
        """What of an output is read: its first structure."""
        return Selection(last=1)

    def prepare(self, atoms: Atoms, folder: Path) -> None:
        """A folder with the template's files and the structure; it appears as a whole."""
        aside = folder.with_name(folder.name + ".partial")
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir(parents=True)
        try:
            for file in sorted(self.template.iterdir()):
                if file.is_file():
                    shutil.copy(file, aside / file.name)
            self.write(self.ordered(atoms), aside)
            aside.replace(folder)
        except BaseException:
            shutil.rmtree(aside)
            raise

    def frame(self, atoms: Atoms, folder: Path) -> Frame | Unusable | None:
        """The labelled structure of a folder, or why its output cannot be used; None where there is no output yet.

        Raises:
            InputError: the output is of another structure.
        """
        file = self.output(folder)
        if file is None:
            return None
        item = next((item for _, item in scan(file, self.selection(atoms))), None)
        if item is None or (isinstance(item, Unusable) and item.reason == CUT_SHORT):
            return None  # the program is still at work, or was killed
        if isinstance(item, Unusable):
            return item
        assert not isinstance(item, EdgeFrame)
        return _of_structure(item, self.ordered(atoms), file)

    def _only(self, pattern: str) -> Path:
        """The one file of the template that fits a pattern."""
        found = sorted(self.template.glob(pattern))
        if len(found) != 1:
            raise InputError(f"{self.template}: holds {len(found)} files {pattern}, and needs one: {self.how}.")
        return found[0]


class Vasp(Program):
    """INCAR, KPOINTS and POTCAR from the template, POSCAR from the structure, vasprun.xml or OUTCAR read back."""

    words = "VASP"
    how = "INCAR, with KPOINTS and POTCAR where VASP needs them"

    def check(self) -> None:
        """There is an INCAR."""
        self._only("INCAR")

    @property
    def elements(self) -> list[str]:
        """Symbols in the order of the POTCAR; none where the template has no POTCAR."""
        file = self.template / "POTCAR"
        return re.findall(r"VRHFIN\s*=\s*([A-Z][a-z]?)", file.read_text("utf-8")) if file.is_file() else []

    def ordered(self, atoms: Atoms) -> Atoms:
        """Sorted by element, as the POTCAR has them.

        Raises:
            InputError: the POTCAR is of other elements.
        """
        symbols, potcar = atoms.get_chemical_symbols(), self.elements
        if potcar and sorted(potcar) != sorted(set(symbols)):
            raise InputError(
                f"{self.template / 'POTCAR'}: is for {', '.join(potcar)}, but the structure has "
                f"{', '.join(sorted(set(symbols)))}; put the potentials of these elements there."
            )
        order = potcar or sorted(set(symbols))
        return atoms[sorted(range(len(atoms)), key=lambda k: order.index(symbols[k]))]

    def write(self, atoms: Atoms, folder: Path) -> None:
        """POSCAR."""
        import ase.io

        ase.io.write(folder / "POSCAR", atoms, format="vasp", vasp5=True, direct=False)

    def output(self, folder: Path) -> Path | None:
        """vasprun.xml or OUTCAR, packed or not."""
        names = ("vasprun.xml", "vasprun.xml.gz", "OUTCAR", "OUTCAR.gz")
        return next((folder / name for name in names if (folder / name).is_file()), None)


class Espresso(Program):
    """The input of the template, as it is, with the cell and the atoms added at its end; the output is read back."""

    words = "Quantum ESPRESSO's pw.x"
    how = "one input of pw.x without ATOMIC_POSITIONS and CELL_PARAMETERS, with ibrav = 0 and tprnfor = .true."

    def check(self) -> None:
        """There is one input, that gives forces and leaves the structure to us."""
        file, text = self._input()
        for card in ("ATOMIC_POSITIONS", "CELL_PARAMETERS"):
            if re.search(rf"^\s*{card}\b", text, re.MULTILINE | re.IGNORECASE):
                raise InputError(f"{file}: has {card}, which is added for each structure; take it out.")
        for name, needed in (("ibrav", "0"), ("tprnfor", ".true.")):
            if (found := self._value(text, name)) != needed:
                raise InputError(f"{file}: {name} is {found or 'not given'}; write {name} = {needed}.")
        if (found := self._value(text, "calculation")) not in ("", "'scf'", '"scf"'):
            raise InputError(f"{file}: calculation is {found}, which may move atoms; write calculation = 'scf'.")

    def _input(self) -> tuple[Path, str]:
        """The file, and its text without comments."""
        file = self._only("*.in")
        return file, re.sub(r"[!#].*", "", file.read_text("utf-8"))

    @staticmethod
    def _value(text: str, name: str) -> str:
        """What a variable is set to, in lower case; nothing where it is not."""
        found = re.search(rf"\b{name}\s*=\s*([^\s,/]+)", text, re.IGNORECASE)
        return found[1].lower() if found else ""

    def write(self, atoms: Atoms, folder: Path) -> None:
        """The input with both cards.

        Raises:
            InputError: it is for another number of atoms, or lacks an element; or there is no cell.
        """
        file, text = self._input()
        if self._value(text, "nat") != str(len(atoms)):
            raise InputError(f"{file}: nat must be {len(atoms)}, as many atoms as the structure has.")
        symbols = atoms.get_chemical_symbols()
        named = set(re.findall(r"^\s*([A-Z][a-z]?)\s+[\d.]\S*\s+\S+", text, re.MULTILINE))
        if missing := sorted(set(symbols) - named):
            raise InputError(f"{file}: ATOMIC_SPECIES has no {', '.join(missing)}; name mass and pseudopotential.")
        _require_cell(atoms, self.words)
        lines = ["CELL_PARAMETERS angstrom", *map(_numbers, atoms.cell[:]), "ATOMIC_POSITIONS angstrom"]
        lines += [f"{symbol} {_numbers(place)}" for symbol, place in zip(symbols, atoms.positions, strict=True)]
        whole = file.read_text("utf-8").rstrip() + "\n" + "\n".join(lines) + "\n"
        (folder / file.name).write_text(whole, encoding="utf-8")

    def output(self, folder: Path) -> Path | None:
        """A file in which pw.x has written that it has begun."""
        files = [f for f in sorted(folder.glob("*.out")) + sorted(folder.glob("*.pwo")) if f.is_file()]
        return next((f for f in files if "Program PWSCF" in f.read_text("utf-8", "replace")), None)


class Cp2k(Program):
    """The input of the template, which includes structure.inc; positions and forces of its trajectory read back."""

    words = "CP2K"
    how = (
        "one input with @INCLUDE 'structure.inc' in &SUBSYS, of RUN_TYPE MD with STEPS 0 and forces printed in "
        "&MOTION, for PROJECT-pos-1.xyz and PROJECT-frc-1.xyz"
    )

    def check(self) -> None:
        """The input includes the structure."""
        file = self._only("*.inp")
        if not re.search(r"@INCLUDE\s+['\"]?structure\.inc", file.read_text("utf-8"), re.IGNORECASE):
            raise InputError(f"{file}: does not include structure.inc; it needs {self.how}.")

    def write(self, atoms: Atoms, folder: Path) -> None:
        """structure.inc with &CELL and &COORD.

        Raises:
            InputError: there is no cell.
        """
        _require_cell(atoms, self.words)
        periodic = "".join(axis for axis, there in zip("XYZ", atoms.pbc, strict=True) if there) or "NONE"
        vectors = [f"  {name} {_numbers(v)}" for name, v in zip("ABC", atoms.cell[:], strict=True)]
        symbols = atoms.get_chemical_symbols()
        places = [f"  {symbol} {_numbers(x)}" for symbol, x in zip(symbols, atoms.positions, strict=True)]
        lines = ["&CELL", *vectors, f"  PERIODIC {periodic}", "&END CELL", "&COORD", *places, "&END COORD", ""]
        (folder / "structure.inc").write_text("\n".join(lines), encoding="utf-8")

    def output(self, folder: Path) -> Path | None:
        """The positions, where the forces are beside them."""
        found = [f for f in sorted(folder.glob("*-pos-*.xyz")) if forces_beside(f).is_file()]
        return found[0] if found else None

    def selection(self, atoms: Atoms) -> Selection:
        """The first structure, in the cell that was written."""
        return Selection(last=1, cell=tuple(atoms.cell[:].ravel().tolist()))


PROGRAMS: dict[LabelProgram, type[Program]] = {"vasp": Vasp, "espresso": Espresso, "cp2k": Cp2k}


def _numbers(vector: np.ndarray) -> str:
    return " ".join(f"{x:.10f}" for x in vector)


def _require_cell(atoms: Atoms, program: str) -> None:
    """Raise InputError where a structure has no cell."""
    if atoms.cell.rank < 3:
        raise InputError(f"{program} needs a cell, and the structure has none; give it one with room around it.")


def _of_structure(found: Frame, atoms: Atoms, file: Path) -> Frame:
    """The labels of an output with the structure that was written, to all its digits.

    Raises:
        InputError: the output is of another structure.
    """
    same = np.array_equal(found.numbers, atoms.numbers) and np.allclose(found.cell, atoms.cell[:], atol=SAME_PLACE)
    if same:
        _, distances = find_mic(found.positions - atoms.positions, atoms.cell, atoms.pbc)
        same = bool(distances.max(initial=0.0) <= SAME_PLACE)
    if not same:
        raise InputError(
            f"{file}: is of another structure than was written to its folder; run the program on the input that is "
            "there, without moving atoms or cell before the first forces."
        )
    stress = found.stress if atoms.pbc.all() else None
    return replace(found, positions=atoms.positions, cell=atoms.cell[:], pbc=atoms.pbc, stress=stress)
