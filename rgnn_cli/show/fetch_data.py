"""What rgnn fetch-data shows: the data sets, the files with their sizes, and progress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.data.fetch.registry import ChecksumLock, Dataset
    from rgnn_cli.session.session import Session

LISTED = ("name", "what", "licence", "citation")


def datasets(session: Session) -> None:
    """What there is to fetch."""
    from rgnn.data.fetch.registry import DATASETS

    for d in DATASETS.values():
        session.report.say(f"[bold]{d.name}[/]: {d.what}\n    licence: {d.licence}; cite: {d.citation}")
    session.result({"datasets": [{name: getattr(d, name) for name in LISTED} for d in DATASETS.values()]})


def download(session: Session, dataset: Dataset, folder: Path, lock: ChecksumLock) -> list[Path]:
    """Download the files of a data set, with their sizes shown before."""
    from rgnn.data.fetch.registry import fetch

    report, files = session.report, lock.files_of(dataset)
    rows = [[file.name, "unknown" if file.size is None else f"{file.size / 1e6:,.1f}"] for file in files]
    report.table(f"{dataset.name}: {dataset.what}", ["file", "MB"], rows)
    paths = []
    for file in files:
        with report.progress(file.name, _megabytes(file.size), "MB") as meter:

            def watch(done: int, total: int | None, resumed: bool) -> None:
                if resumed:
                    meter.start(round(done / 1e6, 1), _megabytes(total))
                meter.update(round(done / 1e6, 1))

            paths.append(fetch(file, folder / "published", lock, dataset, watch))
        report.say(f"Verified: {paths[-1]}")
    return paths


def _megabytes(size: int | None) -> float | None:
    return None if size is None else round(size / 1e6, 1)


def converted(session: Session, graphs: Path, out: Path) -> Path:
    """Make a store of the published graphs at `out`, with a meter."""
    from rgnn.data.conversion import convert
    from rgnn_cli.session import workspace
    from rgnn_cli.show.info import store_facts

    report = session.report
    with report.progress(f"Converting to {out}", None, "frames") as meter:
        outcome = convert([graphs], out, workers=None, progress=meter.update, warn=report.warn)
    workspace.remember("store", out)
    report.facts(f"Graph store {out}", store_facts(outcome.store.summary()))
    report.say("Next: rgnn train --bits 4 --noise 0.05")
    return out
