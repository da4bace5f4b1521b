"""The errors that rgnn raises on purpose; each carries the exit code of the command line."""


class RGNNError(Exception):
    """Base of all errors with a message meant for a user: one sentence with the way out."""

    exit_code = 1


class InputError(RGNNError, ValueError):
    """A file, a value or a combination of values cannot be used."""

    exit_code = 2


class FetchError(RGNNError):
    """Something could not be had from outside (network, archive, missing download)."""

    exit_code = 3


class BrokenRunError(RGNNError):
    """A run broke off: diverged, lost an atom, ran out of memory. Its last whole state is kept."""

    exit_code = 4


class Interrupted(RGNNError):  # noqa: N818 (nothing went wrong)
    """A run was asked to stop (Ctrl-C, SIGTERM) and has saved its state."""

    exit_code = 130


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line without a full stop; its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
