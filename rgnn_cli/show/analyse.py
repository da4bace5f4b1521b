"""What rgnn analyse shows: the tables of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.analysis import Comparison
    from rgnn_cli.session.session import Session


def result(session: Session, found: Comparison, files: Sequence[Path]) -> None:
    """The tables of the report, what to know about them, and where the files are."""
    from rgnn.reports.analysis import analysis_tables, facts
    from rgnn.reports.text import folded
    from rgnn.reports.transport import notes

    report = session.report
    for warning in found.warnings:
        report.warn(warning)
    for name, fact in facts(found.settings, found.runs, found.reference).items():
        report.say(f"{name}: {fact}")
    for table in analysis_tables(found.runs, found.reference, found.fits, found.together):
        for part in folded(table):
            report.table(part.title, part.columns, part.rows)
    for sentence in notes(found.runs, found.together):
        report.say(sentence)
    report.say(f"Results: {', '.join(map(str, files))}")
