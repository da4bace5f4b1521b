"""Converted column sums in compiled loops against the plain definition: the same codes, up to ties.

Sums differ by their rounding, so that a code may fall to the other side of a tie: in few places it is one step off.
"""

import pytest
import torch

from rgnn import Hardware
from rgnn.base.rng import torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.converters import Counts
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.product import AnalogProduct
from rgnn.graphs.triplets import TripletPlan
from rgnn.kernels import PLAIN
from rgnn.kernels.compiled import ROWS, compiled_kernels
from rgnn.kernels.prepared import fits

ERRORS = {"adc_gain": 0.05, "adc_offset": 1.5, "adc_nonlinearity": 0.8}
SETTINGS = {
    "ideal": {},
    "gain and offset": {"adc_gain": 0.05, "adc_offset": 1.5},
    "bent": ERRORS,
    "calibrated": {**ERRORS, "adc_calibration": "linear"},
}
pytestmark = pytest.mark.usefixtures("arithmetic")
SHARINGS = ["none", "read", "plane"]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_stream(seed, "test"))


def hardware(sharing: str, **others: object) -> Hardware:
    quiet = sharing == "none"
    base = Hardware(
        bits=6, adc_bits=7, adc_range="full", range="dynamic", tile=(24, 64), noise=None if quiet else 0.05,
        noise_sharing="read" if quiet else sharing,
    )  # fmt: skip
    return base.override(**others)


def begin(weight: torch.Tensor, setting: Hardware, low: float = -2.0, high: float = 2.0, **more) -> AnalogProduct:
    array = Crossbar(Cells(weight), place=(1, 2))
    return array.begin(setting, torch_stream(3, "noise"), (torch.tensor(low), torch.tensor(high)), **more)


def agree(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal up to ties."""
    assert found.shape == expected.shape
    size = float(expected.square().mean().sqrt())
    off = (found - expected).abs() > 1e-4 * size
    assert float(off.float().mean()) < 0.005
    assert float((found - expected).square().mean().sqrt()) < 0.002 * size


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("errors", SETTINGS)
def test_products_over_tiles_and_blocks(errors: str, sharing: str) -> None:
    x, weight, setting = normal(ROWS + 9, 60), normal(13, 60, seed=1), hardware(sharing, **SETTINGS[errors])
    assert fits(begin(weight, setting), x)
    found, expected = (k.products.product(begin(weight, setting), x.clone()) for k in (compiled_kernels(), PLAIN))
    agree(found, expected)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_parts_are_read_by_themselves(sharing: str) -> None:
    x, weight, setting = normal(90, 30), normal(8, 60, seed=1), hardware(sharing, **SETTINGS["bent"])
    columns = torch.randperm(60, generator=torch_stream(0, "columns"))[:30]
    found, expected = (
        k.products.accumulate(begin(weight, setting), x.clone(), columns) for k in (compiled_kernels(), PLAIN)
    )
    agree(found, expected)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("errors", SETTINGS)
def test_gaussians_of_blocks_across_tiles(errors: str, sharing: str) -> None:
    """Blocks of 10 columns in tiles of 24: two tiles meet in one, and converters of tiles at rest have offsets."""
    weight, setting = normal(12, 60, seed=1), hardware(sharing, bits=8, **SETTINGS[errors])
    mu, s = torch.linspace(1.0, 4.0, 10), torch.full((10,), 0.4)
    d = 1.0 + 3.0 * torch.rand(300, generator=torch_stream(1, "distances"))
    block = torch.randint(0, 6, (300,), generator=torch_stream(2, "blocks"))
    results = [
        k.products.of_gaussians(begin(weight, setting, 0.0, 1.0), mu, s, d, block) for k in (compiled_kernels(), PLAIN)
    ]
    for found, expected in zip(*results, strict=True):
        agree(found, expected)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("gradient", ["blocked", "straight_through"])
def test_triplets(sharing: str, gradient: str) -> None:
    """The sums p + q are whole numbers of the input range, so that both kernels find the same codes."""
    generator = torch_stream(5, "sums")
    edges = torch.randint(0, 9, (2, 60), generator=generator)
    plan = TripletPlan.build(edges[1], edges[0], 9)
    leaves = [torch.randint(-10, 60, (60, 30), generator=generator).float() for _ in range(2)]
    for leaf in leaves:
        leaf.requires_grad_(gradient == "straight_through")
    weight, setting = normal(16, 30, seed=1) / 50, hardware(sharing, **SETTINGS["calibrated"])
    first = begin(torch.zeros(30, 3), Hardware(noise=None, range="dynamic"), 0.0, 255.0, gradient=gradient)
    results = []
    for kernel in (compiled_kernels(), PLAIN):
        second = begin(weight, setting, 0.0, 63.0, gradient=gradient)
        assert fits(second, leaves[0])
        total = kernel.triplets.three_body(plan, *leaves, None, first, second)
        wanted = torch.autograd.grad(total.sum(), leaves) if gradient == "straight_through" else ()
        results.append([total.detach(), *wanted])
    for found, expected in zip(*results, strict=True):
        assert float((found - expected).square().mean().sqrt()) < 0.02 * float(expected.square().mean().sqrt())


@pytest.mark.parametrize("sharing", SHARINGS)
def test_slices_have_converters_of_their_own(sharing: str) -> None:
    x, weight = normal(200, 40), normal(7, 40, seed=1)
    setting = hardware(sharing, slices=3, slice_bits=2, **SETTINGS["bent"])
    assert fits(begin(weight, setting), x)
    found, expected = (k.products.product(begin(weight, setting), x.clone()) for k in (compiled_kernels(), PLAIN))
    agree(found, expected)


def test_what_must_be_seen_is_left_to_the_plain_kernels() -> None:
    """Counts of saturated codes, ranges that still follow their sums, and more than 8 bits."""
    x, weight = normal(3, 60), normal(4, 60, seed=1)
    assert fits(begin(weight, hardware("read")), x)
    assert not fits(begin(weight, hardware("read"), counts=Counts()), x)
    assert not fits(begin(weight, hardware("read", bits=10)), x)
    array = Crossbar(weight).train()
    followed = array.begin(hardware("read", adc_range="calibrated"), None, (torch.tensor(0.0), torch.tensor(1.0)))
    assert not fits(followed, x)


def test_noise_of_a_row_is_that_of_its_number_and_planes() -> None:
    """The spread of one product over many calls is that of its cells and converters by the plain kernels."""
    x, weight, setting = normal(1, 20), normal(5, 20, seed=1), hardware("read", noise=0.2, adc_bits=12)
    draws = []
    for kernel in (compiled_kernels(), PLAIN):
        array = Crossbar(weight)
        calls = (
            array.begin(setting, torch_stream(k, "draw"), (torch.tensor(-2.0), torch.tensor(2.0))) for k in range(400)
        )
        draws.append(torch.cat([kernel.products.product(call, x.clone()) for call in calls]))
    found, expected = (d.std(0) for d in draws)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)
    torch.testing.assert_close(draws[0].mean(0), draws[1].mean(0), rtol=0, atol=0.01 * float(expected.max()))
