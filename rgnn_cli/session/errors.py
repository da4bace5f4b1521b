"""Errors."""

import errno


def show(error: BaseException) -> int:
    """Print one sentence; return the exit code."""
    from rich.markup import escape

    from rgnn.base.errors import Interrupted, RGNNError
    from rgnn_cli.session.console import stderr

    if isinstance(error, Interrupted):
        stderr.print(escape(f"{str(error)[:1].upper()}{str(error)[1:]}"))
        return error.exit_code
    if isinstance(error, RGNNError):
        stderr.print(f"[red]Error:[/] {escape(str(error))}")
        return error.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        stderr.print(
            f"[red]Error:[/] no space is left on the disk of {escape(str(error.filename or 'the output'))}; "
            "what was written whole before is intact: free some space and run the command again."
        )
        return 2
    if isinstance(error, OSError) and error.filename:
        what = (error.strerror or type(error).__name__).lower()
        stderr.print(f"[red]Error:[/] {escape(str(error.filename))}: {what}; check the path and its permissions.")
        return 2
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        stderr.print("[red]Error:[/] out of memory; use a smaller batch or structure, or a machine with more memory.")
        return 4
    first = str(error).splitlines()[0] if str(error) else ""
    stderr.print(
        f"[red]Error:[/] unexpected {type(error).__name__}: {escape(first)} "
        "(run again with 'rgnn --debug ...' for the traceback, and please report it)."
    )
    return 1
