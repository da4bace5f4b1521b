"""rgnn fetch-data: data by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgnn_cli.session import options

if TYPE_CHECKING:
    from rgnn.data.fetch.registry import ChecksumLock, Dataset
    from rgnn_cli.session.console import Reporter


def fetch_data(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="What to fetch; see --list.")] = None,
    folder: Annotated[Path, typer.Option("--dir", help="Where to put it.")] = Path("data"),
    from_file: Annotated[
        Path | None, typer.Option("--from-file", help="The file of NAME, fetched in another way: verify and go on.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show what there is, and fetch nothing.")] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Fetch data: `sample` comes with the package; without a NAME, the published set of Xu et al. 2025.

    Example: rgnn fetch-data sample

    A download that was cut off goes on when the command is run again.
    """
    from rgnn.base.errors import InputError
    from rgnn.data.fetch.registry import DATASETS, ChecksumLock, expand
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.session.sample import fetch_sample

    report = Reporter(quiet, as_json)
    if show:
        for d in DATASETS.values():
            report.say(f"[bold]{d.name}[/]: {d.what}\n    licence: {d.licence}; cite: {d.citation}")
        report.result({"datasets": [{k: getattr(d, k) for k in _SHOWN} for d in DATASETS.values()]})
        return
    datasets = expand(names or ["published"])
    if from_file is not None and len(datasets) != 1:
        raise InputError(
            f"--from-file gives one file, so one NAME goes with it: rgnn fetch-data graphs --from-file {from_file}."
        )
    made = []
    lock = ChecksumLock(folder / "published")
    for dataset in datasets:
        if dataset.name == "sample":
            made.append(str(fetch_sample(folder, report)))
        elif from_file is not None:
            made += _went_on(_adopted(dataset, from_file, folder, lock, report), folder, report)
        else:
            made += _went_on(_downloaded(dataset, folder, lock, report), folder, report)
    if {"conductance", "graphs"} <= {d.name for d in datasets}:
        report.say(f"Next: rgnn import-conductance {folder / 'published'}/Conductance.pkl --out chips/published")
    report.result({"made": made})


_SHOWN = ("name", "what", "licence", "citation")


def _adopted(dataset: Dataset, path: Path, folder: Path, lock: ChecksumLock, report: Reporter) -> list[Path]:
    from rgnn.data.fetch.registry import take

    return [take(path, folder / "published", lock, dataset, report.warn)]


def _downloaded(dataset: Dataset, folder: Path, lock: ChecksumLock, report: Reporter) -> list[Path]:
    """Download the files of a data set, with their sizes shown before."""
    from rgnn.data.fetch.registry import fetch

    files = lock.files_of(dataset)
    rows = [[file.name, "unknown" if file.size is None else f"{file.size / 1e6:,.1f}"] for file in files]
    report.table(f"{dataset.name}: {dataset.what}", ["file", "MB"], rows)
    paths = []
    for file in files:
        with report.progress(file.name, None if file.size is None else round(file.size / 1e6, 1), "MB") as meter:

            def watch(done: int, total: int | None, resumed: bool) -> None:
                if resumed:
                    meter.start(round(done / 1e6, 1), None if total is None else round(total / 1e6, 1))
                meter.update(round(done / 1e6, 1))

            paths.append(fetch(file, folder / "published", lock, dataset, watch))
        report.say(f"Verified: {paths[-1]}")
    return paths


def _went_on(paths: list[Path], folder: Path, report: Reporter) -> list[str]:
    """Make a store of the published graphs; leave other files as they are."""
    from rgnn.data.conversion import convert, cores
    from rgnn.data.fetch.registry import GRAPHS
    from rgnn_cli.session import workspace
    from rgnn_cli.show.info import store_facts

    made = []
    for path in paths:
        made.append(str(path))
        if path.name == GRAPHS:
            out = folder / "lipo.zarr"
            with report.progress(f"Converting to {out}", None, "frames") as meter:
                outcome = convert([path], out, workers=cores(), progress=meter.update, warn=report.warn)
            workspace.remember("store", out)
            report.facts(f"Graph store {out}", store_facts(outcome.store.summary()))
            report.say("Next: rgnn train --bits 4 --noise 0.05")
            made.append(str(out))
    return made
