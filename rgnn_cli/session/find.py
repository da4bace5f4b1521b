"""Find."""

from __future__ import annotations

from pathlib import Path

from rgnn_cli.session.console import Reporter


def find_here(report: Reporter, kind: str, given: Path | None, way_out: str) -> Path:
    """The path given, or what was made last here."""
    from rgnn.base.errors import InputError
    from rgnn_cli.session import workspace

    if given is not None:
        return given
    found = workspace.last(kind)
    if found is None:
        raise InputError(f"there is no {kind} here yet; {way_out}.")
    report.say(f"{kind.capitalize()}: {found} (the one made last here)")
    return found
