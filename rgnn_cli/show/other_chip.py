"""rgnn eval --chip: a model that was trained on one chip, on another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.evaluation import EvaluationPlan
    from rgnn_cli.session.session import Session


def evaluate(session: Session, plan: EvaluationPlan, chip: Path, frames: int, folder: Path) -> None:
    """Evaluate on both chips, show the errors, and write eval.json."""
    from rgnn.base.files import write_atomic
    from rgnn.evaluation.other_chip import evaluate_on_other_chip

    report = session.report
    with session.listening("Evaluating", "steps") as listener:
        found = evaluate_on_other_chip(plan, chip, folder, frames, listener)
    rows = [[name, str(errors.relative_error())] for name, errors in found.stages]
    report.table(f"Force errors, {plan.hardware[-1].describe()}", ["", "sum|dF| / sum|F|"], rows)
    report.say(f"Chip: {chip} ({found.chip}); a reservoir's weights are its conductances")
    plan.save(folder)
    write_atomic(folder / "eval.json", json.dumps(found.to_mapping(), indent=2) + "\n")
    if found.refitted is None:
        report.say(f"Written: {folder / 'eval.json'}; --refit 100 fits the digital part to the other chip again")
    else:
        train, validation = found.frames
        report.say(f"Fitted again: {found.how}, {train} frames and {validation} to validate")
        report.say(f"Model of the other chip: [bold]{found.refitted}[/]; written: {folder / 'eval.json'}")
    session.result({"out": str(folder), **found.to_mapping()})
