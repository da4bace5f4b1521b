"""Which frames of a store train, and which are held out."""

from rgnn.base.choices import Split
from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance
from rgnn.base.rng import numpy_stream
from rgnn.data.store.reader import GraphStore


def split_frames(
    n: int, validation: float, seed: int, block: int = 10, how: Split = "blocks"
) -> tuple[list[int], list[int]]:
    """Training and validation frames.

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


def held_out_frames(p: Provenance, store: GraphStore) -> list[int] | None:
    """The frames of its own training store that a model of this provenance was not trained on; None for any other."""
    return split_frames(len(store), p.validation, p.seed, how=p.split)[1] if p.data_checksum == store.checksum else None
