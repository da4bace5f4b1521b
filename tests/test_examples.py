"""The examples run as their first lines say."""

import itertools
import lzma
import runpy
from pathlib import Path

from rgnn.data import sample
from rgnn.data.fetch import registry

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_chain(tmp_path, monkeypatch, capsys) -> None:
    """On ten frames of the sample."""
    frames = list(itertools.islice(sample.sample_frames(), 0, 270, 27))
    monkeypatch.setattr(registry, "sample_frames", lambda: iter(frames))
    runpy.run_path(str(EXAMPLES / "chain.py"))["main"](tmp_path, epochs=1, md_steps=3)
    said = capsys.readouterr().out
    assert "86832 on the chip" in said and "4 bits, 5% read noise: sum|dF|" in said and "after 3 fs" in said
    assert (tmp_path / "run/best/model.safetensors").exists()


def test_make_sample_makes_the_packaged_sample(shared, tmp_path) -> None:
    files = [str(shared / f"data/lipo_chgnet_train_{part}.xyz") for part in "ab"]
    runpy.run_path(str(EXAMPLES / "make_sample.py"))["main"](files, tmp_path / "lipo.xyz.xz")
    packaged = Path(sample.__file__).parent / sample.NAME
    assert lzma.decompress((tmp_path / "lipo.xyz.xz").read_bytes()) == lzma.decompress(packaged.read_bytes())
