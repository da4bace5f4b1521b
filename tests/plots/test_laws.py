"""Figures of laws."""

from pathlib import Path

import numpy as np

from rgnn.chip.laws.spectrum import spectra
from rgnn.plots import laws, style


def test_a_spectrum_is_named_after_its_own_cell(monkeypatch, tmp_path) -> None:
    """A cell that does not fluctuate has none, and used to lend its conductance to the next one."""
    drawn = []
    monkeypatch.setattr(style, "save", lambda drawing, path: drawn.append(drawing) or Path(path))
    x = np.array([[1e-5], [2e-5], [4e-5]]) * (1 + 0.01 * np.random.default_rng(0).standard_normal((3, 1024)))
    x[0] = 1e-5
    found = spectra(x, 100.0)
    assert found is not None
    laws.spectrum(x, 100.0, found.cells, tmp_path / "a.png")
    words = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert [w.split(":")[0] for w in words] == ["20 µS", "40 µS"]
