"""Structures to start from, read and checked."""

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from rgnn.calculator import require_elements
from rgnn.errors import InputError, first_line
from rgnn.model import RGNN
from rgnn.neighbours import CLOSEST, edge_vectors, geometry_problem, neighbour_list
from rgnn.trajectories import safe_format


def read_structure(path: str | Path, frame: int = -1, format: str | None = None) -> Atoms:  # noqa: A002 (ASE's word)
    """One frame of any structure file that ASE reads without running it; labels are left behind.

    Raises:
        InputError: unreadable, cut short, without that frame, or of a format whose reader would run code.
    """
    name = safe_format(path, format)
    try:
        atoms = ase.io.read(str(path), index=frame, format=name, do_not_split_by_at_sign=True)
    except Exception as error:  # ASE's readers raise whatever their parsing runs into
        raise InputError(
            f"{path}: frame {frame} cannot be read as {name} ({first_line(error)}); "
            "is the file whole, and has it that frame?"
        ) from None
    atoms.calc = None
    return atoms


def check_structure(atoms: Atoms, model: RGNN, any_element: bool = False, where: str = "the structure") -> None:
    """Refuse a structure whose run could not mean anything; `where` names it in errors.

    Raises:
        InputError: not finite, no cell, atoms on top of each other, held atoms, elements that the model was not
            trained on, or no neighbours.
    """
    problem = geometry_problem(atoms.positions, atoms.cell[:], atoms.pbc)
    if problem or len(atoms) < 2:
        raise InputError(f"{where} cannot be run: {problem or 'it has fewer than two atoms'}; mend the file.")
    if any(len(constraint.get_indices()) for constraint in atoms.constraints if hasattr(constraint, "get_indices")):
        raise InputError(f"{where}: holds atoms fixed, which rgnn does not do; remove the constraints from the file.")
    if not any_element:
        require_elements(model, atoms)
    cutoff = model.config.cutoff
    index, shift = neighbour_list(atoms.positions, atoms.cell[:], atoms.pbc, cutoff)
    if not index.shape[1]:
        raise InputError(
            f"{where}: no atom has a neighbour within the model's cutoff of {cutoff:g} Angstrom; check units and cell."
        )
    lengths = np.linalg.norm(edge_vectors(atoms.positions, atoms.cell[:], index, shift), axis=1)
    i, j = index[:, lengths.argmin()]
    if lengths.min() < CLOSEST:
        raise InputError(
            f"{where}: atoms {i} and {j} are {lengths.min():.3g} Angstrom apart; remove one, or check the cell."
        )
