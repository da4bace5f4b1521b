"""What a graph store holds, in numbers."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class SourceSummary:
    """A file that frames of a store came from.

    Attributes:
        name: of the file.
        frames: taken from it.
        skipped: frames that were not taken, by reason.
        labels: the calculator that made the forces, or empty where they are the file's.
    """

    name: str
    frames: int
    skipped: dict[str, int]
    labels: str


@dataclass(frozen=True)
class MotionSummary:
    """Temperatures of the velocities of frames whose file names none.

    Attributes:
        frames: their number.
        lowest_kelvin, mean_kelvin, highest_kelvin: of them.
    """

    frames: int
    lowest_kelvin: float
    mean_kelvin: float
    highest_kelvin: float

    @classmethod
    def of(cls, named: np.ndarray, kinetic: np.ndarray) -> Self | None:
        """From temperatures that files name and those of velocities [frames], K, NaN where unknown.

        None where no frame has only the latter.
        """
        mine = kinetic[np.isnan(named) & ~np.isnan(kinetic)]
        return cls(len(mine), float(mine.min()), float(mine.mean()), float(mine.max())) if len(mine) else None


@dataclass(frozen=True)
class StoreSummary:
    """What a graph store holds.

    Attributes:
        frames, atoms, edges: their numbers in the whole store.
        smallest_frame_atoms, largest_frame_atoms: atoms in a frame.
        elements: atoms of each element, by its symbol.
        cutoff_angstrom: largest length of an edge.
        mean_neighbours, fewest_neighbours, most_neighbours: of an atom.
        force_rms_ev_per_angstrom: root mean square of a force component.
        temperatures_kelvin: frames of each temperature; frames whose temperature is unknown are not among them.
        sources: the files that the frames came from, in the order of their frames.
        unfinished: whether an append broke off; the same command completes it.
        velocities: temperatures of the velocities of frames whose temperature is unknown; None where there are none.
    """

    frames: int
    atoms: int
    edges: int
    smallest_frame_atoms: int
    largest_frame_atoms: int
    elements: dict[str, int]
    cutoff_angstrom: float
    mean_neighbours: float
    fewest_neighbours: int
    most_neighbours: int
    force_rms_ev_per_angstrom: float
    temperatures_kelvin: dict[float, int]
    sources: tuple[SourceSummary, ...]
    unfinished: bool
    velocities: MotionSummary | None = None

    @property
    def left_out(self) -> Counter[str]:
        """Frames of all sources that were not taken, by reason."""
        return sum((Counter(source.skipped) for source in self.sources), Counter[str]())

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers, with their units in the keys."""
        return {"kind": "store", **asdict(self)}
