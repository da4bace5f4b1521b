"""What commands show of a board."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rgnn.chip.board.settings import BoardSettings
from rgnn_cli.session.session import refuse_typed_beside, refuse_typed_without, was_typed

if TYPE_CHECKING:
    import typer

    from rgnn.evaluation.plan import EvaluationPlan
    from rgnn.md.plan import MDRequest
    from rgnn_cli.session.session import Session


def named(ctx: typer.Context) -> BoardSettings | None:
    """The board of --driver and --timeout; None where no driver was typed.

    Raises:
        InputError: --timeout without --driver.
    """
    if ctx.params["driver"] is None:
        refuse_typed_without(ctx, "--driver", "timeout")
        return None
    return BoardSettings(driver=ctx.params["driver"], timeout=ctx.params["timeout"])


def chosen(ctx: typer.Context, plan: EvaluationPlan) -> EvaluationPlan:
    """The plan on the board that the user has named; as it is where there is none.

    A frame is then read once unless the user asked for more: on a board that takes time.

    Raises:
        InputError: an option means nothing with a board, or nothing without one.
    """
    board = named(ctx)
    if board is None:
        if ctx.params["chip"] is None:
            refuse_typed_without(ctx, "--driver", "refit")
        else:
            refuse_typed_beside(ctx, "--chip", "bits", "noise", "vary", "find", "conservation")
        return plan
    refuse_typed_beside(ctx, "--driver", "chip", "bits", "noise", "vary", "chips", "find", "conservation")
    changes = {} if was_typed(ctx, "repeats") else {"repeats": 1}
    return replace(plan, settings=plan.settings.override(board=board, refit=ctx.params["refit"], **changes))


def is_begun(plan: EvaluationPlan, out: Path | None) -> bool:
    """Whether the same evaluation on the same board was begun in this folder, which its command then continues."""
    from rgnn.base.settings import read_yaml

    if out is None or not plan.settings.board.driver or not (out / "config.yaml").is_file():
        return False
    known = read_yaml(out / "config.yaml")
    return known == plan.settings.to_mapping() and not (out / "board.json").exists()


def continued(request: MDRequest) -> MDRequest:
    """The request to resume, where the same run on the same board was begun and did not end; else as it is."""
    from rgnn.md.settings import MDRecord

    out = request.out
    if request.board is None or request.overwrite or out is None or request.together:
        return request
    if not (out / "restart.safetensors").is_file() or (out / "summary.json").exists():
        return request
    known = MDRecord.read(out)
    asked = request.record(lambda: Path(known.origin.model))
    named_alike = asked.origin.structure == known.origin.structure and asked.origin.model == known.origin.model
    same = named_alike and asked.origin.board == known.origin.board and asked.md.resolved() == known.md.resolved()
    return type(request)(resume=out) if same else request


def evaluate(session: Session, plan: EvaluationPlan, folder: Path) -> None:
    """Measure a plan on its board, and show what was found."""
    from rgnn.evaluation.board import evaluate_on_board
    from rgnn.reports import board as reports

    report = session.report
    with session.listening("Measuring", "passes") as listener:
        found = evaluate_on_board(plan, folder, listener)
    files = reports.write_board(found, folder)
    table = reports.stages_table(found)
    report.table(table.title, table.columns, table.rows)
    if found.columns:
        report.say(f"Columns: {reports.drifted(found.columns)}")
    for sentence in reports.verdict(found):
        report.say(sentence)
    report.say(f"Board: {reports.work(found)}")
    report.say(f"Results: {', '.join(str(file) for file in files)}")
    if found.refitted is not None:
        report.say(
            f"Refitted model: [bold]{found.refitted}[/]; next: rgnn md STRUCTURE --model {found.refitted} "
            f'--driver "{plan.settings.board.driver}"'
        )
    session.result({"out": str(folder), **found.to_mapping()})
