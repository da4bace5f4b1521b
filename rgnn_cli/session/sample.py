"""The packaged sample as a graph store, for commands that find no other, and a structure to begin dynamics with."""

from __future__ import annotations

from pathlib import Path

from rgnn_cli.session.console import Reporter

STRUCTURE = Path("structure.xyz")


def fetch_sample(folder: Path, report: Reporter) -> Path:
    """The packaged sample as a store in `folder`, remembered as the newest one; one of its frames as structure.xyz."""
    import ase.io

    from rgnn.data.fetch.registry import make_sample_store
    from rgnn.data.sample import sample_structure
    from rgnn_cli.session import workspace

    there = (folder / "sample.zarr").exists()
    store = make_sample_store(folder)
    workspace.remember("store", store.path)
    report.say(
        f"{'Already there' if there else 'Made'}: [bold]{store.path}[/], {len(store)} frames of amorphous Li3PO4"
    )
    if not STRUCTURE.exists():
        ase.io.write(STRUCTURE, sample_structure(), format="extxyz")
        report.say(f"Made: [bold]{STRUCTURE}[/], its coldest frame, to begin dynamics with")
    report.say("Labels: CHGNet 0.3.0, not DFT. Next: rgnn train --bits 4 --noise 0.05")
    return store.path
