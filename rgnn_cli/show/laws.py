"""What rgnn chip fit shows: each law with its intervals, and how well it foretells what was held out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.base.estimate import Estimate
    from rgnn.chip.laws.fits import ChangeFit, Coverage
    from rgnn.reports.laws import FittedLaws
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.session.session import Session

# One microsiemens.
US = 1e-6


def result(session: Session, found: FittedLaws, out: Path) -> None:
    """Tables of the laws, their test, and what to type next."""
    report = session.report
    for note in found.notes:
        report.say(f"Note: {note}")
    if rows := _numbers(found):
        report.table("Laws", ["number", "value", "95% interval"], rows)
    for name, before in (("programming", "target"), ("relaxation", "at time 0")):
        fit = getattr(found, name)
        if fit is not None:
            _change(report, fit, name, before)
    fits = {"read noise": found.read_noise, "programming": found.programming, "relaxation": found.relaxation}
    held = [(name, c) for name, fit in fits.items() if fit is not None for c in fit.held_out]
    report.table(
        "Held out, within the 95% interval of the law of the rest",
        ["law", "inside", "of"],
        [_row(name, c) for name, c in held],
    )
    names = ["hardware.yaml", "laws.json", *(path.name for path in found.figures.values())]
    report.say(f"In [bold]{out}[/]: {', '.join(names)}")
    report.say(f"Next: {_next(found, out)}")
    session.result({"out": str(out), **found.to_mapping()})


def _numbers(found: FittedLaws) -> list[list[str]]:
    rows = []
    if (noise := found.read_noise) is not None:
        at = f"{noise.law.reference / US:.3g} uS"
        rows.append([f"read noise of the median cell at {at}, uS", *_of(noise.intervals["deviation_at_reference"], US)])
        rows.append(["exponent of the read noise", *_of(noise.intervals["exponent"])])
        if "curvature" in noise.intervals:
            rows.append(["curvature of the read noise", *_of(noise.intervals["curvature"])])
        rows.append(["scatter of ln(read noise) from cell to cell", f"{noise.law.scatter:.2g}", ""])
        rows.append(["root mean square of cells over the median", f"{noise.law.rms_over_median:.2g}", ""])
    if (law := found.spectrum) is not None:
        rows.append(["exponent a of the spectrum 1/f^a", *_of(law.exponent)])
        if law.corner is not None:
            rows.append(["corner of the spectrum, Hz", *_of(law.corner)])
    if (bake := found.activation) is not None:
        rows.append(["apparent activation of the deviation, eV", *_of(bake.energy)])
    return rows


def _of(e: Estimate, unit: float = 1.0) -> list[str]:
    return [f"{e.value / unit:.3g}", f"{e.low / unit:.3g} to {e.high / unit:.3g}"]


def _change(report: Reporter, fit: ChangeFit, name: str, before: str) -> None:
    """Mean and deviation at three conductances, at the first and the last time or temperature."""
    import numpy as np

    low, high = (fit.bins[k].siemens for k in (0, -1)) if fit.bins else fit.law.conductance
    bins = sorted({b.siemens for b in fit.bins}) or [low, high]
    g = np.array([bins[0], bins[len(bins) // 2], bins[-1]])
    rows = []
    for seconds, celsius in _ends(fit):
        m, s, m_error, s_error = fit.predicted(g, seconds, celsius)
        place = " ".join(
            [*([] if seconds is None else [_time(seconds)]), *([] if celsius is None else [f"{celsius:g} C"])]
        )
        for k in range(3):
            change = f"{m[k] / US:.3g} ± {1.96 * m_error[k] / US:.1g}"
            rows.append([place, f"{g[k] / US:.3g}", change, f"{s[k] / US:.3g} ± {1.96 * s_error[k] / US:.1g}"])
    title = f"{name.capitalize()}, {fit.cells:,} cells, uS with 95% intervals"
    report.table(title, ["at", before, "mean change", "deviation"], rows)


def _ends(fit: ChangeFit) -> list[tuple[float | None, float | None]]:
    places = sorted({(b.celsius, b.seconds) for b in fit.bins}, key=lambda p: (p[0] or 0, p[1] or 0))
    chosen = [places[0], places[-1]] if len(places) > 1 else places
    return [(seconds, celsius) for celsius, seconds in chosen]


def _short(x: float) -> str:
    """Two digits that are not more than the number."""
    import math

    step = 10.0 ** (math.floor(math.log10(x)) - 1)
    return f"{math.floor(x / step) * step:g}"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:,.0f} s"


def _row(name: str, c: Coverage) -> list[str]:
    return [f"{name}: {c.what}", f"{100 * c.share:.1f}%", f"{c.total:,}"]


def _next(found: FittedLaws, out: Path) -> str:
    if found.relaxation is not None and found.read_noise is None:
        law = found.relaxation.law
        heat = "" if law.temperature is None else f" --vary retention_temperature={law.temperature[0]:g}"
        assert law.time is not None
        return f"rgnn eval --hardware {out}/hardware.yaml --vary retention_time={_short(law.time[1])}{heat}"
    return f"rgnn train --hardware {out}/hardware.yaml"
