"""Sums that repeat, and torch's switches as they were before."""

import torch
from torch.utils import deterministic

from rgnn.kernels import add_rows, repeatable


def test_rows_are_added_in_place() -> None:
    sums = torch.zeros(3, 2)
    found = add_rows(sums, torch.tensor([2, 0, 2]), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert found is sums
    assert sums.tolist() == [[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]]


def test_switches_of_torch_are_as_before() -> None:
    """A device that is not a CPU, without a GPU: switches belong to the process."""
    before = torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory
    with repeatable(torch.device("meta")):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert (torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory) == before
    with repeatable(torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled() == before[0]
