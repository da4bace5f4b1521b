"""What an interrupted training is compared with before it goes on: the frames that it had."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance


def others_checksum(p: Provenance) -> str:
    """SHA-256 of what a training uses beside its own store, whose contents have checksums of their own."""
    return _checksum([(u.checksum, u.train, u.validation, u.test) for u in p.used[1:]])


def _checksum(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


def same_numbers(saved: str, train: Sequence[int], validation: Sequence[int], run: Path | None) -> str:
    """The checksum of these numbers, compared with that of the state of a run; "" is of a run that has none yet.

    Raises:
        InputError: the state was made with other frames.
    """
    now = _checksum([list(train), list(validation)])
    if saved not in ("", now):
        raise InputError(
            f"{run}: the run was started with other training and validation frames than now; bring back its split "
            "file, or the store of the model it began with, or start a new run."
        )
    return now
