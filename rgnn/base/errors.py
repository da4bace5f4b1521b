"""The errors that rgnn raises on purpose. They carry facts; the command line adds exit codes and what to type."""

from pathlib import Path
from typing import Literal

# Work whose state is saved, so that it can be resumed.
Work = Literal["training", "dynamics", "evaluation", "sweep"]


class RGNNError(Exception):
    """The base of all errors with a message meant for a user: one sentence with the way out."""


class InputError(RGNNError, ValueError):
    """A file, a value or a combination of values cannot be used."""


class FetchError(RGNNError):
    """Something could not be had from outside: network, archive, missing download or library."""


class Awaited(FetchError):  # noqa: N818 (nothing went wrong)
    """Work waits for what a user has to bring, and goes on with the same call when it is there."""


class BrokenRunError(RGNNError):
    """A run broke off: it diverged, lost an atom or ran out of memory. Its last whole state is kept."""


class Interrupted(RGNNError):  # noqa: N818 (nothing went wrong)
    """A run was asked to stop and has saved its state.

    Args:
        message: what was stopped, in words.
        work: the kind of work.
        resume_from: the folder that it can be resumed from; None where nothing is kept.
    """

    def __init__(self, message: str, work: Work | None = None, resume_from: str | Path | None = None) -> None:
        super().__init__(message)
        self.work, self.resume_from = work, None if resume_from is None else Path(resume_from)


class LostBoard(Interrupted):
    """The board that a chip is measured on does not answer any more. Work that keeps a state has saved it."""


# Characters of another library's words that are shown; some put the content of a file into them.
LONGEST = 200


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line without a full stop; its type where it says nothing."""
    lines = str(error).strip().splitlines()
    first = lines[0].rstrip(".") if lines else type(error).__name__
    return first if len(first) <= LONGEST else f"{first[:LONGEST]}..."
