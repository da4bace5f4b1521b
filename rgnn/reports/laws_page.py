"""Tables and page of rgnn chip fit: formulas, numbers with intervals, residuals, and the test on what was held out."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from scipy.stats import binom

from rgnn.base.estimate import Estimate
from rgnn.chip.laws.fits import NORMAL, ChangeFit, Coverage
from rgnn.reports.fitted_laws import FittedLaws
from rgnn.reports.html import Picture, Table, write_report

US = 1e-6
REPORT = "report.html"
# Name of what a law of changes starts from.
BEFORE = {"programming": "target", "relaxation": "at time 0"}
FORMULAS = {
    "read_noise": (
        "read noise of a cell of conductance G",
        "ln σ = ln s + p ln(G/G₀) + c ln²(G/G₀), normal scatter of ln σ from cell to cell",
    ),
    "spectrum": ("spectrum of the reads of a cell", "S(f) = A/fᵃ + W; at the corner both terms are equal"),
    "programming": ("distance from the target", "normal; mean m and ln σ are Legendre polynomials of the target"),
    "relaxation": (
        "change since time 0",
        "normal; mean m and ln σ are products of Legendre polynomials of G, log t and 1/kT, each scaled to -1 ... 1",
    ),
    "activation": ("activation of the deviation", "σ ∝ exp(-E/kT) at one time; the interval holds what a line leaves"),
}
BINS = "Points: bins of the data with 95% intervals. Lines: law with its interval. Below: what is left over."
CAPTIONS = {
    "read_noise": "Points: cells. Line: law of the median cell with its 95% interval. Wide band: 95% of single cells.",
    "spectrum": "Points: periodograms in bands. Lines: the law of each cell.",
    "programming": BINS,
    "relaxation": BINS,
    "activation": "Points: bakes, root mean square over conductances. Line: one activation energy.",
}


def tables(found: FittedLaws) -> list[Table]:
    """Numbers, changes at some places, and the test on what was held out: what the screen shows."""
    all_of_them = [numbers(found), *(changed(fit, name) for name, fit in change_fits(found)), held_out(found)]
    return [table for table in all_of_them if table.rows]


def write_page(found: FittedLaws, folder: Path) -> Path:
    """Write report.html with all tables, formulas, coefficients, residuals and figures; its path."""
    laws = [[FORMULAS[name][0], FORMULAS[name][1]] for name in FORMULAS if getattr(found, name) is not None]
    page = [*tables(found), Table("Formulas", ["law of the", "formula"], laws)]
    for name, fit in change_fits(found):
        page += [_left(fit, name), _coefficients(fit, name)]
    facts: dict[str, object] = {"Files": ", ".join(found.sources)}
    facts["Hardware"] = f"hardware.yaml beside this page, for --hardware {folder}"
    for k, note in enumerate(found.notes):
        facts["Notes" if not k else "\u00a0" * k] = note
    pictures = [
        Picture(name.replace("_", " ").capitalize(), file, CAPTIONS[name]) for name, file in found.figures.items()
    ]
    return write_report(folder / REPORT, "Laws of cells from measurements", facts, page, pictures)


def change_fits(found: FittedLaws) -> list[tuple[str, ChangeFit]]:
    """Names and fits of the laws of changes that there are."""
    named = [(name, getattr(found, name)) for name in BEFORE]
    return [(name, fit) for name, fit in named if fit is not None]


def numbers(found: FittedLaws) -> Table:
    """The numbers of laws that have few."""
    rows = []
    if (noise := found.read_noise) is not None:
        at = f"{noise.law.reference / US:.3g} µS"
        rows.append([f"read noise of the median cell at {at}, µS", *_of(noise.intervals["deviation_at_reference"], US)])
        rows.append(["exponent p of the read noise", *_of(noise.intervals["exponent"])])
        if "curvature" in noise.intervals:
            rows.append(["curvature c of the read noise", *_of(noise.intervals["curvature"])])
        rows.append(["scatter of ln(read noise) from cell to cell", f"{noise.law.scatter:.2g}", ""])
        rows.append(["root mean square of cells over the median", f"{noise.law.rms_over_median:.2g}", ""])
        rows.append(["residual of ln(read noise)", f"{noise.residual:.2g}", ""])
    if (law := found.spectrum) is not None:
        rows.append(["exponent a of the spectrum 1/f^a", *_of(law.exponent)])
        if law.corner is not None:
            rows.append(["corner of the spectrum, Hz", *_of(law.corner)])
    if (bake := found.activation) is not None:
        rows.append(["apparent activation of the deviation, eV", *_of(bake.energy)])
        rows.append(["residual of ln(deviation) about the line", f"{bake.residual:.2g}", ""])
    return Table("Laws", ["number", "value", "95% interval"], rows)


def changed(fit: ChangeFit, name: str) -> Table:
    """Mean and deviation at three conductances, at the first and the last time or temperature."""
    low, high = (fit.bins[k].siemens for k in (0, -1)) if fit.bins else fit.law.conductance
    bins = sorted({b.siemens for b in fit.bins}) or [low, high]
    g = np.array([bins[0], bins[len(bins) // 2], bins[-1]])
    rows = []
    for seconds, celsius in _ends(fit):
        m, s, m_error, s_error = fit.predicted(g, seconds, celsius)
        for k in range(3):
            change = f"{m[k] / US:.3g} ± {NORMAL * m_error[k] / US:.1g}"
            deviation = f"{s[k] / US:.3g} ± {NORMAL * s_error[k] / US:.1g}"
            rows.append([place(seconds, celsius) or "first read", f"{g[k] / US:.3g}", change, deviation])
    title = f"{name.capitalize()}, {fit.cells:,} cells, µS with 95% intervals"
    mean = "mean miss" if name == "programming" else "mean change"
    return Table(title, ["at", BEFORE[name], mean, "deviation"], rows)


def held_out(found: FittedLaws) -> Table:
    """How much of what was held out the law of the rest foretells, and how much it would by chance alone."""
    fits = {"read noise": found.read_noise, "programming": found.programming, "relaxation": found.relaxation}
    rows = [
        [f"{name}: {c.what}", f"{100 * c.share:.1f}%", f"{c.total:,}", f"{100 * least(c):.1f}%"]
        for name, fit in fits.items()
        if fit is not None
        for c in fit.held_out
    ]
    title = "Held out, within the 95% interval of the law of the rest"
    return Table(title, ["law", "inside", "of", "by chance at least"], rows)


def least(c: Coverage) -> float:
    """Share that independent values with right intervals would reach in 39 of 40 tests."""
    return float(binom.ppf(0.025, c.total, 0.95)) / max(1, c.total)


def short_of_chance(found: FittedLaws) -> list[str]:
    """Sentences on intervals that hold less than chance explains."""
    fits = [("read noise", found.read_noise), *change_fits(found)]
    return [
        f"Intervals of the law of {name} are too narrow for the {c.what}: {100 * c.share:.1f}% of {c.total:,} lie "
        f"inside, where at least {100 * least(c):.1f}% would by chance; take them as wider."
        for name, fit in fits
        if fit is not None
        for c in fit.held_out
        if c.share < least(c)
    ]


def _left(fit: ChangeFit, name: str) -> Table:
    """What bins of the data deviate from the law by."""
    rows = []
    for b in fit.bins:
        seconds, celsius = (None if x is None else np.array([x]) for x in (b.seconds, b.celsius))
        m, s, m_error, s_error = (float(x[0]) for x in fit.predicted(np.array([b.siemens]), seconds, celsius))
        rows.append(
            [
                place(b.seconds, b.celsius) or "first read",
                f"{b.siemens / US:.3g}",
                f"{b.count:,}",
                f"{b.mean / US:.3g}",
                f"{m / US:.3g}",
                f"{(b.mean - m) / np.hypot(b.mean_error, m_error):+.1f}",
                f"{b.deviation / US:.3g}",
                f"{s / US:.3g}",
                f"{(b.deviation - s) / np.hypot(b.deviation_error, s_error):+.1f}",
            ]
        )
    compared = ["mean, µS", "law", "Δ / error", "deviation, µS", "law", "Δ / error"]
    columns = ["at", f"{BEFORE[name]}, µS", "readings", *compared]
    title = f"{name.capitalize()}: bins of the data beside the law; Δ / error is normal where the law is right"
    return Table(title, columns, rows)


def _coefficients(fit: ChangeFit, name: str) -> Table:
    """Every coefficient with its interval."""
    axes = ["G", *(["log t"] if fit.law.time else []), *(["1/kT"] if fit.law.temperature else [])]
    rows = []
    for what, part, unit in (
        ("m, µS", fit.regression.mean, US),
        ("ln(σ / 1 S)", fit.regression.log_deviation, 1.0),
    ):
        errors = np.sqrt(np.diag(part.covariance))
        powers = itertools.product(*(range(degree + 1) for degree in part.degrees))
        for degrees, value, error in zip(powers, part.values, errors, strict=True):
            term = " ".join(f"P{k}({axis})" for k, axis in zip(degrees, axes, strict=True) if k) or "1"
            ends = [(value + sign * NORMAL * error) / unit for sign in (-1, 1)]
            rows.append([what, term, f"{value / unit:.4g}", f"{ends[0]:.4g} to {ends[1]:.4g}"])
    spans = [f"G {fit.law.conductance[0] / US:.3g} to {fit.law.conductance[1] / US:.3g} µS"]
    if fit.law.time:
        spans.append(f"t {_time(fit.law.time[0])} to {_time(fit.law.time[1])}")
    if fit.law.temperature:
        spans.append(f"{fit.law.temperature[0]:g} to {fit.law.temperature[1]:g} °C")
    title = f"{name.capitalize()}: coefficients; -1 ... 1 is {', '.join(spans)}"
    return Table(title, ["of", "term", "value", "95% interval"], rows)


def _of(e: Estimate, unit: float = 1.0) -> list[str]:
    return [f"{e.value / unit:.3g}", f"{e.low / unit:.3g} to {e.high / unit:.3g}"]


def _ends(fit: ChangeFit) -> list[tuple[float | None, float | None]]:
    places = sorted({(b.celsius, b.seconds) for b in fit.bins}, key=lambda p: (p[0] or 0, p[1] or 0))
    chosen = [places[0], places[-1]] if len(places) > 1 else places
    return [(seconds, celsius) for celsius, seconds in chosen]


def place(seconds: float | None, celsius: float | None) -> str:
    """A time and a temperature in words."""
    return " ".join([*([] if seconds is None else [_time(seconds)]), *([] if celsius is None else [f"{celsius:g} °C"])])


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:,.0f} s"
