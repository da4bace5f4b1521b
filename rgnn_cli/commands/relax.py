"""rgnn relax: a structure to its nearest minimum."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn.base.choices import RelaxedCell
from rgnn_cli.session import options

Structure = Annotated[Path, typer.Argument(help="Structure file that ASE reads.")]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Model folder or training run; default: the newest here.")
]
Cell = Annotated[RelaxedCell, typer.Option(help="Cell that relaxes too: its size, or all of it; needs an energy.")]
Fmax = Annotated[float, typer.Option(help="Largest force at the end, eV/Å.")]
Steps = Annotated[int, typer.Option(min=1, help="Number of steps at most.")]
Pressure = Annotated[float, typer.Option(help="Pressure on a cell that relaxes, GPa.")]
AnyElement = Annotated[bool, typer.Option("--any-element", help="Structures with elements not trained on, too.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the result; default: relax/NAME-001 and so on.")]


def relax(
    ctx: typer.Context,
    structure: Structure,
    model: ModelOption = None,
    cell: Cell = "none",
    fmax: Fmax = 0.02,
    steps: Steps = 500,
    pressure: Pressure = 0.0,
    any_element: AnyElement = False,
    bits: options.BitsAsTrained = None,
    frame: options.Frame = -1,
    format: options.StructureFormat = None,  # noqa: A002
    out: Out = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Relax a structure to its nearest minimum.

    Example: rgnn relax structure.xyz --cell full

    The chip is read without noise. A model with an energy relaxes the cell,
    too; one with forces only moves the atoms. Writes the final structure, the
    way there, a log and a figure.
    """
    from rgnn.base.run_folder import new_folder, refuse_existing
    from rgnn.md.relax import RelaxSettings, require_relaxable
    from rgnn.md.relax import relax as relaxed
    from rgnn.md.structures import check_structure, read_structure
    from rgnn.models.checkpoints import load_model
    from rgnn_cli.session.session import Session, given
    from rgnn_cli.show import relax as show

    session = Session(quiet=quiet, as_json=as_json, device=device, threads=threads)
    settings = RelaxSettings().override(**given(ctx, RelaxSettings))
    path = model or session.newest_model()
    if out is not None:
        refuse_existing(out, overwrite, path, structure)
    loaded, atoms = load_model(path, session.device), read_structure(structure, frame, format)
    check_structure(atoms, loaded, settings.any_element, str(structure))
    require_relaxable(atoms, loaded, settings, str(structure))
    folder = out or new_folder("relax", structure.stem)
    session.report.say(f"Structure: {structure}; model: {path}; folder: {folder}")
    origin = {"structure": str(structure), "model": str(path)}
    with session.listening("Relaxation", "steps") as listener:
        found = relaxed(atoms, loaded, settings, folder, listener=listener, origin=origin)
    show.result(session, found, settings, folder)
