import itertools
from pathlib import Path

from rgnn.data import sample
from rgnn_cli.commands import demo


def test_the_demo_goes_from_data_to_dynamics(cli, monkeypatch) -> None:
    """On a few frames and steps; the README's first command runs the whole."""
    frames = list(itertools.islice(sample.sample_frames(), 0, 270, 30))
    monkeypatch.setattr("rgnn.data.fetch.registry.sample_frames", lambda: iter(frames))
    monkeypatch.setattr(demo, "EPOCHS", 1)
    monkeypatch.setattr(demo, "MD_STEPS", 10)
    out = cli("demo")
    assert "4 of 4" in out and "Done in" in out
    for made in ("runs/demo/training.png", "eval/demo/parity.png", "md/demo/dynamics.png", "data/sample.zarr"):
        assert (Path("rgnn-demo") / made).exists()
    assert Path.cwd().name != "rgnn-demo"
    precious = [Path("rgnn-demo") / name for name in ("data/thesis.tex", "runs/mine/model.txt", "eval/notes.md")]
    for path in precious:
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
    cli("demo", "--overwrite")
    assert all(path.read_text() == "precious" for path in precious)


def test_the_demo_does_not_overwrite(refused, workdir) -> None:
    Path("rgnn-demo").mkdir()
    assert "--overwrite" in refused(2, "demo")
