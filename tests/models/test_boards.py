"""Models on a board: every family, committees, and the gains of columns that lie beside a model."""

import copy

import numpy as np
import pytest
import torch

from rgnn import Chip, Hardware, load_model, save_model
from rgnn.base.errors import InputError
from rgnn.chip.board.settings import BoardSettings
from rgnn.models import families
from rgnn.models.boards import calibrate_columns, load_gains, on_board, save_gains
from rgnn.models.committee import Committee
from rgnn.models.settings import EnergySettings

CLEAN = Hardware(noise=None)


@pytest.fixture
def quiet(tmp_path) -> BoardSettings:
    """The simulator without noise."""
    (tmp_path / "quiet.yaml").write_text("noise: null\n")
    return BoardSettings(driver=f"simulator: {tmp_path / 'quiet.yaml'}")


def on(model, glass, board):
    """The prediction on a board, and what the board did for it."""
    with on_board(model, board) as connection:
        before = connection.traffic.rows
        found = model(glass)
        return found, connection.traffic.rows - before


def test_a_board_without_noise_gives_the_simulators_forces(any_model, glass, quiet) -> None:
    with torch.no_grad():
        expected = any_model(glass).forces
        found, rows = on(any_model, glass, quiet)
        # Another order of sums may move a code of the next quantiser by one.
        off = (found.forces - expected).square().mean().sqrt() / expected.square().mean().sqrt()
        assert off < 2e-3 and rows >= glass.n_edges
        # Afterwards the chip is simulated again.
        assert any_model.tap is None and torch.equal(any_model(glass).forces, expected)


def test_a_model_with_an_energy_reads_values_and_slopes_on_the_board(glass, quiet) -> None:
    settings = EnergySettings(elements=(3, 8, 15), channels=6, cutoff=3.8)
    family = families.family_of(settings)
    model = families.build(settings, CLEAN, Chip.synthetic(1).matrices(family.matrices(settings)))
    model.train()(glass)
    model.eval()
    expected = model(glass)
    found, rows = on(model, glass, quiet)
    assert rows >= 3 * glass.n_edges
    torch.testing.assert_close(found.energy, expected.energy, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(found.forces, expected.forces, rtol=1e-3, atol=1e-3)


def test_each_member_of_a_committee_has_arrays_of_its_own(built_moments, glass, quiet) -> None:
    members = [built_moments("ridge", CLEAN, glass, seed=k) for k in range(2)]
    for crossbar in members[1].crossbars:
        crossbar.member = 1
    model = Committee(members).eval()
    expected = model(glass).forces
    with on_board(model, quiet) as board:
        assert set(board.agreement) == {
            "layer0.matrix0", "layer1.matrix0", "layer0.matrix0.member1", "layer1.matrix0.member1"
        }  # fmt: skip
        torch.testing.assert_close(model(glass).forces, expected, rtol=1e-3, atol=1e-3)
        assert copy.deepcopy(model).members[1].tap is board


def test_gains_lie_beside_their_model_and_no_other(built_moments, glass, quiet, tmp_path) -> None:
    model = built_moments("ridge", CLEAN, glass)
    save_model(model, tmp_path / "m")
    assert load_gains(tmp_path / "m", model) == {}
    with on_board(model, quiet) as board:
        fits = calibrate_columns(board, model.crossbars, 8)
        save_gains(board, model, tmp_path / "m")
    assert not any(fit.drifted.any() for fit in fits)
    known = load_gains(tmp_path / "m", load_model(tmp_path / "m"))
    for name, gains in board.gains.items():
        np.testing.assert_array_equal(known[name].gain, gains.gain)
        np.testing.assert_allclose(gains.gain, 1, atol=1e-4)
    with torch.no_grad():
        model.readout.weight.add_(1)
    with pytest.raises(InputError, match="belongs to another model"):
        load_gains(tmp_path / "m", model)


def test_what_has_no_chip_has_no_board(built, glass, quiet) -> None:
    from rgnn.models.settings import MessagePassingSettings

    model = built(MessagePassingSettings(n_features=4, reservoir_layers=0, trained_layers=1), CLEAN, glass)
    with pytest.raises(InputError, match="all digital"), on_board(model, quiet):
        pass
