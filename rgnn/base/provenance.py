"""Where a model comes from, and what its training data span."""

from collections.abc import Sequence

from pydantic import Field

from rgnn.base.choices import Split
from rgnn.base.settings import Flag, Number, Settings, Whole


class Closest(Settings):
    """The smallest distance between atoms of two elements."""

    first: Whole = 0
    """Atomic number of one element, at most that of the other."""
    second: Whole = 0
    """Atomic number of the other element."""
    distance: Number = 0.0
    """Smallest distance, Å."""


class TrainingDomain(Settings):
    """What a training set spans, to recognise a structure outside of it."""

    density: tuple[Number, ...] = ()
    """Lowest and highest density, g/cm3; empty where no frame is periodic in all directions."""
    closest: tuple[Closest, ...] = ()
    """Smallest distance for each pair of elements that are neighbours in some frame."""
    largest_force: Number = 0.0
    """Largest force on one atom, eV/Å; 0 where nothing is known."""
    frames: Whole = Field(default=0, ge=0)
    """Number of frames examined."""

    def joined(self, other: "TrainingDomain") -> "TrainingDomain":
        """What two training sets span together."""
        if not (self.frames and other.frames):
            return self if self.frames else other
        nearest = {(c.first, c.second): c for c in sorted([*self.closest, *other.closest], key=lambda c: -c.distance)}
        density = sorted([*self.density, *other.density])
        return TrainingDomain(
            density=(density[0], density[-1]) if density else (),
            closest=tuple(nearest[pair] for pair in sorted(nearest)),
            largest_force=max(self.largest_force, other.largest_force),
            frames=self.frames + other.frames,
        )


class UsedFrames(Settings):
    """The frames of a store that a training used, first and last of each run of frames; it left out what is in none."""

    store: str = ""
    """Path of the store."""
    checksum: str = ""
    """Checksum of the store as it was then; an append leaves it that of the first frames."""
    train: tuple[tuple[Whole, Whole], ...] = ()
    """Frames that were trained on."""
    validation: tuple[tuple[Whole, Whole], ...] = ()
    """Frames that were validated on."""
    test: tuple[tuple[Whole, Whole], ...] = ()
    """Frames that nothing has touched."""


class Provenance(Settings):
    """Where a model comes from."""

    elements: tuple[Whole, ...] = ()
    """Atomic numbers of the training data; empty where they are not known."""
    chip: str = "unknown"
    """Source of the fixed weights."""
    chip_is_measured: Flag = False
    """Whether the fixed weights were measured rather than generated."""
    cells_are_reused: Flag = False
    """Whether cells of the chip serve several matrices."""
    data: str = "unknown"
    """Path of the store of the training data."""
    data_checksum: str = ""
    """Checksum of that store."""
    validation: Number = 0.0
    """Fraction of its frames held out for validation."""
    split: Split = "blocks"
    """How the validation frames were chosen, see `split_frames`."""
    seed: Whole = 0
    """Seed of the split."""
    held_out: tuple[tuple[Whole, Whole], ...] = ()
    """First and last frame of each run of frames to evaluate on: those to test on, else those of the validation; empty
    where validation and split say which, or where they lie in another store."""
    validation_data: str = ""
    """Path of the store of the validation frames; empty where they are held out of that of the training data."""
    started_from: str = ""
    """Path of the model whose weights the training began with; empty where it began with none."""
    used: tuple[UsedFrames, ...] = ()
    """Frames that this training used, then those of the trainings of the model that it began with; empty in models from
    before this was recorded."""
    rgnn: str = "unknown"
    """Version of the program that trained or imported the model."""
    seen: TrainingDomain = TrainingDomain()
    """What the training set spans; empty in imported models, and in those trained before this was recorded."""


def ranges_of(frames: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers, ascending."""
    found: list[tuple[int, int]] = []
    for frame in sorted(frames):
        if found and frame == found[-1][1] + 1:
            found[-1] = found[-1][0], frame
        else:
            found.append((frame, frame))
    return found


def frames_of(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The numbers in such runs, both ends included."""
    return [frame for first, last in ranges for frame in range(first, last + 1)]
