"""What rgnn eval shows: the tables of the report, cut where they are long."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rgnn.evaluation import Evaluation, EvaluationPlan
    from rgnn_cli.session.console import Reporter

# Rows of a table on the screen; the rest is in the files.
SHOWN = 24


def introduce(report: Reporter, plan: EvaluationPlan) -> None:
    """Which model is evaluated on which frames, and what the frames hold that it does not know."""
    from ase.data import chemical_symbols

    from rgnn.models.checkpoints import find_model

    if plan.unknown_elements:
        strange = ", ".join(chemical_symbols[z] for z in plan.unknown_elements)
        report.warn(f"the model was not trained on {strange}, so errors there tell nothing of it.")
    report.say(f"Model: {find_model(plan.settings.model)}; frames: {plan.store.path}, {plan.why}")


def show(report: Reporter, evaluation: Evaluation, files: Sequence[Path]) -> None:
    """The tables, and where the rest is."""
    from rgnn.reports.evaluation import PREDICTIONS, as_trained, evaluation_tables, label_facts

    model = evaluation.plan.model
    if model.uses_chip:
        report.say(f"As trained: {model.hardware.describe()}")
    for name, words in label_facts(as_trained(evaluation.rows, model)).items():
        report.say(f"{name}: {words}")
    for table in evaluation_tables(evaluation):
        report.table(table.title, table.columns, table.rows[:SHOWN])
        if len(table.rows) > SHOWN:
            report.say(f"... and {len(table.rows) - SHOWN} more in the files")
    report.say(f"Results: {', '.join(str(file) for file in files)}")
    if not any(file.name == PREDICTIONS for file in files):
        report.say(f"Without {PREDICTIONS}, the predictions beside the labels: rgnn eval --predictions writes it.")
