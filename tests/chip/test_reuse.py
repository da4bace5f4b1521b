"""Cells that serve several matrices."""

import pytest
import torch

from rgnn import Chip
from rgnn.chip.reuse import orders, statistics


@pytest.mark.parametrize(("n", "needed"), [(1000, 3500), (961, 961 * 3), (7, 20)])
def test_each_use_takes_every_weight_once(n: int, needed: int) -> None:
    uses = orders(n, needed, 0).split(n)
    assert sum(map(len, uses)) == needed
    for use in uses[:-1]:
        assert torch.equal(use.sort().values, torch.arange(n))
    assert len(uses[-1].unique()) == len(uses[-1])
    assert torch.equal(uses[0], torch.arange(n))
    assert torch.equal(orders(n, needed, 0), orders(n, needed, 0))
    assert not torch.equal(orders(n, needed, 0), orders(n, needed, 1))


def test_uses_are_permutations_of_rows_and_columns() -> None:
    """A full square array: its second use has the same singular values, and its lines are the same lines."""
    w = torch.randn(900, generator=torch.Generator().manual_seed(0))
    first, second = (w[use].view(30, 30) for use in orders(900, 1800, 3).split(900))
    values = [torch.linalg.svdvals(use.double()) for use in (first, second)]
    torch.testing.assert_close(values[0], values[1])
    assert {tuple(row.sort().values.tolist()) for row in first} == {tuple(row.sort().values.tolist()) for row in second}


def test_uses_do_not_correlate() -> None:
    """Of 20 pairs of uses about 1 lies beyond two standard deviations, and none beyond four."""
    weights = Chip.synthetic(1, 20_000).weights
    found = [statistics(weights, 20_000, seed) for seed in range(20)]
    assert all(f.uses == 2.0 and f.expected == pytest.approx(0.01) for f in found)
    assert max(f.correlation for f in found) < 0.04
    assert 0.003 < sum(f.correlation for f in found) / 20 < 0.013  # sqrt(2 / pi) of the expected one


def test_a_small_chip_gives_matrices_only_when_asked() -> None:
    chip = Chip.synthetic(1, 2 * 500)
    cells = chip.matrices([[(30, 20), (20, 30)]], 0, reuse=True)
    weights = torch.cat([c.weight.flatten() for c in cells[0]])
    assert torch.equal(weights[:500], chip.weights)
    assert cells[0][1].pair is not None
    torch.testing.assert_close(cells[0][1].pair[0] - cells[0][1].pair[1], cells[0][1].weight, rtol=1e-4, atol=1e-5)
    enough = chip.matrices([[(20, 20)]], 0, reuse=True)[0][0]
    assert torch.equal(enough.weight, chip.matrices([[(20, 20)]], 0)[0][0].weight)
