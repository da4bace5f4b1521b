"""The packaged sample as a graph store, for commands that find no other, and a structure to begin dynamics with."""

from __future__ import annotations

from pathlib import Path

from rgnn.base.errors import InputError
from rgnn_cli.session.console import Reporter

STRUCTURE = Path("structure.xyz")
# The structure that dynamics of the packaged model begins with, and how many steps of it are a first look.
EXAMPLE, EXAMPLE_STEPS = Path("sample.xyz"), 1000


def example_structure(report: Reporter) -> Path:
    """A packaged frame of amorphous Li3PO4 as a file here, and a line that says what runs.

    Raises:
        InputError: the file is here with another structure.
    """
    import io

    import ase.io

    from rgnn.data.sample import sample_structure

    text = io.StringIO()
    ase.io.write(text, sample_structure(), format="extxyz")
    if EXAMPLE.exists() and EXAMPLE.read_text(encoding="utf-8", errors="replace") != text.getvalue():
        raise InputError(f"{EXAMPLE} is here with another structure; name it to run it, or move it away.")
    EXAMPLE.write_text(text.getvalue(), encoding="utf-8")
    report.say(
        f"Example: [bold]{EXAMPLE}[/], a packaged frame of amorphous Li3PO4, and the packaged model. It was trained "
        "on labels of CHGNet 0.3.0, not DFT, to show the way; for results train your own."
    )
    return EXAMPLE


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
