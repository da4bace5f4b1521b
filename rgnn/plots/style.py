"""One look for all figures; drawn without a display and without global state."""

from math import ceil
from pathlib import Path
from textwrap import fill
from typing import Any

from ase.data.colors import jmol_colors
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatterSciNotation

DPI = 150
# Inches of a letter and a line of a legend and of the stroke before a name, and the most columns of names.
LETTER, LINE, HANDLE, MOST_COLUMNS = 0.07, 0.18, 0.6, 3
GREY, ACCENT, SECOND, THIRD = "#666666", "#1f5fa8", "#c8502d", "#2f8f4e"
# Elements that Jmol paints too pale for a white page.
DARKER = {1: "#8c8c8c", 3: "#8e44ad", 9: "#4a9a3f", 16: "#b8960c"}


class _PlainPowers(LogFormatterSciNotation):
    """Labels of a logarithmic axis where matplotlib puts them, as plain numbers and not as formulas."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The label of a tick; empty where there is none."""
        return f"{x:g}" if super().__call__(x, pos) else ""


class _PlainText(Figure):
    """A figure in whose texts a dollar is a dollar: names of runs and files may hold some."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """As of matplotlib."""
        for axis in (axis for axes in self.axes for axis in (axes.xaxis, axes.yaxis)):
            if type(axis.get_major_formatter()) is LogFormatterSciNotation:
                axis.set_major_formatter(_PlainPowers())
            if type(axis.get_minor_formatter()) is LogFormatterSciNotation:
                axis.set_minor_formatter(_PlainPowers(labelOnlyBase=False, minor_thresholds=(2, 0.4)))
        for text in self.findobj(Text):
            text.set_parse_math(False)
        super().savefig(*arguments, **options)


def figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """An empty figure, in inches."""
    return _PlainText(figsize=(width, height), layout="constrained")


def element_colour(atomic_number: int) -> str:
    """A colour for an element, dark enough for a white page."""
    if atomic_number in DARKER:
        return DARKER[atomic_number]
    r, g, b = (0.85 * float(c) for c in jmol_colors[atomic_number])
    return f"#{round(255 * r):02x}{round(255 * g):02x}{round(255 * b):02x}"


def shade(k: int, n: int) -> str:
    """The k-th of n colours that differ on a screen and in print, dark to light."""
    return str(to_hex(colormaps["viridis"](0.9 * k / max(1, n - 1))))


def legend_below(drawing: Figure, axes: Axes) -> None:
    """The names of some axes' curves below the figure, which grows by all lines of them but the first.

    They stand in as many columns as fit; names that are wider than the figure are broken.
    """
    handles, names = axes.get_legend_handles_labels()
    fit = int((drawing.get_figwidth() - HANDLE) / LETTER)
    columns = int(drawing.get_figwidth() / (HANDLE + LETTER * max(map(len, names))))
    shown = [fill(name, fit) for name in names]
    ncols = min(max(1, columns), MOST_COLUMNS, len(names))
    lines = ceil(len(names) / ncols) * max(name.count("\n") + 1 for name in shown)
    drawing.set_figheight(drawing.get_figheight() + LINE * (lines - 1))
    drawing.legend(handles, shown, loc="outside lower center", frameon=False, fontsize=8, ncols=ncols)


def tidy(axes: Axes) -> None:
    """Only the two spines that carry a scale."""
    axes.spines[["top", "right"]].set_visible(False)


def save(drawing: Figure, path: str | Path) -> Path:
    """Write a PNG; returns its path."""
    path = Path(path)
    drawing.savefig(path, dpi=DPI, format="png")
    return path
