"""Regions, targets and results on their way out and back."""

import numpy as np
import pytest
import torch

from rgnn import Chip, Hardware
from rgnn.base.errors import InputError
from rgnn.chip.columns import ColumnFit
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.exchange import ChipExport, read_result
from rgnn.chip.regions import gathered, lay_out, targets

SHAPES = [[(7, 5), (3, 30)], [(40, 9)]]


@pytest.fixture
def crossbars() -> list[Crossbar]:
    cells = Chip.synthetic(1).matrices(SHAPES)
    return [Crossbar(c, place=(i, j)) for i, layer in enumerate(cells) for j, c in enumerate(layer)]


@pytest.mark.parametrize("pairs", ["columns", "rows"])
@pytest.mark.parametrize("tile", [(256, 256), (16, 16), (6, 10)])
def test_every_weight_has_two_cells_of_its_own(crossbars, tile, pairs) -> None:
    layout = lay_out(crossbars, tile, pairs)
    goal = targets(crossbars, layout, Hardware())
    assert layout.cells == 2 * sum(c.weight.numel() for c in crossbars) == int(goal.used.sum())
    assert 0 < layout.utilisation <= 1
    back = gathered([(f"layer{c.place[0]}.matrix{c.place[1]}", c.weight.numpy()) for c in crossbars], layout,
                    goal.conductance)  # fmt: skip
    for c in crossbars:
        g = back[f"layer{c.place[0]}.matrix{c.place[1]}"]
        assert torch.allclose(torch.from_numpy((g[0] - g[1]) / float(c.siemens)).float(), c.weight, atol=1e-5)
    # Cells of a pair share a row and lie in neighbouring columns, or the other way round.
    rows, columns = layout.cells_of(layout.regions[0])
    apart = (rows[1] - rows[0], columns[1] - columns[0])
    assert (apart[pairs == "columns"] == 1).all() and (apart[pairs == "rows"] == 0).all()


def test_a_tile_without_room_is_refused(crossbars) -> None:
    with pytest.raises(InputError, match="no room for a pair"):
        lay_out(crossbars, (1, 8), "rows")


def test_an_export_comes_back_as_it_went_and_a_table_fits_it(crossbars, tmp_path) -> None:
    layout = lay_out(crossbars, (16, 32))
    names = ["layer0.matrix0", "layer0.matrix1", "layer1.matrix0"]
    weights = {n: c.weight.double().numpy() for n, c in zip(names, crossbars, strict=True)}
    goal = targets(crossbars, layout, Hardware(), 0.1)
    export = ChipExport(layout, weights, dict.fromkeys(names, float(crossbars[0].siemens)), goal, {"model": "m"})
    export.save(tmp_path)
    again = ChipExport.load(tmp_path)
    assert again.layout == layout
    np.testing.assert_array_equal(again.targets.conductance, goal.conductance)
    lines = (tmp_path / "targets.csv").read_text().splitlines()
    assert lines[0] == "tile,row,column,target_siemens,tolerance_siemens,mask"
    assert len(lines) == 1 + goal.used.size and sum(line.endswith(",1") for line in lines) == layout.cells
    # What a lab would make of that table.
    used = [line.split(",")[:4] for line in lines[1:] if line.endswith(",1")]
    table = tmp_path / "back.csv"
    table.write_text("tile,row,column,conductance_siemens\n" + "\n".join(",".join(u) for u in used) + "\n")
    found = read_result(table, goal.used.shape)
    np.testing.assert_allclose(found.conductance[goal.used], goal.conductance[goal.used], rtol=1e-5)
    (tmp_path / "regions.json").write_text('{"format": "rgnn chip export", "version": 1}')
    with pytest.raises(InputError, match="is damaged"):
        ChipExport.load(tmp_path)


def test_results_that_do_not_fit_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", nonsense=np.zeros(3))
    np.savez(tmp_path / "b.npz", conductance=np.zeros((1, 2, 3)))
    np.savez(tmp_path / "c.npz", G=np.zeros(3), conductance=np.zeros(3))
    np.save(tmp_path / "d.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "d.npy").rename(tmp_path / "d.npz")
    (tmp_path / "e.csv").write_text("tile,row,column,conductance_siemens\n0,5,0,1e-6\n")
    (tmp_path / "g.csv").write_text("tile,row,column,conductance_siemens\n0,1,2.5,1e-6\n")
    (tmp_path / "h.csv").write_text("tile,row,column,conductance_siemens\n0,1,2,1e-6\n0,1,3,1e-6\n0,1,2,3e-6\n")
    for name, said in (
        ("g.csv", "column is 2.5 in a line"), ("h.csv", "tile 0, row 1 and column 2 more than once"),
        ("a.npz", "nothing that is known"), ("b.npz", "1 x 2 x 3, but the export has 1 x 4 x 4"),
        ("c.npz", "both 'conductance' and 'G'"), ("d.npz", "not an NPZ file of plain numbers"),
        ("e.csv", "row goes to 5, but the export has 4"), ("f.npz", "there is no such file"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            read_result(tmp_path / name, (1, 4, 4))


def test_gains_and_offsets_are_found_within_their_intervals() -> None:
    """Of 400 columns about 95% lie within 95% intervals; drifted ones are named, the others not."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 400))
    gain, offset = 37.0 * np.ones(400), rng.normal(0, 2, 400)
    gain[::10] *= 1.3
    fit = ColumnFit.of("a", gain * x + offset + rng.normal(0, 3, x.shape), x)
    assert 0.9 < np.mean(np.abs(fit.gain - gain) < fit.gain_error) < 0.99
    assert 0.9 < np.mean(np.abs(fit.offset - offset) < fit.offset_error) < 0.99
    assert fit.unit == pytest.approx(37, rel=0.01)
    assert set(np.flatnonzero(fit.drifted)) == set(range(0, 400, 10))
    np.testing.assert_allclose(fit.residual, 3, rtol=0.25)


def test_a_silent_column_is_drifted() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    y = x.copy()
    y[:, 1] = 4.0
    fit = ColumnFit.of("a", y, x)
    assert fit.drifted.tolist() == [False, True, False]
    with pytest.raises(InputError, match="too few"):
        ColumnFit.of("a", y[:2], x[:2])
