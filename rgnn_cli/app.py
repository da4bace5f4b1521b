"""The Typer app: one line per command, and how errors end a command."""

import errno
import os
import sys
from typing import Annotated

import typer

from rgnn_cli import (
    analyse,
    convert,
    costs,
    demo,
    doctor,
    evaluate,
    fetch_data,
    import_checkpoint,
    import_conductance,
    info,
    md,
    sweep,
    train,
)

INTERRUPTED = 130

app = typer.Typer(
    name="rgnn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Force fields from resistive-memory reservoir graph neural networks.",
    epilog="Try: rgnn demo, or: rgnn fetch-data sample; rgnn train --bits 4 --noise 0.05; rgnn md structure.xyz",
)
app.command("fetch-data")(fetch_data.fetch_data)
app.command("convert")(convert.convert)
app.command("import-conductance")(import_conductance.import_conductance)
app.command("import-checkpoint")(import_checkpoint.import_checkpoint)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("costs")(costs.costs)
app.command("md")(md.md)
app.command("analyse")(analyse.analyse)
app.command("sweep")(sweep.sweep)
app.command("info")(info.info)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(f"rgnn {version('rgnn')}")
        raise typer.Exit


@app.callback()
def _globals(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["RGNN_DEBUG"] = "1"


def main() -> None:
    """Run the command line; every foreseen error is one sentence and an exit code of its own."""
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Typer has turned Ctrl-C into this, and says nothing
            from rgnn_cli.console import stderr

            stderr.print("Interrupted; what was not finished is not written.")
        raise
    except Exception as error:
        if os.environ.get("RGNN_DEBUG"):
            raise
        sys.exit(show(error))


def show(error: BaseException) -> int:
    """Print one sentence; return the exit code."""
    from rich.markup import escape

    from rgnn.errors import Interrupted, RGNNError
    from rgnn_cli.console import stderr

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
