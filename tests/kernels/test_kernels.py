"""The compiled kernels against the plain ones: the same codes, sums, noise and gradients.

Their sums differ by rounding, so a code may differ by one where a quantiser follows; here every product is
therefore compared for itself, and through a quantiser only where the sums are exact.
"""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rgnn import RGNN, Chip, Hardware, kernels
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.product import AnalogProduct
from rgnn.graphs.triplets import TripletPlan
from rgnn.kernels import PLAIN, compiled
from rgnn.kernels.compiled import compiled_kernels
from rgnn.kernels.operands import Operand
from rgnn.models.settings import MessagePassingSettings

pytestmark = pytest.mark.usefixtures("arithmetic")
SHARINGS = ["none", "read", "product", "plane"]
WIDTHS = st.tuples(st.integers(1, 40), st.integers(1, 45))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_stream(seed, "test"))


def hardware(sharing: str, bits: int = 8, noise: float = 0.05, rounding: str = "nearest") -> Hardware:
    quiet = sharing == "none"
    return Hardware(
        bits=bits,
        rounding=rounding,
        range="dynamic",
        noise=None if quiet else noise,
        noise_sharing="read" if quiet else sharing,
    )


def begin(weight: torch.Tensor, setting: Hardware, low: float, high: float, gradient="blocked") -> AnalogProduct:
    seen = torch.tensor(low), torch.tensor(high)
    return Crossbar(weight).begin(setting, torch_stream(3, "noise"), seen, gradient=gradient)


def agree(found: torch.Tensor, expected: torch.Tensor, clean: torch.Tensor, cell: float = 0.0) -> None:
    """Within 1 % of the noise that lies on `clean`, and the rounding of that in float32, for up to four deviations.

    Of few cells the noise is less certain: a variance may be wrong by 1/254 of the largest `cell`'s.
    """
    assert found.shape == expected.shape
    noise = (expected - clean).square().mean().sqrt()
    assert float((found - expected).abs().amax()) <= 0.04 * (noise + 6 * cell) + 3e-6 * clean.abs().amax()


@pytest.mark.parametrize("sharing", SHARINGS)
@settings(max_examples=25)
@given(WIDTHS, st.integers(1, 70), st.integers(1, 8), st.booleans(), st.sampled_from(["nearest", "floor"]))
def test_product(sharing: str, widths, rows: int, bits: int, relu: bool, rounding: str) -> None:
    outputs, inputs = widths
    x, weight = normal(rows, inputs), normal(outputs, inputs, seed=1)
    results = []
    for kernel, setting in (
        (compiled_kernels(), hardware(sharing, bits, rounding=rounding)),
        (PLAIN, hardware(sharing, bits, rounding=rounding)),
        (PLAIN, hardware("none", bits, rounding=rounding)),
    ):
        results.append(kernel.products.product(begin(weight, setting, -2.0, 1.5), x.clone(), relu=relu))
    agree(*results, cell=0.0 if sharing == "none" else 0.05 * 3.5 * float(weight.abs().max()))


@pytest.mark.parametrize("sharing", SHARINGS)
def test_product_of_many_blocks(sharing: str) -> None:
    """The numbers of rows go on from block to block."""
    x, weight = normal(2 * compiled.ROWS + 7, 36), normal(144, 36, seed=1)
    found, expected = (
        k.products.product(begin(weight, hardware(sharing), -2, 2), x.clone()) for k in (compiled_kernels(), PLAIN)
    )
    agree(found, expected, PLAIN.products.product(begin(weight, hardware("none"), -2, 2), x.clone()))


@pytest.mark.parametrize("sharing", SHARINGS)
def test_accumulated_parts(sharing: str) -> None:
    x, weight = normal(50, 30), normal(20, 50, seed=1)
    columns = torch.randperm(50, generator=torch_stream(0, "columns"))[:30]
    found, expected = (
        k.products.accumulate(begin(weight, hardware(sharing), -2, 2), x.clone(), columns)
        for k in (compiled_kernels(), PLAIN)
    )
    agree(found, expected, PLAIN.products.accumulate(begin(weight, hardware("none"), -2, 2), x.clone(), columns))


def random_plan(seed: int, n_atoms: int, n_edges: int) -> tuple[TripletPlan, int]:
    edges = torch.randint(0, n_atoms, (2, n_edges), generator=torch.Generator().manual_seed(seed))
    return TripletPlan.build(edges[1], edges[0], n_atoms), n_edges


GRAPHS = st.tuples(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 60))


@settings(max_examples=25)
@given(GRAPHS, st.integers(1, 20))
def test_extremes(graph, features: int) -> None:
    plan, n_edges = random_plan(*graph)
    p, q = normal(2, n_edges, features)
    if not plan.n_triplets:
        return
    found, expected = (kernel.triplets.extremes(plan, p, q) for kernel in (compiled_kernels(), PLAIN))
    assert torch.equal(found.amax(0), expected.amax(0)) and torch.equal(found.amin(0), expected.amin(0))


@pytest.mark.parametrize("sharing", SHARINGS)
@settings(max_examples=25)
@given(GRAPHS, st.integers(1, 20), st.integers(1, 8), st.booleans())
def test_three_body(sharing: str, graph, features: int, bits: int, weighted: bool) -> None:
    """The sums p + q are whole numbers of an 8-bit range, so that both kernels find the same codes."""
    plan, n_edges = random_plan(*graph)
    generator = torch_stream(5, "sums")
    p, q = torch.randint(-40, 200, (2, n_edges, 2 * features + 1), generator=generator).float()
    fc = torch.rand(n_edges, generator=generator) if weighted else None
    weight = normal(2 * features, 2 * features + 1, seed=1) / 50
    first = begin(torch.zeros(2 * features + 1, 3), hardware("none"), 0.0, 255.0)
    results = []
    for kernel, setting in (
        (compiled_kernels(), hardware(sharing, bits)),
        (PLAIN, hardware(sharing, bits)),
        (PLAIN, hardware("none", bits)),
    ):
        second = begin(weight, setting, 0.0, 2.0**bits - 1)
        results.append(kernel.triplets.three_body(plan, p.clone(), q.clone(), fc, first, second))
    found, expected, clean = results
    noise = float((expected - clean).square().mean().sqrt()) if n_edges else 0.0
    # Weights in two limbs: 2^-15 of the largest, over some dozens of triplets.
    largest_sum = float(fc.sum() if fc is not None else n_edges)
    assert float((found - expected).abs().max()) <= 3e-4 * largest_sum + 0.03 * noise


@pytest.mark.parametrize("sharing", SHARINGS)
@settings(max_examples=25)
@given(GRAPHS, st.integers(1, 20), st.integers(1, 8), st.booleans())
def test_straight_through_gradients_of_three_body(
    sharing: str, graph, features: int, bits: int, weighted: bool
) -> None:
    """The same codes and the same noise in the backward pass; some inputs are clipped, some cut by the ReLU."""
    plan, n_edges = random_plan(*graph)
    generator = torch_stream(5, "sums")
    p, q = torch.randint(-40, 200, (2, n_edges, 2 * features + 1), generator=generator).float()
    fc = torch.rand(n_edges, generator=generator) if weighted else None
    weight, dy = normal(2 * features, 2 * features + 1, seed=1) / 50, normal(n_edges, features, seed=2)
    first = begin(torch.zeros(2 * features + 1, 3), hardware("none"), 0.0, 255.0, "straight_through")
    results = []
    for kernel in (compiled_kernels(), PLAIN):
        leaves = [x.clone().requires_grad_() for x in (p, q)]
        second = begin(weight, hardware(sharing, bits), 0.0, 2.0**bits - 1, "straight_through")
        total = kernel.triplets.three_body(plan, *leaves, fc, first, second)
        if total.requires_grad:
            total.backward(dy)
        results.append([x.grad if x.grad is not None else torch.zeros_like(x) for x in leaves])
    for found, expected in zip(*results, strict=True):
        assert float((found - expected).abs().max()) <= 0.02 * float(expected.abs().max()) + 1e-4


@settings(max_examples=25)
@given(GRAPHS, st.integers(1, 20), st.booleans())
def test_trained_three_body_and_its_gradients(graph, features: int, weighted: bool) -> None:
    plan, n_edges = random_plan(*graph)
    inputs = [normal(2, n_edges, 2 * features + 1), normal(2 * features, 2 * features + 1, seed=1)]
    p, q = inputs[0]
    fc = torch.rand(n_edges, generator=torch_stream(0, "envelope")) if weighted else None
    bias, gradient = normal(2 * features, seed=2), normal(n_edges, features, seed=3)
    results = []
    for kernel in (compiled_kernels(), PLAIN):
        leaves = [x.clone().requires_grad_() for x in (p, q, inputs[1], bias)]
        total = kernel.triplets.trained_three_body(plan, leaves[0], leaves[1], fc, leaves[2], leaves[3])
        if total.requires_grad:
            total.backward(gradient)
        results.append([total.detach(), *(x.grad if x.grad is not None else torch.zeros_like(x) for x in leaves)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * max(1.0, float(expected.abs().max())))


def test_limbs_hold_a_weight_as_float32_does() -> None:
    weight = normal(30, 50) * torch.logspace(-3, 3, 30)[:, None]
    for limbs, error in ((1, 2**-7.9), (2, 2**-14.9), (3, 2**-21.8)):
        operand = Operand.in_limbs(weight, limbs)
        digits = operand.matrix.view(limbs, 30, 50).double()
        powers = 128.0 ** torch.arange(limbs - 1, -1, -1).view(-1, 1, 1)
        found = (digits * powers).sum(0) * torch.from_numpy(operand.scale).double()[:, None]
        relative = (found - weight).abs() / weight.abs().amax(1, keepdim=True)
        assert float(relative.max()) <= error


@pytest.fixture
def model(glass) -> RGNN:
    config = MessagePassingSettings()
    model = RGNN(config, Hardware(noise=None), Chip.synthetic().matrices(RGNN.matrices(config)))
    with torch.no_grad():
        model.train()(glass)
    return model.eval()


def forces(name: str, model: RGNN, glass, hardware: Hardware) -> torch.Tensor:
    with kernels.use(name), torch.no_grad():
        return model(glass, model.read(hardware, torch_stream(0, "noise"))).forces


def test_forces_are_the_same_to_the_last_digits_where_rounding_is_downwards(model, glass) -> None:
    """A floor falls on sums that are formed as the plain kernels form them."""
    hardware = Hardware(noise=None, rounding="floor")
    found, expected = (forces(name, model, glass, hardware) for name in ("compiled", "plain"))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_forces_differ_by_single_codes_at_most(model, glass) -> None:
    """An 8-bit code that falls to the other side of a tie moves a force by a few meV/Angstrom."""
    found, expected = (forces(name, model, glass, Hardware(noise=None)) for name in ("compiled", "plain"))
    assert float((found - expected).square().mean().sqrt()) < 0.02 * float(expected.square().mean().sqrt())


@pytest.mark.parametrize("sharing", ["read", "plane"])
def test_forces_do_not_depend_on_the_number_of_threads(model, glass, sharing: str) -> None:
    threads = torch.get_num_threads()
    results = []
    for n in (1, 2):
        torch.set_num_threads(n)
        results.append(forces("compiled", model, glass, hardware(sharing).override(range="calibrated")))
    torch.set_num_threads(threads)
    torch.testing.assert_close(*results, rtol=0, atol=1e-6 if sharing == "read" else 1e-5)


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(InputError, match="no kernels named 'quick'; use one of: plain, comp"), kernels.use("quick"):
        pass
    with kernels.use("plain"):
        assert kernels.choose(torch.device("cpu")).name == "plain"
    assert kernels.choose(torch.device("cpu")).name == "compiled"
    assert kernels.choose(torch.device("cpu"), torch.float64).name == "plain"
    assert kernels.choose(torch.device("cuda"), torch.float64).name == "plain"


def test_torch_keeps_its_number_of_threads(model, glass) -> None:
    """Numba, when it starts, would have OpenMP use every core."""
    before = torch.get_num_threads()
    forces("compiled", model, glass, hardware("none").override(range="calibrated"))
    assert torch.get_num_threads() == before
    assert f"omp_get_max_threads() : {before}\n" in torch.__config__.parallel_info()


def test_the_first_use_is_known_to_be_slow(tmp_path) -> None:
    code = "import torch; from rgnn.kernels import must_be_compiled as m; print(m(torch.device('cpu')))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "True"
    # An energy model compiles its own loops, and no others.
    touch = (
        "from pathlib import Path; from rgnn.kernels import radial_loops; p = Path(radial_loops.gaussian_sums.stats."
        "cache_path); p.mkdir(parents=True, exist_ok=True); (p / 'radial_loops.gaussian_sums-1.nbi').touch(); "
    )
    done = subprocess.run(
        [sys.executable, "-c", touch + code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "False"
    compiled_kernels().products.product(begin(normal(4, 4), hardware("none"), -2, 2), normal(3, 4))
    assert not kernels.must_be_compiled(torch.device("cpu"))
