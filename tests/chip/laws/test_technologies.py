"""Measurements of two technologies, which only developers have: the law of one half foretells the other."""

from pathlib import Path

import numpy as np
import pytest

from rgnn.chip.laws.fits import relaxation
from rgnn.chip.laws.readings import Readings, read
from rgnn.chip.laws.technologies import RELAXATION_B


@pytest.mark.long
@pytest.mark.parametrize(("file", "least"), [("techA/bake.tsv.gz", 0.85), ("techB/relaxdata_10k.min.tsv.gz", 0.9)])
def test_the_law_of_half_of_the_cells_foretells_the_other(shared: Path, file: str, least: float) -> None:
    readings = read(shared / "rram" / file)
    assert isinstance(readings, Readings)
    found = relaxation(readings)
    single, *bins = found.held_out
    assert 0.93 < single.share < 0.97
    assert all(c.share >= least for c in bins)
    if file.startswith("techB"):  # the packaged numbers are those of this fit
        g = np.array([10e-6, 45e-6, 120e-6])
        for mine, packaged in zip(found.law.moments(g, 100.0), RELAXATION_B.moments(g, 100.0), strict=True):
            assert mine == pytest.approx(packaged, rel=1e-3, abs=1e-10)
