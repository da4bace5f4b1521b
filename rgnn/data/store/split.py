"""Which frames of a store train, and which are held out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rgnn.base.choices import Split
from rgnn.base.errors import InputError, first_line
from rgnn.base.files import write_atomic
from rgnn.base.provenance import UsedFrames, ranges_of
from rgnn.base.rng import numpy_stream
from rgnn.data.store.correlation import correlation_length, trajectories
from rgnn.data.store.reader import GraphStore

# Frames of the shortest block, and the most of a trajectory that is left out on either side of its blocks together.
SHORTEST, MOST_LEFT_OUT = 10, 0.06
# Whole trajectories are held out where there are so many.
ENOUGH_TRAJECTORIES = 5
# Frames of a trajectory on average, fewer of which are no trajectories.
FEWEST = 3
FILE = "split.yaml"


@dataclass(frozen=True)
class Partition:
    """The frames of a store by what a training does with them; those in none are left out between the others.

    Attributes:
        train, validation, test: numbers of frames; those to test on are touched by nothing in training.
        how: in words, how they were chosen.
        whole: the validation frames are whole trajectories that no training frame belongs to.
    """

    train: list[int]
    validation: list[int]
    test: list[int] = field(default_factory=list)
    how: str = ""
    whole: bool = False

    def save(self, path: str | Path) -> None:
        """Write a split file, which `read_partition` reads."""
        parts = {name: _in_words(frames) for name, frames in self._parts.items() if frames}
        lines = [f"# Frames of a store, from 0, both ends of a range included. {self.how}".rstrip()]
        write_atomic(path, "\n".join([*lines, *(f"{name}: {words}" for name, words in parts.items())]) + "\n")

    def used(self, store: GraphStore, validated: GraphStore | None = None) -> tuple[UsedFrames, ...]:
        """What a record keeps of it; `validated` is the store of the validation frames, where it is another one."""
        train, validation, test = (tuple(ranges_of(frames)) for frames in (self.train, self.validation, self.test))
        own = UsedFrames(store=str(store.path), checksum=store.checksum, train=train, test=test)
        if validated is None:
            return (own.override(validation=validation),)
        return own, UsedFrames(store=str(validated.path), checksum=validated.checksum, validation=validation)

    @property
    def _parts(self) -> dict[str, list[int]]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def partition(store: GraphStore, validation: float, seed: int, how: Split | str = "blocks") -> Partition:
    """The frames of a store that train and those that are held out.

    "auto" holds out whole trajectories where the store has five or more. Else it holds out blocks of each trajectory
    that are at least as long as its frames stay correlated, and leaves out frames on either side of them.
    "blocks" and "random" are those of `split_frames`. Anything else is the path of a split file.

    Args:
        store: of the frames.
        validation: fraction to hold out.
        seed: of the choice.
        how: see above.

    Raises:
        InputError: fewer than two frames, or a split file that cannot be used.
    """
    if how in ("blocks", "random"):
        words = "Blocks of ten frames." if how == "blocks" else "Single frames by random."
        return Partition(
            *split_frames(len(store), validation, seed, how="random" if how == "random" else "blocks"), how=words
        )
    if how != "auto":
        return read_partition(how, len(store))
    pieces, temperature = trajectories(store), np.nan_to_num(store.column("temperature"), nan=-1.0)
    if _enough(pieces, temperature):
        return _whole_trajectories(pieces, validation, seed)
    # A block should not lie in one temperature of several, which would not be like the rest.
    segments = np.concatenate([[0], np.cumsum((np.diff(pieces) != 0) | (np.diff(temperature) != 0))])
    length = correlation_length(store, segments)
    found = _blocks(segments, temperature, length, validation, seed)
    if found.validation and found.train:
        return found
    return Partition(*split_frames(len(store), validation, seed), how="Blocks of ten frames, or of one in ten.")


def _enough(pieces: np.ndarray, temperature: np.ndarray) -> bool:
    """Whether some trajectories can be held out whole: there are several, of each temperature too.

    Where pieces change with nearly every frame, frames of several trajectories lie among each other.
    """
    numbers, first, sizes = np.unique(pieces, return_index=True, return_counts=True)
    _, of_temperature = np.unique(temperature[first], return_counts=True)
    few = len(numbers) < ENOUGH_TRAJECTORIES or sizes.max() > len(pieces) / 2 or len(pieces) < FEWEST * len(numbers)
    return not few and bool((of_temperature >= 2).all())


def _whole_trajectories(pieces: np.ndarray, validation: float, seed: int) -> Partition:
    """Trajectories in random order until the fraction is reached, at least one; small ones together count as any."""
    numbers, sizes = np.unique(pieces, return_counts=True)
    order, held, wanted = (
        numpy_stream(seed, "trajectories").permutation(len(numbers)),
        list[int](),
        validation * len(pieces),
    )
    for k in order:
        n = int(sizes[held].sum())
        if not held or n + sizes[k] / 2 <= wanted:
            held.append(int(k))
    mine = np.isin(pieces, numbers[held])
    words = f"{len(held)} of {len(numbers)} trajectories are held out whole."
    return Partition(np.flatnonzero(~mine).tolist(), np.flatnonzero(mine).tolist(), how=words, whole=True)


def _blocks(segments: np.ndarray, temperature: np.ndarray, length: int, validation: float, seed: int) -> Partition:
    """Blocks of each temperature with a gap on either side; segments are of one trajectory and temperature."""
    usable = np.bincount(segments)[segments] >= 2 * SHORTEST
    role, rng, said = np.zeros(len(segments), dtype=int), numpy_stream(seed, "split"), (0, 0)
    kinds = np.unique(temperature[usable])
    for kelvin in kinds:
        mine = np.flatnonzero(usable & (temperature == kelvin))
        n = len(mine)
        block = min(max(SHORTEST, length), max(round(validation * n), min(SHORTEST, n // 7)))
        count = max(1, round(validation * n / block))
        gap = min(length, int(MOST_LEFT_OUT * n / (2 * count)))
        # A block lies in one segment, and each of them somewhere in its own part of the frames.
        begins = np.flatnonzero(segments[mine[: n - block + 1]] == segments[mine[block - 1 :]])
        parts = np.array_split(np.arange(n), count)
        for part in parts:
            inside = begins[(begins >= part[0]) & (begins + block <= part[-1] + 1)]
            if not len(inside):
                continue
            first, last = mine[b := int(rng.choice(inside))], mine[b + block - 1]
            near = np.arange(max(0, first - gap), min(len(role), last + gap + 1))
            near = near[segments[near] == segments[first]]
            role[near] = np.maximum(role[near], 1)
            role[first : last + 1] = 2
            said = max(said[0], block), max(said[1], gap)
    words = (
        f"Blocks of up to {said[0]} frames, {said[1]} left out on either side; frames stay correlated over {length}."
    )
    return Partition(np.flatnonzero(role == 0).tolist(), np.flatnonzero(role == 2).tolist(), how=words)


def split_frames(
    n: int, validation: float, seed: int, block: int = SHORTEST, how: Split = "blocks"
) -> tuple[list[int], list[int]]:
    """Training and validation frames, by their numbers alone.

    By default contiguous blocks of frames are held out. Neighbouring frames of molecular dynamics are nearly the same
    structure, so of frames held out one by one at random, each has a twin in the training set, and the validation
    error says how well the model remembers. "random" is for frames that do not follow one another in time, and for
    comparison with works that split so.

    Args:
        n: frames in all.
        validation: fraction to hold out.
        seed: of the choice.
        block: frames in a block; fewer where there are few frames.
        how: "blocks" or "random".

    Raises:
        InputError: fewer than two frames.
    """
    if n < 2:
        raise InputError(f"{n} frame(s) cannot be split into training and validation; at least two are needed.")
    block = 1 if how == "random" else max(1, min(block, n // 10))
    blocks = [list(range(first, min(first + block, n))) for first in range(0, n, block)]
    held = max(1, min(round(validation * len(blocks)), len(blocks) - 1))
    chosen = set(numpy_stream(seed, "split").permutation(len(blocks))[:held].tolist())
    train = [i for b, frames in enumerate(blocks) if b not in chosen for i in frames]
    return train, [i for b in sorted(chosen) for i in blocks[b]]


def read_partition(path: str | Path, n: int) -> Partition:
    """The frames that a split file names, for a store of n frames.

    A split file is YAML with the keys train, validation and test, each a list of frame numbers or text such as
    "0-99, 120, 130-199", both ends included. Where train is left out, all other frames train.

    Raises:
        InputError: not such a file, a frame that the store lacks or that has two roles, or nothing to train or
            validate on.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            f"--split is '{path}', which is neither auto, blocks or random nor a split file ({first_line(error)})."
        ) from None
    if not isinstance(data, dict) or not data or set(data) - {"train", "validation", "test"}:
        raise InputError(f"{path}: a split file has the keys train, validation and test, each with frame numbers.")
    found = {name: _frames(data[name], f"{path}: {name}", n) for name in data}
    named = [frame for frames in found.values() for frame in frames]
    if len(set(named)) != len(named):
        twice = next(frame for frame in named if named.count(frame) > 1)
        raise InputError(f"{path}: frame {twice} is named twice; each frame trains, validates or tests.")
    if "train" not in found:
        found["train"] = sorted(set(range(n)) - set(named))
    train, validation = found["train"], found.get("validation", [])
    if not train or not validation:
        raise InputError(f"{path}: {len(train)} training and {len(validation)} validation frames; each needs one.")
    return Partition(train, validation, found.get("test", []), how=f"As {path} says.")


def require_other_frames(
    store: GraphStore, other: GraphStore, way_out: str, trained: Sequence[int] | None = None
) -> None:
    """Raise InputError where frames of another store are among those that are trained on, whatever their labels.

    Args:
        store: that is trained on.
        other: of frames that nothing may be trained on.
        way_out: ends the sentence.
        trained: numbers of the training frames of the store; None is all of them.
    """
    known = np.fromiter((frame.structure_digest for frame in store.frames()), np.uint64, len(store))
    known = known if trained is None else known[np.asarray(trained, dtype=int)]
    mine = np.fromiter((frame.structure_digest for frame in other.frames()), np.uint64, len(other))
    shared = np.flatnonzero(np.isin(mine, known))
    if len(shared):
        raise InputError(
            f"{other.path}: {len(shared)} of its {len(other)} frames, the first of them frame {shared[0]}, are in "
            f"{store.path}, which is trained on; {way_out}."
        )


def _frames(value: Any, where: str, n: int) -> list[int]:
    """Frame numbers from a list of numbers, or from words such as "0-9, 12"."""
    parts = value if isinstance(value, list) else str(value).replace(",", " ").split()
    found = list[int]()
    for part in parts:
        first, dash, last = str(part).partition("-")
        if isinstance(part, bool) or not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"{where} has {part!r}; write frame numbers such as 0-99, 120, 130-199.")
        begin, end = int(first), int(last or first)
        if end < begin:
            raise InputError(f"{where} has {part!r}, which ends before it begins; write {end}-{begin}.")
        if end >= n:
            raise InputError(f"{where} has {part!r}, but the store has {n} frames, from 0; mend the file.")
        if len(found) + end - begin >= n:
            raise InputError(f"{where} names more frames than the {n} of the store; name each of them once.")
        found += range(begin, end + 1)
    return sorted(found)


def _in_words(frames: Sequence[int]) -> str:
    return ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in ranges_of(frames))
