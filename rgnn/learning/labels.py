"""Labels of chosen structures, one file for each as soon as it is there, so that a kill loses one at most."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import ase.io
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from rgnn.base.errors import Awaited, InputError, Interrupted, first_line
from rgnn.base.events import Listener
from rgnn.base.files import write_atomic
from rgnn.data.formats.labels import frame_of
from rgnn.data.frames import Frame, Unusable
from rgnn.data.labelling import Label
from rgnn.learning.programs import PROGRAMS, Program
from rgnn.learning.settings import LearnSettings
from rgnn.md.outputs import extended_xyz

LABELS = "labels"
# A file in the folder of an input that leaves it out.
SKIP = "skip"


class Labeller(Protocol):
    """What gives chosen structures their labels."""

    def label(self, folder: Path, structures: Sequence[Atoms], listener: Listener) -> list[Path]:
        """The files of labelled structures in folder/labels; those that are there already stay.

        Raises:
            Interrupted: the listener asked to stop.
            Awaited: labels are still to come from outside.
            InputError: none of the structures could be labelled.
        """


def labeller_of(settings: LearnSettings) -> Labeller:
    """The labeller that settings ask for.

    Raises:
        InputError: the calculator cannot be made, or the template lacks something.
    """
    if settings.inputs is not None:
        assert settings.template is not None
        return ProgramLabels(PROGRAMS[settings.inputs](Path(settings.template)))
    assert settings.label is not None
    label = Label(settings.label)
    _ = label.calculator  # so that a wrong name is met before the work
    return CalculatorLabels(label)


class CalculatorLabels:
    """Labels by an ASE calculator in this process.

    Args:
        by: the calculator.
    """

    def __init__(self, by: Label) -> None:
        self.by = by

    def label(self, folder: Path, structures: Sequence[Atoms], listener: Listener) -> list[Path]:
        """See `Labeller`."""
        done, problems = list[Path](), list[str]()
        for number, atoms in enumerate(structures):
            file = labelled_file(folder, number)
            if not file.is_file():
                if listener.stop():
                    said = f"stopped after {len(done)} of {len(structures)} labels, which are kept"
                    raise Interrupted(f"{said}; the same command goes on")
                try:
                    frame = frame_of(self.by.label(atoms), f"structure {number}")
                except Exception as error:  # what a calculator raises at a structure it cannot treat
                    problems.append(f"{self.by.path} fails at structure {number} of {folder} ({first_line(error)})")
                    listener.warn(f"{problems[-1]}; it is left out.")
                    continue
                write_frame(frame, file)
            done.append(file)
            listener.progress(number + 1, len(structures))
        return _some(done, problems, folder)


class ProgramLabels:
    """Labels by a program that a user runs.

    Args:
        program: whose inputs are written and whose outputs are read.
    """

    def __init__(self, program: Program) -> None:
        self.program = program

    def label(self, folder: Path, structures: Sequence[Atoms], listener: Listener) -> list[Path]:
        """See `Labeller`."""
        done, problems, missing, written = list[Path](), list[str](), list[Path](), 0
        for number, atoms in enumerate(structures):
            file = labelled_file(folder, number)
            inputs = file.with_suffix("")
            if file.is_file():
                done.append(file)
                continue
            if not inputs.is_dir():
                self.program.prepare(atoms, inputs)
                written += 1
            if (inputs / SKIP).exists():
                problems.append(f"{inputs} is left out, as its file {SKIP} says")
                continue
            found = self.program.frame(atoms, inputs)
            if found is None:
                missing.append(inputs)
            elif isinstance(found, Unusable):
                problems.append(str(found))
                listener.warn(f"{found} It is left out.")
            else:
                write_frame(found, file)
                done.append(file)
        if missing:
            there = f"{missing[0]}" if len(missing) == 1 else f"{missing[0]} to {missing[-1].name}"
            what = "inputs are written" if written == len(structures) else "outputs are missing"
            number_of = f"{len(missing)} {what}" if len(missing) > 1 else f"1 {what.replace('s are', ' is')}"
            raise Awaited(
                f"{number_of}: run {self.program.words} in {there}, and give the same command again; "
                f"a file named {SKIP} in a folder leaves it out."
            )
        return _some(done, problems, folder)


def _some(done: list[Path], problems: list[str], folder: Path) -> list[Path]:
    """The files, of which there must be some."""
    if not done:
        first = f": {problems[0].rstrip('.')}" if problems else ""
        raise InputError(f"{folder}: none of its structures could be labelled{first}.")
    return done


def labelled_file(folder: Path, number: int) -> Path:
    """The file of the label of a chosen structure."""
    return folder / LABELS / f"{number:03d}.xyz"


def write_frame(frame: Frame, path: Path) -> None:
    """Write a labelled frame as extended XYZ, in eV and Angstrom."""
    atoms = frame.to_atoms()
    known: dict[str, Any] = {"energy": frame.energy, "stress": frame.stress, "forces": frame.forces}
    atoms.calc = SinglePointCalculator(atoms, **{name: value for name, value in known.items() if value is not None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, extended_xyz(atoms))


def write_structures(structures: Iterable[Atoms], path: Path) -> None:
    """Write structures without labels as extended XYZ."""
    plain = (Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in structures)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(extended_xyz(atoms) for atoms in plain))


def read_structures(path: Path) -> list[Atoms]:
    """Those of `write_structures`."""
    found = ase.io.read(path, index=":", format="extxyz")
    return list(found)
