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
