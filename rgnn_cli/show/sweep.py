"""What rgnn sweep shows: what is about to run, and the tables of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rgnn.analysis import Analysis, AnalysisSettings
    from rgnn.md import SweepPlan
    from rgnn_cli.session.session import Session


def introduction(session: Session, plan: SweepPlan, folder: Path) -> None:
    """Structure, model, and how the runs go."""
    origin, md = plan.settings.origin, plan.settings.md
    session.report.say(f"Structure: {origin.structure}; model: {origin.model}; {len(plan.names)} settings in {folder}")
    if plan.settings.board.driver:
        session.report.say(f"Board: '{plan.settings.board.driver}', measured first")
    session.report.say(
        f"Dynamics: Langevin at {md.initial_temperature:g} K, {md.total_steps} steps of {md.timestep:g} fs each"
    )


def result(
    session: Session,
    runs: Sequence[Analysis],
    settings: AnalysisSettings,
    out: Path,
    written: tuple[Sequence[Path], dict[str, Any]],
) -> None:
    """The tables, and where the files are.

    Args:
        session: of the command.
        runs: the analysed runs.
        settings: how they were analysed.
        out: folder of the sweep.
        written: files, and the record in the JSON.
    """
    from rgnn.analysis import doubts
    from rgnn.reports.analysis import facts
    from rgnn.reports.sweep import sweep_tables
    from rgnn.reports.text import folded
    from rgnn.reports.transport import notes

    files, record = written
    for warning in doubts(runs):
        session.report.warn(warning)
    for name, fact in facts(settings, runs, None).items():
        session.report.say(f"{name}: {fact}")
    for table in sweep_tables(runs):
        for part in folded(table):
            session.report.table(part.title, part.columns, part.rows)
    for sentence in notes(runs):
        session.report.say(sentence)
    session.report.say(f"Results: {', '.join(map(str, files))}; each run is a folder beside them")
    session.result({"out": str(out), **record})
