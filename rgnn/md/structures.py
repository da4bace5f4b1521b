"""Structures to start from, read and checked."""

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from rgnn.base.errors import InputError, first_line
from rgnn.calculator import require_elements
from rgnn.data.domain import closest_pairs, density_of
from rgnn.data.formats import safe_format
from rgnn.data.store.ledger import ROOT
from rgnn.data.store.reader import GraphStore
from rgnn.graphs.neighbours import CLOSEST, edge_vectors, geometry_problem, neighbour_list
from rgnn.md.constraints import constraints_of
from rgnn.models.base import ForceField

# Beyond what was seen in training by this part, a density or a distance is worth a warning.
MARGIN = 0.05


def read_structure(path: str | Path, frame: int = -1, format: str | None = None) -> Atoms:  # noqa: A002 (ASE's word)
    """One frame of a graph store, or of any structure file that ASE reads without running it, without its labels.

    Raises:
        InputError: unreadable, cut short, without that frame, or of a format whose reader would run code.
    """
    return _read(path, frame, format, f"frame {frame}")[0]


def read_structures(path: str | Path, frames: str, format: str | None = None) -> dict[int, Atoms]:  # noqa: A002
    """Several frames of a file by their number, from 0: "all", or "FIRST:END" or "FIRST:END:STEP" as Python counts.

    Raises:
        InputError: as `read_structure`, or no frames so chosen.
    """
    try:
        bounds = [] if frames == "all" else [int(part) if part.strip() else None for part in frames.split(":")]
        chosen = slice(*(bounds or [None])) if len(bounds) != 1 and len(bounds) <= 3 else None
        if chosen is not None and chosen.step == 0:
            chosen = None
    except ValueError:
        chosen = None
    if chosen is None:
        raise InputError(f"frames is '{frames}', but it must be all, or numbers such as 0:10 or 0:100:10.")
    read = _read(path, slice(None), format, f"frames {frames}")
    numbers = range(len(read))[chosen]
    if not numbers:
        raise InputError(f"{path}: has {len(read)} frames, and {frames} chooses none of them.")
    return {number: read[number] for number in numbers}


def _read(path: str | Path, index: int | slice, format: str | None, what: str) -> list[Atoms]:  # noqa: A002
    if (Path(path) / ROOT).is_file():
        return _of_store(GraphStore(path), index)
    name = safe_format(path, format)
    # ASE takes the first frame where a number from the end goes beyond it.
    from_end = isinstance(index, int) and index < -1
    wanted = slice(index, None) if from_end else index
    try:
        read = ase.io.read(str(path), index=wanted, format=name, do_not_split_by_at_sign=True)
    except Exception as error:  # ASE's readers raise whatever their parsing runs into
        raise InputError(
            f"{path}: {what} cannot be read as {name} ({first_line(error)}); is the file whole, and has it that frame?"
        ) from None
    frames = [read] if isinstance(read, Atoms) else list(read)
    if isinstance(index, int) and from_end:
        if len(frames) < -index:
            raise InputError(f"{path}: has {len(frames)} frames, so there is no frame {index}.")
        frames = frames[:1]
    for atoms in frames:
        atoms.calc = None
    return frames


def _of_store(store: GraphStore, index: int | slice) -> list[Atoms]:
    if isinstance(index, slice):
        return [store.frame(k).to_atoms() for k in range(len(store))[index]]
    if not -len(store) <= index < len(store):
        raise InputError(f"{store.path}: has {len(store)} frames, so there is no frame {index}.")
    return [store.frame(index).to_atoms()]


def check_structure(atoms: Atoms, model: ForceField, any_element: bool = False, where: str = "the structure") -> None:
    """Refuse a structure whose run could not mean anything; `where` names it in errors.

    Raises:
        InputError: not finite, no cell, atoms on top of each other, constraints that are not kept, elements that the
            model was not trained on, or no neighbours.
    """
    problem = geometry_problem(atoms.positions, atoms.cell[:], atoms.pbc)
    if problem or len(atoms) < 2:
        raise InputError(f"{where} cannot be run: {problem or 'it has fewer than two atoms'}; mend the file.")
    constraints_of(atoms, where)
    if not any_element:
        require_elements(model, atoms)
    cutoff = model.settings.cutoff
    index, lengths = _edges(atoms, cutoff)
    if not index.shape[1]:
        raise InputError(
            f"{where}: no atom has a neighbour within the model's cutoff of {cutoff:g} Angstrom; check units and cell."
        )
    i, j = index[:, lengths.argmin()]
    if lengths.min() < CLOSEST:
        raise InputError(
            f"{where}: atoms {i} and {j} are {lengths.min():.3g} Angstrom apart; remove one, or check the cell."
        )


def require_velocities(atoms: Atoms, where: str = "the structure") -> None:
    """Refuse a structure that a run cannot take its velocities from.

    Raises:
        InputError: it has none, only zeros, or some that are not finite.
    """
    if not (atoms.has("momenta") and atoms.get_momenta().any()):
        what = "has only velocities of zero" if atoms.has("momenta") else "has no velocities that ASE reads"
        raise InputError(f"{where}: {what}, so none can be kept; leave --keep-velocities out, and they are drawn.")
    bad = np.flatnonzero(~np.isfinite(atoms.get_momenta()).all(axis=1))
    if len(bad):
        raise InputError(f"{where}: the velocity of atom {bad[0]} is not finite; mend the file.")


def _edges(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """[2, E] edges and [E] lengths in Angstrom."""
    index, shift = neighbour_list(atoms.positions, atoms.cell[:], atoms.pbc, cutoff)
    return index, np.linalg.norm(edge_vectors(atoms.positions, atoms.cell[:], index, shift), axis=1)


def density_outside(atoms: Atoms, model: ForceField) -> list[str]:
    """One sentence where the density is beyond those of the training set; none where it is not, or is unknown."""
    seen = model.provenance.seen
    if not (seen.density and atoms.pbc.all()):
        return []
    density, (low, high) = density_of(atoms.numbers, atoms.cell[:]), seen.density
    if low * (1 - MARGIN) <= density <= high * (1 + MARGIN):
        return []
    span = f"{low:.3g}" if high - low < 0.005 * high else f"{low:.3g} to {high:.3g}"
    return [f"the density is {density:.3g} g/cm3, where the training set has {span}."]


def outside_training(atoms: Atoms, model: ForceField) -> list[str]:
    """In sentences, in what the structure lies outside what the model was trained on; nothing where that is unknown."""
    seen, said = model.provenance.seen, density_outside(atoms, model)
    index, lengths = _edges(atoms, model.settings.cutoff)
    closest = closest_pairs(atoms.numbers, index, lengths)
    known = {(pair.first, pair.second): pair.distance for pair in seen.closest}
    for pair, found in closest.items():
        symbols = "-".join(chemical_symbols[z] for z in pair)
        if pair in known and found < known[pair] * (1 - MARGIN):
            said.append(
                f"the closest {symbols} are {found:.3g} Angstrom apart, where the training set has "
                f"{known[pair]:.3g} at least; --minimise relaxes the structure first."
            )
    return said
