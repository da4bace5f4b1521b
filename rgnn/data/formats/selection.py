"""Which frames of a trajectory are wanted, and the result of reading one."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.labels import USUAL, Keys, frame_of
from rgnn.data.frames import EdgeFrame, Frame, Unusable
from rgnn.data.labelling import Label

Warn = Callable[[str], None]
# What a reader gives: the number of a frame in its file, and the frame or why it cannot be used.
Items = Iterator[tuple[int, Frame | EdgeFrame | Unusable]]


@dataclass(frozen=True)
class Selection:
    """Which frames to take, and what the file does not say.

    Attributes:
        first, last, every: frames first, first + every, ... before last.
        format: ASE's name of the format, or "dpdata:" and dpdata's; None where it is found from the file.
        unconverged: take frames whose electronic structure did not converge too.
        keys: which arrays of the file are the labels, and in which units.
        elements: of the types 1, 2, ... of files that name none.
        label: what gives the frames their forces in place of those of the file.
        cell: three lengths or nine components of the cell vectors in Angstrom, for formats without a cell (CP2K).
    """

    first: int = 0
    last: int | None = None
    every: int = 1
    format: str | None = None
    unconverged: bool = False
    cell: tuple[float, ...] | None = None
    keys: Keys = USUAL
    elements: tuple[str, ...] = ()
    label: Label | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or self.first < 0:
            raise InputError(f"frames from {self.first}, every {self.every}: give a start of 0 or more, a step of 1.")
        if self.cell is not None and len(self.cell) not in (3, 9):
            raise InputError(f"a cell has 3 lengths or 9 components in Angstrom, not {len(self.cell)} numbers.")
        if unknown := [name for name in self.elements if name not in atomic_numbers or name == "X"]:
            raise InputError(f"'{unknown[0]}' is not an element; name one for each type, as in Li,O,P.")

    def __contains__(self, index: int) -> bool:
        return index >= self.first and (index - self.first) % self.every == 0 and not self.past(index)

    def past(self, index: int) -> bool:
        """Whether no wanted frame is at `index` or after it."""
        return self.last is not None and index >= self.last

    @property
    def box(self) -> np.ndarray | None:
        """[3, 3] cell vectors in Angstrom."""
        if self.cell is None:
            return None
        return np.diag(self.cell) if len(self.cell) == 3 else np.reshape(self.cell, (3, 3))

    def frame(self, atoms: Atoms, where: str) -> Frame | Unusable:
        """The frame, labelled where that was asked for, or why it cannot be used."""
        try:
            if self.label is not None:
                try:
                    atoms = self.label.label(atoms)
                except InputError:
                    raise
                except Exception as error:  # what a calculator raises at a structure it cannot treat
                    raise Unusable(f"{where}: {self.label.path} fails ({first_line(error)}).", "not labelled") from None
            return frame_of(atoms, where, self.keys)
        except Unusable as problem:
            return problem


def element(name: str, where: str | Path) -> str:
    """The element of a type's name; a kind of CP2K such as Fe1 is Fe.

    Raises:
        InputError: it is not the name of an element.
    """
    match = re.match(r"[A-Z][a-z]?(?![a-z])", name)
    if match is None or match[0] not in atomic_numbers or match[0] == "X":
        raise InputError(f"{where}: '{name}' is not an element; name the elements of the types with --elements.")
    return match[0]
