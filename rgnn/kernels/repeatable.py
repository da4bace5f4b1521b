"""Sums whose order is the same every time, on GPUs too, so that equal calls agree to the last bit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.deterministic as of_torch
from torch import Tensor


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Within the block, torch's sums on a GPU are in the same order every time, as they are on CPUs at any rate.

    torch's switch for this holds for the whole process; it is as before after the block.
    """
    if device.type == "cpu":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without which products may not repeat
    switches: Any = of_torch  # a property of a module, which mypy does not see
    fills = switches.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    switches.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        switches.fill_uninitialized_memory = fills


def add_rows(sums: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Add rows [R, ...] to those of `sums` that `index` [R] names, in the same order every time."""
    with repeatable(sums.device):
        return sums.index_add_(0, index, rows)
