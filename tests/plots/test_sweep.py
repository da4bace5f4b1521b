"""The figure of a sweep over hardware."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from rgnn import Hardware
from rgnn.base.estimate import Estimate
from rgnn.plots import style
from rgnn.plots.analysis import sweep_figure

DIFFUSION = SimpleNamespace(element=3, coefficient=Estimate(2e-5, 1e-5, 3e-5), bound=None)


@pytest.mark.parametrize("moved", [None, SimpleNamespace(elements=[DIFFUSION])])
@pytest.mark.parametrize("hardware", [Hardware(), Hardware.published().override(slow_noise=0.1, tile=(64, 64))])
def test_long_names_leave_room_for_the_panels(moved, hardware: Hardware, monkeypatch, tmp_path) -> None:
    """No title of an axis lies over the next one or is cut off, and no panel is empty."""
    drawn = []
    monkeypatch.setattr(style, "save", lambda drawing, path: drawn.append(drawing) or Path(path))
    run = SimpleNamespace(displacements=moved, work=Estimate(1.0, 0.5, 1.5))
    sweep_figure(["ideal chip", hardware.describe()], [run, run], [{"all": 0.1}, {"all": 0.2}], tmp_path / "a.png")
    (drawing,) = drawn
    drawing.draw_without_rendering()
    boxes = [axes.xaxis.label.get_window_extent() for axes in drawing.axes]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes)) and boxes[-1].x1 < drawing.bbox.x1
    assert all(axes.lines[1:] for axes in drawing.axes) and len(drawing.axes) == (2 if moved is None else 3)
