"""The look of figures."""

import pytest

from rgnn.plots import style


def test_a_dollar_is_a_dollar(tmp_path) -> None:
    """Names of runs and files stand in titles and legends."""
    drawing = style.figure()
    axes = drawing.subplots()
    axes.plot([0, 1], [0, 1], label="run_$x_$")
    axes.set(title=r"$\frac{", xlabel="$")
    axes.legend()
    assert style.save(drawing, tmp_path / "f.png").stat().st_size > 1000


def test_a_logarithmic_axis_has_numbers(tmp_path) -> None:
    """Its labels are formulas in matplotlib, which would stand there as they are written."""
    drawing = style.figure()
    axes = drawing.subplots()
    axes.plot([1, 2], [1, 2000])
    axes.set(yscale="log")
    style.save(drawing, tmp_path / "f.png")
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert {"1", "10", "100", "1000"} <= set(labels) and not any("$" in text for text in labels)


@pytest.mark.parametrize(("width", "runs", "letters"), [(3.7, 9, 70), (6.2, 9, 45), (7.2, 4, 12)])
def test_a_legend_of_long_names_is_cut_off_nowhere_and_leaves_room_for_the_curves(
    tmp_path, width: float, runs: int, letters: int
) -> None:
    drawing = style.figure(width, 3)
    axes = drawing.subplots()
    for k in range(runs):
        axes.plot([0, 1], [k, k], label=f"run-{k}-" + "Mw600-" * (letters // 6))
    style.legend_below(drawing, axes)
    style.save(drawing, tmp_path / "f.png")
    box = drawing.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= width * drawing.dpi and box.y0 >= 0
    assert axes.get_window_extent().height > 1.2 * drawing.dpi
