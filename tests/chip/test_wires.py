"""Arrays with wires, against an exact solution node by node and against answers by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from nodal import nodal_currents

from rgnn import Chip, Hardware
from rgnn.base.errors import InputError
from rgnn.base.rng import numpy_stream, torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.effects import DigitalGain
from rgnn.chip.laws.read_noise import ReadNoiseLaw
from rgnn.chip.wires import WireResistance, effective_conductances

NO_DRAW = torch_stream(0, "none")


def cells_of(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """As the default chip's, S."""
    return numpy_stream(seed, "cells").normal(14.25e-6, 2.46e-6, (rows, columns)).clip(0)


@pytest.mark.parametrize("ohm", [1, 10, 1000])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (13, 30), (30, 13)])
def test_currents_are_those_of_the_nodes(shape: tuple[int, int], ohm: float) -> None:
    g, driven = cells_of(*shape), numpy_stream(1, "rows").random((4, shape[0])) < 0.5
    expected = nodal_currents(g, 1 / ohm, driven.astype(float))
    found = driven @ effective_conductances(g, 1 / ohm)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize(("size", "ohm"), [(128, 1), (256, 10)])
def test_a_full_array_is_exact_whichever_rows_are_driven(size: int, ohm: float) -> None:
    """256 x 256 cells: at 10 ohm five sixths of the current are lost, and still nothing is approximated."""
    g, driven = cells_of(size, size), numpy_stream(2, "rows").random((1, size)) < 0.5
    expected = nodal_currents(g, 1 / ohm, driven.astype(float))
    found = driven @ effective_conductances(g, 1 / ohm)
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert error < 1e-10
    assert expected.sum() < (0.9 if size == 128 else 0.2) * (driven @ g).sum()


def test_one_cell_is_in_series_with_two_segments() -> None:
    found = effective_conductances(np.array([[20e-6]]), 1 / 500)
    assert float(found[0, 0]) == pytest.approx(1 / (50e3 + 2 * 500), rel=1e-12)


def test_what_is_not_covered_is_another_network() -> None:
    """Rows that float carry current from column to column: their currents are not these."""
    g, v = cells_of(20, 20), np.where(numpy_stream(3, "rows").random((1, 20)) < 0.5, 1.0, np.nan)
    held = np.nan_to_num(v) @ effective_conductances(g, 1 / 50)
    floating = nodal_currents(g, 1 / 50, v)
    assert 1e-3 < np.abs(held / floating - 1).max() < 0.2


def test_each_tile_is_an_array_with_two_columns_for_each_output() -> None:
    cells = Chip.synthetic(0).matrices([[(11, 18)]])[0][0]
    after = WireResistance(20.0, (10, 6)).apply(cells, NO_DRAW)
    unit, segment = float(cells.siemens), 1 / 20
    x = (torch.rand(3, 18, generator=torch_stream(0, "x")) < 0.5).double()
    for outputs in (slice(0, 6), slice(6, 11)):
        expected = np.zeros((3, outputs.stop - outputs.start))
        for inputs in (slice(0, 10), slice(10, 18)):
            pair = cells.pair[:, outputs, inputs].double().numpy() * unit
            g = np.stack([pair[0].T, pair[1].T], axis=2).reshape(pair.shape[2], -1)
            currents = nodal_currents(g, segment, x[:, inputs].numpy())
            expected += (currents[:, 0::2] - currents[:, 1::2]) / unit
        found = (x @ after.weight[outputs].double().T).numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_a_crossbar_with_wires_and_its_compensation() -> None:
    cells = Chip.synthetic(0).matrices([[(30, 60)]])[0][0]
    array, x = Crossbar(cells), torch.rand(200, 60, generator=torch_stream(0, "x"))
    array.low.fill_(0), array.high.fill_(1)

    def error(**settings) -> float:
        hardware = Hardware(noise=None, bits=16, **settings)
        y, exact = array.begin(hardware, None)(x.clone()), x @ array.weight.T
        return float((y - exact).square().mean().sqrt() / exact.square().mean().sqrt())

    errors = [error(wire_resistance=ohm) for ohm in (0, 0.1, 1, 10)]
    assert errors[0] < 1e-4 and errors == sorted(errors) and errors[3] > 0.2
    compensated = [error(wire_resistance=10, compensation=kind) for kind in ("global", "column")]
    assert compensated[1] < compensated[0] < errors[3]


def test_fluctuations_are_diminished_as_the_cells_are() -> None:
    pair = torch.full((2, 4, 40), 1.4)
    cells = Cells(pair[0] - pair[1], pair, torch.full((4, 40), 0.1), 1e-5)
    after = WireResistance(100.0, (256, 256)).apply(cells, NO_DRAW)
    share = after.pair.square().sum(0).sqrt() / pair.square().sum(0).sqrt()
    torch.testing.assert_close(after.read_deviation, 0.1 * share)
    torch.testing.assert_close(after.reference("device"), share * cells.reference("device"))
    assert float(share.max()) < 0.96 and float(share.min()) < 0.75 * float(share.max())


def test_what_wires_need_to_know() -> None:
    hardware = Hardware(noise=None, range="dynamic", wire_resistance=1.0)
    seen = torch.tensor(0.0), torch.tensor(1.0)
    with pytest.raises(InputError, match="wire_resistance needs the conductances of both cells"):
        Crossbar(torch.ones(2, 3)).begin(hardware, None, seen)
    with pytest.raises(InputError, match="in siemens"):
        Crossbar(Cells(torch.zeros(2, 3), torch.ones(2, 2, 3))).begin(hardware, None, seen)


def test_a_law_takes_cells_as_they_are_and_wires_diminish_what_it_gives() -> None:
    """A law of constant deviation, which the loss of a cell must not change: s sqrt(share+^2 + share-^2)."""
    law = ReadNoiseLaw(reference=1e-5, deviation_at_reference=2e-7, exponent=0.0, conductance=(1e-6, 1e-4))
    cells = Chip.synthetic(0).matrices([[(20, 100)]])[0][0]
    after = WireResistance(20.0, (256, 256)).apply(cells, NO_DRAW)
    share = after.pair / cells.pair
    expected = 2e-7 / float(cells.siemens) * share.square().sum(0).sqrt()
    torch.testing.assert_close(after.reference("law", law), expected, rtol=1e-5, atol=0)
    doubled = DigitalGain("global").apply(replace(after, target=2 * after.weight), NO_DRAW)
    torch.testing.assert_close(doubled.reference("law", law), 2 * expected, rtol=1e-5, atol=0)
