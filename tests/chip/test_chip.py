import numpy as np
import pytest
import torch
from scipy.stats import kstest

from rgnn import RGNN, Chip
from rgnn.base.errors import InputError
from rgnn.chip.chip import CELL_DEVIATION, CELL_MEAN
from rgnn.models.settings import MessagePassingSettings

SHAPES = [[(4, 3), (2, 4)], [(4, 3)]]
NEEDED = 12 + 8 + 12


def test_synthetic_cells_and_weights() -> None:
    chip = Chip.synthetic(3)
    assert chip.conductances.shape == (2, 131_072)
    assert kstest(chip.conductances.flatten()[::7].double().numpy(), "norm", (CELL_MEAN, CELL_DEVIATION)).pvalue > 1e-3
    assert chip.statistics.deviation == pytest.approx(0.343, rel=0.01)
    g = chip.conductances.double()
    assert torch.corrcoef(torch.stack([chip.weights.double(), g[0] - g[1]]))[0, 1] == pytest.approx(1, abs=1e-9)


def test_a_chip_says_what_it_is() -> None:
    assert (
        repr(Chip.synthetic(3)) == "Chip('synthetic, seed 3', 131072 weights as pairs of 262144 cells, 14.2 ± 2.5 µS)"
    )
    assert repr(Chip(torch.tensor([-1.0, 1.0]), "made up")) == "Chip('made up', 2 signed weights, 0 ± 1.4)"


def test_same_seed_same_chip() -> None:
    assert torch.equal(Chip.synthetic(1).weights, Chip.synthetic(1).weights)
    assert not torch.equal(Chip.synthetic(1).weights, Chip.synthetic(2).weights)


def test_a_chip_of_the_right_size_is_cut_in_order() -> None:
    chip = Chip(torch.arange(float(NEEDED)), "counted")
    layers = chip.matrices(SHAPES, seed=5)
    assert [[w.shape for w in layer] for layer in layers] == SHAPES
    assert torch.equal(torch.cat([w.weight.flatten() for layer in layers for w in layer]), chip.weights)
    assert torch.equal(
        Chip.from_matrices([[w.weight for w in layer] for layer in layers], "again").weights, chip.weights
    )


def test_a_larger_chip_gives_a_seeded_choice_without_repeats() -> None:
    chip = Chip(torch.arange(100.0), "counted")

    def cells(seed: int) -> list[float]:
        return [x for layer in chip.matrices(SHAPES, seed) for w in layer for x in w.weight.flatten().tolist()]

    assert cells(0) == cells(0) != cells(1)
    assert len(set(cells(0))) == NEEDED


def test_a_chip_that_is_too_small_names_both_counts() -> None:
    with pytest.raises(InputError, match=r"needs 86832 weights \(173664 cells\), but it has 100 \(200 cells\)"):
        Chip(torch.zeros(100), "small").matrices(RGNN.matrices(MessagePassingSettings()))


@pytest.mark.parametrize("chip", [Chip.synthetic(0, cells=200), Chip(torch.linspace(-1, 1, 9), "measured")])
def test_save_and_load(chip: Chip, tmp_path) -> None:
    chip.save(tmp_path / "chip")
    loaded = Chip.load(tmp_path / "chip")
    assert torch.equal(loaded.weights, chip.weights) and loaded.source == chip.source
    assert (loaded.conductances is None) == (chip.conductances is None)
    assert (loaded.siemens, loaded.measured) == (chip.siemens, chip.measured)
    assert chip.source in (tmp_path / "chip/chip.yaml").read_text()


def test_damaged_chips_are_refused(tmp_path) -> None:
    Chip(torch.tensor([1.0, np.nan]), "broken").save(tmp_path)
    with pytest.raises(InputError, match="no finite list of weights"):
        Chip.load(tmp_path)
    file = tmp_path / "chip.safetensors"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(InputError, match="damaged or cut short"):
        Chip.load(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        Chip.load(tmp_path / "nowhere")
