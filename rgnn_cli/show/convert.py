"""What rgnn convert shows: what was left out and why, and the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rgnn.models.settings import EnergySettings
from rgnn_cli.show.info import store_facts

if TYPE_CHECKING:
    from rgnn.data.conversion import Outcome
    from rgnn_cli.session.session import Session


def result(session: Session, outcome: Outcome) -> None:
    """What was left out, the store, and what to type next."""
    report = session.report
    if outcome.already:
        report.say("Already there: this command has made the store before, and its sources have not changed.")
    else:
        for reason, count in outcome.left_out.items():
            example = outcome.examples.get(reason)
            report.warn(f"{count} frame(s) left out: {reason}" + (f"; the first: {example}" if example else "."))
        if len(outcome.sources) > 1:
            rows = [[s.name, f"{s.frames}", f"{sum(s.skipped.values())}"] for s in outcome.sources]
            report.table("Converted", ["source", "frames", "left out"], rows)
    report.facts(f"Graph store {outcome.store.path}", store_facts(outcome.store.summary()))
    wide = outcome.store.cutoff >= EnergySettings().recommended_cutoff
    report.say(f"Next: rgnn train {'--preset energy --minutes 10' if wide else '--bits 4 --noise 0.05'}")
    session.result(outcome.to_mapping())
