"""rgnn eval --conservation: how far a model's forces are from those of an energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.evaluation import EvaluationPlan
    from rgnn_cli.session.session import Session

# Frames that are looked at where nobody says how many.
FRAMES = 3


def judge(session: Session, plan: EvaluationPlan, frames: int, nve_steps: int, folder: Path) -> None:
    """Measure, show the tables with a verdict, and write conservation.json and report.html."""
    from rgnn.analysis.conservation import measure_conservation, structure_of
    from rgnn.base.estimate import evenly
    from rgnn.reports import conservation as written
    from rgnn.reports.text import interval

    report, config = session.report, plan.settings
    chosen = evenly(plan.frames, frames)
    structures = [structure_of(plan.store.frame(k)) for k in chosen]
    with session.listening("Measuring conservation", "frames and runs") as listener:
        found = measure_conservation(plan.model, structures, nve_steps, config.seed, listener)
    plan.save(folder)
    files = written.write_conservation(found, config, chosen, structures, nve_steps, folder)
    facts = written.conservation_facts(found, config, len(chosen), nve_steps)
    for name in ("Asymmetry", "Jacobian", "Differences", "NVE"):
        if name in facts:
            report.say(f"{name}: {facts[name]}")
    for table in written.conservation_tables(found, chosen, structures):
        report.table(table.title, table.columns, table.rows)
    if not found.jacobians[0].has_plateau:
        report.warn("the asymmetry follows the length of the step, so it is not a property of the model alone.")
    report.say(f"Verdict: asymmetry {interval(found.asymmetry)}, [bold]{facts['Verdict']}[/]")
    report.say(f"Results: {', '.join(map(str, files))}")
    session.result({"out": str(folder), **written.conservation_record(found, config, chosen)})
