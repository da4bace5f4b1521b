"""Error against what it costs."""

from collections.abc import Sequence
from pathlib import Path

from rgnn.base.estimate import Estimate
from rgnn.costs.prices import Price, best
from rgnn.plots import style

# Points that are named; more would hide each other.
NAMED = 12


def error_against_energy(
    errors: Sequence[Estimate], prices: Sequence[Price], names: Sequence[str], path: str | Path
) -> Path:
    """Errors with their 95% intervals against energy; settings that nothing beats are joined and named by number.

    Args:
        errors: relative force errors.
        prices: of the same settings.
        names: of the same settings.
        path: of the PNG.
    """
    drawing = style.figure(7.2, 4.2)
    axes = drawing.subplots()
    x, y = [1e6 * p.energy.value for p in prices], [100 * e.value for e in errors]
    axes.errorbar(
        x, y,
        xerr=[
            [1e6 * (p.energy.value - p.energy.low) for p in prices],
            [1e6 * (p.energy.high - p.energy.value) for p in prices],
        ],
        yerr=[[100 * max(0.0, e.value - e.low) for e in errors], [100 * max(0.0, e.high - e.value) for e in errors]],
        fmt="o", ms=4, lw=0.6, color=style.ACCENT, ecolor=style.GREY, alpha=0.8,
    )  # fmt: skip
    front = best(y, x)
    axes.plot([x[k] for k in front], [y[k] for k in front], color=style.SECOND, lw=1.2)
    lines = []
    for number, k in enumerate(front[:NAMED], 1):
        axes.annotate(str(number), (x[k], y[k]), textcoords="offset points", xytext=(5, 5), fontsize=8)
        lines.append(f"{number}  {names[k]}")
    axes.set(
        xscale="log", xlabel="energy of a frame (µJ), low to high figures; estimated", ylabel="sum|dF| / sum|F|  (%)"
    )
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks("{x:.3g}")
    axes.tick_params(axis="x", which="both", labelsize=8)
    drawing.legend(
        [axes.plot([], [], " ")[0]] * len(lines), lines, loc="outside right upper", frameon=False, fontsize=8,
        handlelength=0, title="beaten by none", title_fontsize=8,
    )  # fmt: skip
    style.tidy(axes)
    return style.save(drawing, path)
