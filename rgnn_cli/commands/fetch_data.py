"""rgnn fetch-data: data by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Data sets; default: published. See --list.")
]
Folder = Annotated[Path, typer.Option("--dir", help="Folder for the data.")]
FromFile = Annotated[
    Path | None, typer.Option("--from-file", help="File of NAME that was fetched elsewhere; it is verified.")
]
List = Annotated[bool, typer.Option("--list", help="List of the data sets; nothing is fetched.")]


def fetch_data(
    names: Names = None,
    folder: Folder = Path("data"),
    from_file: FromFile = None,
    show_list: List = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Fetch data by name: the sample, which comes with the package, or the published set of Xu et al. 2025.

    Example: rgnn fetch-data sample

    The same command continues a download that was cut off.
    """
    from rgnn.base.errors import InputError
    from rgnn.data.fetch.registry import GRAPHS, ChecksumLock, expand, take
    from rgnn_cli.session.sample import fetch_sample
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import fetch_data as show

    session = Session(quiet=quiet, as_json=as_json)
    if show_list:
        show.datasets(session)
        return
    datasets = expand(names or ["published"])
    if from_file is not None and len(datasets) != 1:
        raise InputError(
            f"--from-file gives one file, so one NAME goes with it: rgnn fetch-data graphs --from-file {from_file}."
        )
    if from_file is not None and datasets[0].name == "sample":
        raise InputError("the sample comes with the package; leave --from-file out.")
    made, lock = list[Path](), ChecksumLock(folder / "published")
    for dataset in datasets:
        if dataset.name == "sample":
            made.append(fetch_sample(folder, session.report))
            continue
        if from_file is not None:
            files = [take(from_file, folder / "published", lock, dataset, session.report.warn)]
        else:
            files = show.download(session, dataset, folder, lock)
        made += files
        if any(file.name == GRAPHS for file in files):
            made.append(show.converted(session, folder / "published" / GRAPHS, folder / "lipo.zarr"))
    if {"conductance", "graphs"} <= {d.name for d in datasets}:
        session.report.say(
            f"Next: rgnn import-conductance {folder / 'published'}/Conductance.pkl --out chips/published"
        )
    session.result({"made": [str(path) for path in made]})
