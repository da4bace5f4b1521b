"""What rgnn analyse shows: the tables of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.analysis import Analysis, Comparison, Joint
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.session.session import Session


def result(session: Session, found: Comparison, files: Sequence[Path]) -> None:
    """The tables of the report, what to know about them, and where the files are."""
    from rgnn.reports.analysis import analysis_tables, facts
    from rgnn.reports.text import folded

    report = session.report
    for warning in found.warnings:
        report.warn(warning)
    for name, fact in facts(found.settings, found.runs, found.reference).items():
        report.say(f"{name}: {fact}")
    for table in analysis_tables(found.runs, found.reference, found.fits, found.together):
        for part in folded(table):
            report.table(part.title, part.columns, part.rows)
    notes(report, found.runs, found.together)
    report.say(f"Results: {', '.join(map(str, files))}")


def notes(report: Reporter, runs: Sequence[Analysis], together: Sequence[Joint] = ()) -> None:
    """What the temperatures say, and what was left out, and why."""
    from rgnn.reports.transport import remarks

    for a in runs:
        if a.thermostat:
            report.say(f"{a.name}: temperature {a.thermostat}.")
        if a.equipartition:
            report.say(f"{a.name}: equipartition {a.equipartition}.")
    for sentence in remarks(runs, together):
        report.say(sentence)
