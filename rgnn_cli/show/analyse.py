"""What rgnn analyse shows: the tables of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.analysis import Analysis, AnalysisSettings, Arrhenius
    from rgnn_cli.session.console import Reporter


def show(
    report: Reporter,
    config: AnalysisSettings,
    runs: Sequence[Analysis],
    reference: Analysis | None,
    fits: Mapping[int, Arrhenius],
) -> None:
    """The tables of the report, and what to know about them."""
    from rgnn.reports.analysis import analysis_tables, facts

    for name, fact in facts(config, runs, reference).items():
        report.say(f"{name}: {fact}")
    for table in analysis_tables(runs, reference, fits):
        report.table(table.title, table.columns, table.rows)
    notes(report, runs)


def notes(report: Reporter, runs: Sequence[Analysis]) -> None:
    """What was left out, and why."""
    for a in runs:
        for note in a.notes:
            report.say(f"{a.name}: {note}.")
