"""The Triton kernel against the plain one: on a GPU where there is one, else in Triton's interpreter, in a process
of its own, since Triton decides when it is imported; and its compilation for GPUs that need not be here.
"""

import os
import subprocess
import sys

import pytest
import torch

from rgnn import Hardware
from rgnn.base.rng import torch_stream
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.product import AnalogProduct
from rgnn.graphs.triplets import TripletPlan
from rgnn.kernels import PLAIN

pytest.importorskip("triton")
INTERPRETED, ON_GPU = os.environ.get("TRITON_INTERPRET") == "1", torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
computes = pytest.mark.skipif(not (INTERPRETED or ON_GPU), reason="runs in the interpreter's process")


def begin(weight: torch.Tensor, hardware: Hardware, low: float, high: float) -> AnalogProduct:
    seen = torch.tensor(low, device=DEVICE), torch.tensor(high, device=DEVICE)
    return Crossbar(weight.to(DEVICE)).begin(hardware, torch_stream(3, "noise"), seen)


def hardware(sharing: str, bits: int, rounding: str = "nearest") -> Hardware:
    if sharing == "none":
        return Hardware(bits=bits, range="dynamic", noise=None, rounding=rounding)
    return Hardware(bits=bits, range="dynamic", noise_sharing=sharing, rounding=rounding)


@computes
@pytest.mark.parametrize("sharing", ["none", "read", "product", "plane"])
@pytest.mark.parametrize(
    ("features", "bits", "weighted", "atoms"), [(18, 8, True, 6), (5, 4, False, 2), (1, 1, True, 3)]
)
def test_three_body(sharing: str, features: int, bits: int, weighted: bool, atoms: int) -> None:
    """Two atoms with 40 edges have more than one block of k; sums p + q are whole, so that codes agree."""
    from rgnn.kernels.gpu import triton_kernels

    generator = torch_stream(1, "test")
    centre, neighbour = torch.randint(0, atoms, (2, 80), generator=generator).to(DEVICE)
    plan = TripletPlan.build(neighbour, centre, atoms)
    p, q = torch.randint(-40, 200, (2, 80, 10 * features), generator=generator).float().to(DEVICE)
    fc = torch.rand(80, generator=generator).to(DEVICE) if weighted else None
    weight = torch.randn(2 * features, 10 * features, generator=generator) / 50
    first = begin(torch.zeros(10 * features, 3), hardware("none", 8), 0.0, 255.0)
    found, expected, clean = (
        kernel.triplets.three_body(plan, p, q, fc, first, begin(weight, setting, 0.0, 2.0**bits - 1))
        for kernel, setting in (
            (triton_kernels(), hardware(sharing, bits)),
            (PLAIN, hardware(sharing, bits)),
            (PLAIN, hardware("none", bits)),
        )
    )
    noise = float((expected - clean).square().mean().sqrt())
    assert float((found - expected).abs().max()) < 1e-4 + 2e-3 * noise
    assert sharing == "none" or noise > 1e-3


@computes
def test_what_it_leaves_to_the_plain_kernels() -> None:
    from rgnn.kernels.gpu import triton_kernels

    generator = torch_stream(1, "test")
    centre, neighbour = torch.randint(0, 4, (2, 20), generator=generator).to(DEVICE)
    plan = TripletPlan.build(neighbour, centre, 4)
    p, q = torch.randn(2, 20, 10, generator=generator).to(DEVICE)
    for setting in (hardware("none", 12), hardware("none", 8, "floor")):
        first, second = (begin(torch.randn(n, 10), setting, 0.0, 1.0) for n in (10, 2))
        found, expected = (k.triplets.three_body(plan, p, q, None, first, second) for k in (triton_kernels(), PLAIN))
        assert torch.equal(found, expected)


@pytest.mark.skipif(INTERPRETED or ON_GPU, reason="starts the interpreter's process")
def test_in_the_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore::RuntimeWarning", __file__],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "13 passed" in done.stdout


@pytest.mark.skipif(INTERPRETED, reason="interpreted functions are not compiled")
@pytest.mark.parametrize("capability", [80, 90])
def test_it_compiles_for_a_gpu_that_is_not_here(capability: int) -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as compile_kernel

    from rgnn.kernels.gpu import COLUMNS, ROWS, three_body_kernel

    settings = {
        "WEIGHTED": True, "NOISY": True, "BY_PLANES": True, "MOST": 32, "K": 180, "KP": 192, "F": 18, "FP": 32,
        "ROWS": ROWS, "COLUMNS": COLUMNS,
    }  # fmt: skip
    types = dict.fromkeys(("in_edges", "out_edges", "out_first", "n_out", "number"), "*i64")
    types |= {"matrices": "*fp16", "key": "i64"} | dict.fromkeys(settings, "constexpr")
    names = three_body_kernel.arg_names
    signature = {name: types.get(name, "*fp32") for name in names}
    source = ASTSource(three_body_kernel, signature, {(names.index(k),): v for k, v in settings.items()})
    compiled = compile_kernel(source, target=GPUTarget("cuda", capability, 32))
    assert compiled.asm["cubin"]
    assert "mma" in compiled.asm["ptx"]  # on tensor cores
