"""Provenance."""

from dataclasses import dataclass
from typing import Literal

from rgnn.base.settings import Settings


@dataclass(frozen=True)
class Closest(Settings):
    """The smallest distance in Angstrom between atoms of two elements, by atomic number, `first` <= `second`."""

    first: int = 0
    second: int = 0
    distance: float = 0.0


@dataclass(frozen=True)
class TrainingDomain(Settings):
    """What a training set spans, so that a structure outside of it can be told.

    Attributes:
        density: lowest and highest in g/cm3; empty where no frame is periodic in all directions.
        closest: of each pair of elements that are neighbours in some frame.
        largest_force: eV/Angstrom, of one atom; 0 where nothing is known.
        frames: that were looked at.
    """

    density: tuple[float, ...] = ()
    closest: tuple[Closest, ...] = ()
    largest_force: float = 0.0
    frames: int = 0

    def joined(self, other: "TrainingDomain") -> "TrainingDomain":
        """What two training sets span together."""
        if not (self.frames and other.frames):
            return self if self.frames else other
        nearest = {(c.first, c.second): c for c in sorted([*self.closest, *other.closest], key=lambda c: -c.distance)}
        density = sorted([*self.density, *other.density])
        return TrainingDomain(
            (density[0], density[-1]) if density else (),
            tuple(nearest[pair] for pair in sorted(nearest)),
            max(self.largest_force, other.largest_force),
            self.frames + other.frames,
        )


@dataclass(frozen=True)
class Provenance(Settings):
    """Where a model comes from.

    Attributes:
        elements: atomic numbers it was trained on; empty where that is not known.
        chip: the source of its reservoir weights.
        chip_is_measured: they were measured, not made.
        data, data_checksum: the store it was trained on.
        validation, split, seed: the split of that store, see `split_frames`.
        rgnn: version of the program that trained or imported it.
        seen: what the training set spans; empty in models imported, or trained before this was recorded.
    """

    elements: tuple[int, ...] = ()
    chip: str = "unknown"
    chip_is_measured: bool = False
    data: str = "unknown"
    data_checksum: str = ""
    validation: float = 0.0
    split: Literal["blocks", "random"] = "blocks"
    seed: int = 0
    rgnn: str = "unknown"
    seen: TrainingDomain = TrainingDomain()
