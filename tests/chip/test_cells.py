"""What happens to cells once, against its statistics."""

import pytest
import torch
from scipy.stats import binom, kstest

from rgnn import Chip, Hardware
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.effects import (
    RELAXATION,
    DigitalGain,
    FrozenNoise,
    ProgrammingNoise,
    Retention,
    StuckCells,
    apply_effects,
    effects,
)

SHAPE = (200, 150)


@pytest.fixture(scope="module")
def cells() -> Cells:
    return Chip.synthetic(0).matrices([[SHAPE]])[0][0]


def stream(k: int = 0) -> torch.Generator:
    return torch_stream(k, "test")


def test_a_weight_is_the_difference_of_its_cells(cells) -> None:
    torch.testing.assert_close(cells.pair[0] - cells.pair[1], cells.weight, rtol=0, atol=2e-6)
    assert float(cells.pair.mean() * cells.siemens) == pytest.approx(14.25e-6, rel=0.01)


def test_device_reference_against_weight_reference(cells) -> None:
    """Known answer 7: the variances are as sum(G+^2 + G-^2) to sum((G+ - G-)^2), about 34 for this chip."""
    ratio = float(cells.reference("device").square().sum() / cells.reference("weight").square().sum())
    expected = float(cells.pair.double().square().sum() / (cells.pair[0] - cells.pair[1]).double().square().sum())
    assert ratio == pytest.approx(expected, rel=1e-4)
    assert ratio**0.5 == pytest.approx((14.25**2 + 2.46**2) ** 0.5 / 2.46, rel=0.02)  # about 6 times the deviation


def test_device_noise_is_that_of_both_cells_for_themselves(cells) -> None:
    array, x = Crossbar(Cells(cells.weight[:3, :5], cells.pair[:, :3, :5])), torch.rand(1, 5, generator=stream())
    hardware = Hardware(bits=4, noise=0.1, noise_reference="device", range="dynamic", noise_sharing="product")
    low, high, n = x.min(), x.max(), 3000
    y = torch.stack([array.begin(hardware, torch_stream(1, k), (low, high))(x.clone()) for k in range(n)])[:, 0]
    q = ((x - low) / (high - low) * 15).round()
    pair = array.pair
    z = torch.randn(2, n, 3, 5, generator=stream(1))
    literal = (q * ((pair[:, None] * (1 + 0.1 * z))[0] - (pair[:, None] * (1 + 0.1 * z))[1])).sum(2)
    literal = literal / 15 * (high - low) + low * array.weight.sum(1)
    for k in range(3):
        assert kstest(y[:, k].numpy(), literal[:, k].numpy()).pvalue > 1e-4


def test_programming_noise(cells) -> None:
    relative = ProgrammingNoise(0.05).apply(cells, stream()).pair / cells.pair - 1
    assert kstest(relative.flatten()[::5].numpy(), "norm", (0, 0.05)).pvalue > 1e-3
    assert (ProgrammingNoise(2.0).apply(cells, stream()).pair >= 0).all()


def test_stuck_counts_are_binomial(cells) -> None:
    """Known answer 14."""
    n = cells.pair.numel()
    stuck = StuckCells(0.03, 0.1).apply(cells, stream()).pair
    for value, share in ((cells.pair.max(), 0.03), (cells.pair.min(), 0.1)):
        count = int((stuck == value).sum()) - 1
        assert 1e-4 < binom.cdf(count, n, share) < 1 - 1e-4
    assert torch.equal(stuck[(stuck != cells.pair.max()) & (stuck != cells.pair.min())].unique(),
                       cells.pair[(stuck != cells.pair.max()) & (stuck != cells.pair.min())].unique())  # fmt: skip


def test_same_chip_same_cells_and_each_effect_has_its_own_stream(cells) -> None:
    """Known answer 14: switching one effect does not move another."""
    both = Hardware(stuck_off=0.1, retention="1 s")
    a, b, c = (apply_effects(cells, effects(both, noisy=True), chip, (0, 0)).weight for chip in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    alone = apply_effects(cells, effects(Hardware(stuck_off=0.1), noisy=True), 0, (0, 0)).pair
    with_other = apply_effects(cells, effects(both, noisy=True), 0, (0, 0)).pair
    stuck = alone != cells.pair
    assert (with_other[stuck] < cells.pair[stuck]).float().mean() > 0.95  # the same cells are stuck
    assert not torch.equal(a, apply_effects(cells, effects(both, noisy=True), 0, (1, 0)).weight)  # another array
    moved = [
        (apply_effects(cells, effects(Hardware(**one), noisy=True), 0, (0, 0)).pair - cells.pair).flatten()
        for one in ({"retention": "1 s"}, {"programming_noise": 0.1})
    ]
    assert abs(float(torch.corrcoef(torch.stack(moved))[0, 1])) < 0.05


@pytest.mark.parametrize("time", RELAXATION)
def test_retention_has_the_published_deviation(cells, time: str) -> None:
    g = torch.full((2, 300, 300), 14e-6) / cells.siemens
    relaxed = Retention(time).apply(Cells(g[0] - g[1], g, siemens=cells.siemens), stream()).pair
    c0, c1, c2, c3, c4 = RELAXATION[time]
    x = 14 / 40
    sigma = c0 + c1 * x + c2 * x**2 + c3 * x**3 + c4 * x**4
    assert 1e6 * cells.siemens * float(relaxed.std()) == pytest.approx(sigma, rel=0.02)
    assert 1e6 * cells.siemens * float(relaxed.mean()) == pytest.approx(14, rel=0.01)


def test_compensation_is_the_best_gain(cells) -> None:
    """No other gain restores the weights better, over the array or over each output."""
    for kind in ("global", "column"):
        plain = apply_effects(cells, effects(Hardware(retention="1 day"), noisy=False), 0, (0, 0)).weight
        both = effects(Hardware(retention="1 day", compensation=kind), noisy=False)
        restored = apply_effects(cells, both, 0, (0, 0)).weight
        gain = restored / plain
        axis = None if kind == "global" else 1
        assert float(gain.std(dim=axis).max() if axis else gain.std()) < 1e-4

        errors = {f: (f * restored - cells.weight).square().sum(axis) for f in (0.99, 1.0, 1.01)}
        assert (errors[1.0] <= errors[1.01]).all() and (errors[1.0] <= errors[0.99]).all()
        assert (errors[1.0] < (plain - cells.weight).square().sum(axis)).all()


def test_frozen_noise_is_the_same_at_every_call(cells) -> None:
    array, x = Crossbar(cells), torch.rand(4, SHAPE[1], generator=stream())
    hardware = Hardware(noise=0.1, noise_sharing="chip", range="dynamic")

    def y(chip: int, seed: int) -> torch.Tensor:
        return array.begin(hardware.override(chip=chip), stream(seed), (x.min(), x.max()))(x.clone())

    assert torch.equal(y(0, 0), y(0, 1))
    assert not torch.equal(y(0, 0), y(1, 0))
    relative = (FrozenNoise(0.1, "weight").apply(cells, stream()).weight / cells.weight - 1).flatten()
    assert kstest(relative[::3].numpy(), "norm", (0, 0.1)).pvalue > 1e-3


def test_what_is_not_known_of_a_chip_is_refused() -> None:
    signed = Crossbar(torch.randn(3, 4, generator=stream()))
    seen = (torch.tensor(0.0), torch.tensor(1.0))
    for hardware, words in (
        (Hardware(noise_reference="device"), "noise_reference 'device' needs"),
        (Hardware(stuck_on=0.1), "stuck_on and stuck_off needs"),
        (Hardware(retention="1 day"), "retention needs"),
        (Hardware(programming_noise=0.1), "programming_noise needs"),
        (Hardware(noise_reference="measured"), "repeated reads"),
    ):
        with pytest.raises(InputError, match=words):
            signed.begin(hardware.override(range="dynamic"), stream(), seen)(torch.rand(2, 4))
    unitless = Cells(torch.zeros(3, 4), torch.rand(2, 3, 4))
    with pytest.raises(InputError, match="--unit"):
        Retention("1 s").apply(unitless, stream())


def test_nothing_to_do_costs_nothing(cells) -> None:
    array = Crossbar(cells)
    assert array.programmed(Hardware(), noisy=True).weight is array.weight
    hardware = Hardware(stuck_on=0.1)
    assert array.programmed(hardware, noisy=True) is array.programmed(hardware, noisy=True)


def test_a_column_of_which_nothing_is_left_has_a_gain_of_1() -> None:
    weight = torch.tensor([[0.0, 0.0], [1.0, -2.0]])
    after = torch.tensor([[0.0, 0.0], [0.5, -1.0]])
    assert DigitalGain("column").gain(weight, after).tolist() == [[1.0], [2.0]]
    assert float(DigitalGain("global").gain(weight, torch.zeros(2, 2))) == 1.0
