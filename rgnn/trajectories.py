"""AIMD files -> labelled frames, one at a time, each checked. Reading is ASE's; nothing is ever executed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from rgnn.errors import InputError, first_line
from rgnn.neighbours import geometry_problem

# Formats of ASE that run or unpickle what they read.
UNSAFE_FORMATS = ("py", "bundletrajectory")
# Names under which extended XYZ files of the field carry forces besides ASE's own.
FORCE_ARRAYS = ("force", "REF_forces", "dft_forces")
# A component above this is no force of matter near equilibrium, but a wrong unit or a broken calculation.
LARGEST_FORCE = 1000.0


@dataclass(frozen=True)
class Frame:
    """A labelled structure.

    Attributes:
        numbers: [N] atomic numbers.
        positions: [N, 3] Angstrom.
        cell: [3, 3] Angstrom, rows are the cell vectors.
        pbc: [3] whether each cell vector is periodic.
        forces: [N, 3] eV/Angstrom.
        energy: eV, where known.
        temperature: K of the thermostat, where the file says so (`temperature` in an extended XYZ header).
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    forces: np.ndarray
    energy: float | None = None
    temperature: float | None = None


def safe_format(path: str | Path, format: str | None = None) -> str:  # noqa: A002 (ASE's word)
    """ASE's name of the file's format, found or given.

    Raises:
        InputError: no such file, an unknown format, or one whose reader would run what is in the file.
    """
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file.")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty.")
    if format is None:
        try:
            format = filetype(str(path))  # noqa: A001
        except (UnknownFileTypeError, OSError, ValueError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}: ASE knows no format for it ({first_line(error)}); name it with --format, such as extxyz."
            ) from None
    if format in UNSAFE_FORMATS:
        raise InputError(
            f"{path}: format '{format}' is refused, since reading it would run what it holds; write it as extended XYZ."
        )
    if format not in ioformats:
        raise InputError(
            f"{path}: ASE has no format '{format}'; name it with --format, such as extxyz, vasp-xml, vasp-out or traj."
        )
    return format


def read_frames(
    path: str | Path,
    every: int = 1,
    first: int = 0,
    last: int | None = None,
    format: str | None = None,  # noqa: A002 (ASE's word)
) -> Iterator[Frame]:
    """Frames first, first + every, ... before `last` of any trajectory with forces that ASE reads.

    One frame is in memory at a time where ASE's reader of the format allows it (extended XYZ, .traj, .db do).

    Raises:
        InputError: unreadable or cut short, no forces, NaN or absurd values, or periodic without a cell.
    """
    import ase.io

    path = Path(path)
    format = safe_format(path, format)  # noqa: A001
    part = slice(first, last, every)
    reader = ase.io.iread(str(path), index=part, format=format, do_not_split_by_at_sign=True)
    index = first
    while True:
        try:
            atoms = next(reader, None)
        except Exception as error:  # ASE's readers raise whatever their parsing runs into
            whole = f"; --to {index} reads what is whole" if index > first else ""
            raise InputError(f"{path}: frame {index} cannot be read ({first_line(error)}){whole}.") from None
        if atoms is None:
            break
        yield frame_of(atoms, f"{path}: frame {index}")
        index += every
    if index == first:
        raise InputError(f"{path}: holds no frames in the range that was asked for.")


def frame_of(atoms: Atoms, where: str) -> Frame:
    """The labels and atoms of an ASE structure, checked; `where` names it in errors.

    Raises:
        InputError: no forces, NaN or absurd values, or periodic without a cell.
    """
    results = {} if atoms.calc is None else atoms.calc.results
    forces = results.get("forces")
    for name in FORCE_ARRAYS:
        forces = atoms.arrays.get(name) if forces is None else forces
    if forces is None:
        raise InputError(f"{where} has no forces; convert a trajectory that carries the forces of its calculation.")
    forces = np.asarray(forces, dtype=np.float64)
    cell = np.asarray(atoms.cell[:], dtype=np.float64)
    problem = geometry_problem(atoms.positions, cell, atoms.pbc)
    if problem:
        raise InputError(f"{where} cannot be used: {problem}; remove or mend this frame.")
    if forces.shape != atoms.positions.shape:
        raise InputError(f"{where}: its forces are {list(forces.shape)}, expected [{len(atoms)}, 3]; mend the file.")
    bad = np.flatnonzero(~np.isfinite(forces).all(axis=1))
    if len(bad):
        raise InputError(f"{where}: the force of atom {bad[0]} is {forces[bad[0]].tolist()}; remove this frame.")
    worst = int(np.abs(forces).max(axis=1).argmax())
    if np.abs(forces[worst]).max() > LARGEST_FORCE:
        raise InputError(
            f"{where}: the force on atom {worst} is {np.abs(forces[worst]).max():.6g} eV/Angstrom, above "
            f"{LARGEST_FORCE:g}; remove this frame, or check the unit of the file."
        )
    energy, temperature = results.get("energy"), atoms.info.get("temperature")
    return Frame(
        np.asarray(atoms.numbers),
        np.asarray(atoms.positions, dtype=np.float64),
        cell,
        np.asarray(atoms.pbc, dtype=bool),
        forces,
        None if energy is None else float(energy),
        float(temperature) if isinstance(temperature, int | float | np.number) else None,
    )
