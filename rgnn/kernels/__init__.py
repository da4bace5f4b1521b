"""How the model's heavy parts are computed: one definition in plain torch, and faster forms that agree with it.

`kernels_for` gives the fastest that runs here; `use` insists on one (in tests, benchmarks and for doubters).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

from rgnn.base.errors import InputError
from rgnn.kernels.plain import Kernels, Plain, StraightThrough, gate

__all__ = ["NAMES", "Kernels", "Plain", "gate", "kernels_for", "must_be_compiled", "use"]

NAMES = ("plain", "compiled", "triton", "straight-through")

_insisted: list[str] = []


@cache
def _made(name: str) -> Kernels:
    if name == "compiled":
        from rgnn.kernels.compiled import Compiled

        return Compiled()
    if name == "triton":
        from rgnn.kernels.gpu import Gpu

        return Gpu()
    return StraightThrough() if name == "straight-through" else Plain()


def kernels_for(device: torch.device, dtype: torch.dtype = torch.float32) -> Kernels:
    """The fastest kernels for tensors of this device and type: compiled on CPUs, Triton's on NVIDIA GPUs."""
    if _insisted:
        return _made(_insisted[-1])
    if dtype == torch.float32 and device.type == "cpu":
        return _made("compiled")
    # ROCm calls its devices cuda as well.
    if dtype == torch.float32 and device.type == "cuda" and torch.version.cuda and find_spec("triton"):
        return _made("triton")
    return _made("plain")


def must_be_compiled(device: torch.device) -> bool:
    """Whether the first pass on this device will have to wait for the compiler."""
    if kernels_for(device).name != "compiled":
        return False

    from rgnn.kernels import loops

    source = Path(loops.__file__).stat().st_mtime
    kept = Path(loops.row_sums.stats.cache_path).glob("loops.row_sums-*.nbi")
    return not any(file.stat().st_mtime >= source for file in kept)


@contextmanager
def use(name: str) -> Iterator[None]:
    """Within the block, every model computes with the kernels of this name.

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
