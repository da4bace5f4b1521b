"""rgnn info: what a store, chip, model or run is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options

What = Annotated[
    Path,
    typer.Argument(help="A store, chip, model folder or run of any command; or 'hardware' for the presets."),
]
Verify = Annotated[bool, typer.Option("--verify", help="Check of the checksums of a store.")]


def info(path: What, verify: Verify = False, as_json: options.Json = False) -> None:
    """Show what a store, chip, model or run is.

    Example: rgnn info runs/latest
    """
    from rgnn.reports.contents import contents
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import info as show

    session = Session(as_json=as_json)
    if str(path) == "hardware" and not path.exists():
        session.result(show.presets(session.report))
        return
    found = contents(path, verify)
    show.contents(session.report, path, found, verify)
    session.result(found.to_mapping())
