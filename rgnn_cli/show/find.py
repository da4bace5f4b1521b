"""rgnn eval --find: the cheapest hardware whose error stays near the ideal chip's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.chip.hardware import Hardware
    from rgnn.evaluation import EvaluationPlan
    from rgnn_cli.session.session import Session


def search(session: Session, plan: EvaluationPlan, base: Hardware, names: str, within: float, folder: Path) -> None:
    """Search, show what bears how much, and write find.json."""
    from rgnn.base.errors import InputError
    from rgnn.base.files import write_atomic
    from rgnn.costs.prices import prices
    from rgnn.evaluation.search import search as run_search
    from rgnn.reports.text import plus_minus
    from rgnn.reports.tradeoff import cheapest_first, priced

    report, config = session.report, plan.settings
    if not plan.model.uses_chip:
        raise InputError("the model is all digital, so it has no hardware to search for.")
    wanted = [name.strip() for name in names.split(",")]
    with report.progress("Searching", None, "settings") as meter:
        found = run_search(
            plan.model, plan.store, config.frames, base, wanted, within, config.repeats, config.chips, config.seed,
            lambda hardware: meter.advance(1, hardware.describe()), plan.sample,
        )  # fmt: skip
    ideal = found.ideal.relative_error()
    report.say(
        f"Relative force error of the ideal chip: {ideal}; within {100 * within:g}% of it; {found.tried} settings tried"
    )
    hardware = [f.hardware for f in found.found]
    costs = prices(plan.model, plan.store, config.frames, hardware)
    ranked = cheapest_first(found.found, hardware, costs)
    rows = [
        [
            f.hardware.describe(),
            priced(price)[0],
            str(f.error),
            plus_minus(f.ratio, digits=3),
        ]
        for f, price in ranked
    ]
    report.table(
        "Hardware that does, the least energy of a frame first (estimated)",
        ["hardware", "energy", "relative error", "times the ideal chip's"],
        rows,
    )
    record = {"within": within, **found.to_mapping(), "costs": [p and p.to_mapping() for p in costs]}
    plan.save(folder)
    write_atomic(folder / "find.json", json.dumps(record, indent=2))
    if found.found:
        report.say(f"Cheapest: [bold]{ranked[0][0].hardware.describe()}[/]; written: {folder / 'find.json'}")
    else:
        report.warn("nothing that was tried keeps within that; allow more with --within, or search for less noise.")
    session.result({"out": str(folder), **record})
