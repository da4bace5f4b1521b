"""What rgnn sweep shows: the tables of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.analysis import AnalysisSettings, SweepSettings
    from rgnn_cli.session.console import Reporter


def show_and_write(
    report: Reporter,
    config: SweepSettings,
    titles: Sequence[str],
    folders: Sequence[Path],
    out: Path,
    how: AnalysisSettings,
) -> None:
    """Analyse every run, write the results and show the tables."""
    from dataclasses import replace

    from rgnn.analysis import open_trajectory
    from rgnn.reports.analysis import facts
    from rgnn.reports.sweep import sweep_tables, write_sweep
    from rgnn_cli.session.analysis import analyse_one
    from rgnn_cli.show.analyse import notes

    opened = [replace(open_trajectory(f), name=name) for f, name in zip(folders, titles, strict=True)]
    runs = [analyse_one(report, t, how) for t in opened]
    files, record = write_sweep(config, runs, out, how)
    for name, fact in facts(how, runs, None).items():
        report.say(f"{name}: {fact}")
    for table in sweep_tables(runs):
        report.table(table.title, table.columns, table.rows)
    notes(report, runs)
    report.say(f"Results: {', '.join(map(str, files))}; each run is a folder beside them")
    report.result({"out": str(out), **record})
