"""How the model's heavy parts are computed: one definition in plain torch, and faster forms that agree with it.

`choose` gives the fastest form that runs on a device; `use` insists on one, in tests and benchmarks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

from rgnn.base.errors import InputError
from rgnn.kernels.interface import Kernels
from rgnn.kernels.plain import PLAIN, gate
from rgnn.kernels.repeatable import add_rows, repeatable

__all__ = ["NAMES", "PLAIN", "Kernels", "add_rows", "choose", "gate", "must_be_compiled", "repeatable", "use"]

NAMES = ("plain", "compiled", "triton")

_insisted: list[str] = []


@cache
def _made(name: str) -> Kernels:
    if name == "compiled":
        from rgnn.kernels.compiled import compiled_kernels, keep_freed_memory

        keep_freed_memory()
        return compiled_kernels()
    if name == "triton":
        from rgnn.kernels.gpu import triton_kernels

        return triton_kernels()
    return PLAIN


def choose(device: torch.device, dtype: torch.dtype = torch.float32) -> Kernels:
    """The fastest kernels for tensors of this device and type: compiled on CPUs, Triton's on NVIDIA GPUs.

    The first choice of compiled kernels starts numba's threads, and has the C library keep up to 512 MB of freed
    memory for the rest of the process (see `rgnn.kernels.compiled.keep_freed_memory`).
    """
    if _insisted:
        return _made(_insisted[-1])
    if dtype == torch.float32 and device.type == "cpu":
        return _made("compiled")
    # ROCm calls its devices cuda as well.
    if dtype == torch.float32 and device.type == "cuda" and torch.version.cuda and find_spec("triton"):
        return _made("triton")
    return PLAIN


def must_be_compiled(device: torch.device) -> bool:
    """Whether the first pass on this device will have to wait for the compiler."""
    if choose(device).name != "compiled":
        return False

    from rgnn.kernels import loops, radial_loops

    # Every model needs one of these: that of the energies reads by Gaussians, others row by row.
    for module, loop in ((loops, "row_sums"), (radial_loops, "gaussian_sums")):
        source = Path(str(module.__file__)).stat().st_mtime
        kept = Path(getattr(module, loop).stats.cache_path).glob(f"{module.__name__.rpartition('.')[2]}.{loop}-*.nbi")
        if any(file.stat().st_mtime >= source for file in kept):
            return False
    return True


@contextmanager
def use(name: str) -> Iterator[None]:
    """Within the block, every model computes with the kernels of this name; for tests and benchmarks.

    Raises:
        InputError: there are none of this name.
    """
    if name not in NAMES:
        raise InputError(f"there are no kernels named '{name}'; use one of: {', '.join(NAMES)}.")
    _insisted.append(name)
    try:
        yield
    finally:
        _insisted.pop()
