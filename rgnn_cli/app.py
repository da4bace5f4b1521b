"""The Typer app: one line per command, and how errors end a command."""

import os
import sys
from typing import Annotated

import typer

from rgnn_cli.commands import (
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
    learn,
    md,
    relax,
    sweep,
    train,
)
from rgnn_cli.commands.chip import export as chip_export
from rgnn_cli.commands.chip import fit as chip_fit
from rgnn_cli.commands.chip import golden as chip_golden
from rgnn_cli.commands.chip import import_result as chip_import_result
from rgnn_cli.commands.chip import mvm as chip_mvm
from rgnn_cli.commands.chip import serve as chip_serve
from rgnn_cli.session.errors import show

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
app.command("learn")(learn.learn)
app.command("eval")(evaluate.evaluate)
app.command("costs")(costs.costs)
app.command("md")(md.md)
app.command("relax")(relax.relax)
app.command("analyse")(analyse.analyse)
app.command("sweep")(sweep.sweep)
app.command("info")(info.info)
chip = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Out to a real chip and back: laws, targets, golden vectors, results, plain products.",
)
chip.command("export")(chip_export.export)
chip.command("fit")(chip_fit.fit)
chip.command("golden")(chip_golden.golden)
chip.command("import-result")(chip_import_result.import_result)
chip.command("mvm")(chip_mvm.mvm)
chip.command("serve")(chip_serve.serve)
app.add_typer(chip, name="chip")
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(f"rgnn {version('rgnn')}")
        raise typer.Exit


@app.callback()
def _globals(
    debug: Annotated[bool, typer.Option("--debug", help="Traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Version of rgnn.")
    ] = False,
) -> None:
    if debug:
        os.environ["RGNN_DEBUG"] = "1"


def main() -> None:
    """Run the command line; every foreseen error is one sentence and has its exit code."""
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Typer has turned Ctrl-C into this, and says nothing
            from rgnn_cli.session.console import stderr

            stderr.print("Interrupted; what was not finished is not written.")
        raise
    except Exception as error:
        if os.environ.get("RGNN_DEBUG"):
            raise
        sys.exit(show(error))
