"""How an error ends a command: one sentence, what to type next, and an exit code."""

from __future__ import annotations

import errno
from shlex import quote

from rgnn.base.errors import Awaited, BrokenRunError, FetchError, InputError, Interrupted, LostBoard, RGNNError, Work

# See the table of exit codes in the documentation of the command line.
EXIT_CODES: dict[type[RGNNError], int] = {
    InputError: 2,
    FetchError: 3,
    BrokenRunError: 4,
    LostBoard: 5,
    Interrupted: 130,
}
RESUME: dict[Work, str] = {
    "training": "rgnn train --resume",
    "dynamics": "rgnn md --resume",
    "evaluation": "rgnn eval --resume",
    "sweep": "rgnn sweep --resume",
}


def exit_code(error: RGNNError) -> int:
    """The exit code of a kind of error; 1 for one of no kind."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


def show(error: BaseException) -> int:
    """Print one sentence; return the exit code."""
    from rich.text import Text

    from rgnn_cli.session.console import plain, stderr

    def say(text: str) -> None:
        stderr.print(Text.assemble(("Error:", "red"), " ", plain(text)))

    if isinstance(error, Interrupted):
        said = f"{str(error)[:1].upper()}{str(error)[1:]}"
        if error.work is not None and error.resume_from is not None:
            said += f"; continue with: {RESUME[error.work]} {quote(str(error.resume_from))}"
        if isinstance(error, LostBoard):
            say(said if error.resume_from is not None else f"{said}; mend it, and run the command again.")
        else:
            stderr.print(plain(said))
        return exit_code(error)
    if isinstance(error, Awaited):
        stderr.print(plain(str(error)))
        return exit_code(error)
    if isinstance(error, RGNNError):
        say(str(error))
        return exit_code(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        say(
            f"no space is left on the disk of {error.filename or 'the output'}; "
            "what was written whole before is intact: free some space and run the command again."
        )
        return 2
    if isinstance(error, OSError) and error.filename:
        what = (error.strerror or type(error).__name__).lower()
        say(f"{error.filename}: {what}; check the path and its permissions.")
        return 2
    if isinstance(error, MemoryError) or any(
        said in str(error).lower() for said in ("out of memory", "can't allocate memory", "not enough memory")
    ):
        say("out of memory; use a smaller batch or structure, or a machine with more memory.")
        return 4
    first = str(error).splitlines()[0] if str(error) else ""
    say(
        f"unexpected {type(error).__name__}: {first} "
        "(run again with 'rgnn --debug ...' for the traceback, and please report it)."
    )
    return 1
