"""The packaged sample as a graph store, for commands that find no other."""

from __future__ import annotations

from pathlib import Path

from rgnn_cli.session.console import Reporter


def fetch_sample(folder: Path, report: Reporter) -> Path:
    """The packaged sample as a store in `folder`, remembered as the newest one."""
    from rgnn.data.fetch.registry import make_sample_store
    from rgnn_cli.session import workspace

    there = (folder / "sample.zarr").exists()
    store = make_sample_store(folder)
    workspace.remember("store", store.path)
    report.say(
        f"{'Already there' if there else 'Made'}: [bold]{store.path}[/], {len(store)} frames of amorphous Li3PO4"
    )
    report.say("Labels: CHGNet 0.3.0, not DFT. Next: rgnn train --bits 4 --noise 0.05")
    return store.path
