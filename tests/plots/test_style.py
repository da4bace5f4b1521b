"""The look of figures."""

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
