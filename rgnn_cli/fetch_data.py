"""rgnn fetch-data: data by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgnn_cli import options

if TYPE_CHECKING:
    from rgnn_cli.console import Meter, Reporter


def fetch_data(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="What to fetch; see --list.")] = None,
    folder: Annotated[Path, typer.Option("--dir", help="Where to put it.")] = Path("data"),
    show: Annotated[bool, typer.Option("--list", help="Show what there is, and fetch nothing.")] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Fetch data: `sample` comes with the package; without a NAME, the published set of Xu et al. 2025.

    Example: rgnn fetch-data sample
    """
    from rgnn.errors import InputError
    from rgnn.registry import DATASETS
    from rgnn_cli.console import Reporter

    report = Reporter(quiet, as_json)
    if show:
        for d in DATASETS:
            report.say(f"[bold]{d.name}[/]: {d.what}; {d.where}, licence: {d.licence}")
        report.result({"datasets": [vars(d) for d in DATASETS]})
        return
    known = [d.name for d in DATASETS]
    names = names or ["published"]
    for name in names:
        if name not in known:
            raise InputError(f"there is no data named '{name}'; take {' or '.join(known)}.")
    made = [str(fetch_sample(folder, report)) if name == "sample" else _published(folder, report) for name in names]
    report.result({"made": made})


def fetch_sample(folder: Path, report: Reporter) -> Path:
    """The packaged sample as a store in `folder`, remembered as the newest one."""
    from rgnn.registry import make_sample_store
    from rgnn_cli import workspace

    there = (folder / "sample.zarr").exists()
    store = make_sample_store(folder)
    workspace.remember("store", store.path)
    report.say(
        f"{'Already there' if there else 'Made'}: [bold]{store.path}[/], {len(store)} frames of amorphous Li3PO4"
    )
    report.say("Labels: CHGNet 0.3.0, not DFT. Next: rgnn train --bits 4 --noise 0.05")
    return store.path


def _published(folder: Path, report: Reporter) -> str:
    from rgnn.registry import fetch, published_files

    downloads = published_files()
    report.table("The archive holds", ["file", "MB"], [[d.name, f"{d.size / 1e6:.1f}"] for d in downloads])
    for download in downloads:
        with report.progress(download.name, download.size / 1e6, "MB") as meter:

            def show(done: int, meter: Meter = meter) -> None:
                meter.update(round(done / 1e6, 1))

            path = fetch(download, folder / "published", show)
        report.say(f"Verified: {path}")
    report.say(f"Next: rgnn import-conductance {folder / 'published'}/Conductance.pkl --out chips/published")
    return str(folder / "published")
