"""What rgnn chip fit shows: each law with its intervals, and how well it foretells what was held out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.reports.fitted_laws import FittedLaws
    from rgnn_cli.session.session import Session


def result(session: Session, found: FittedLaws, out: Path) -> None:
    """Tables of the laws, their test, and what to type next."""
    from rgnn.reports.laws_page import short_of_chance, tables

    report = session.report
    for note in found.notes:
        report.say(f"Note: {note}")
    for table in tables(found):
        report.table(table.title, table.columns, table.rows)
    for sentence in short_of_chance(found):
        report.warn(sentence)
    names = ["report.html", "hardware.yaml", "laws.json", *(path.name for path in found.figures.values())]
    report.say(f"In [bold]{out}[/]: {', '.join(names)}")
    report.say(f"Next: {_next(found, out)}")
    session.result({"out": str(out), **found.to_mapping()})


def _short(x: float) -> str:
    """Two digits that are not more than the number."""
    step = 10.0 ** (math.floor(math.log10(x)) - 1)
    return f"{math.floor(x / step) * step:g}"


def _next(found: FittedLaws, out: Path) -> str:
    if found.relaxation is not None and found.read_noise is None:
        law = found.relaxation.law
        heat = "" if law.temperature is None else f" --vary retention_temperature={law.temperature[0]:g}"
        assert law.time is not None
        return f"rgnn eval --hardware {out}/hardware.yaml --vary retention_time={_short(law.time[1])}{heat}"
    return f"rgnn train --hardware {out}/hardware.yaml"
