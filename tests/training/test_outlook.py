"""What validation says of other trajectories."""

import pytest

from rgnn.data.nearness import Nearness
from rgnn.training.outlook import Outlook


def expected(trained: float, validation: float, near: float, elsewhere: float) -> Outlook:
    return Outlook(Nearness(0.3, 6.1, near, elsewhere), trained, validation)


def test_what_is_learned_by_heart_grows_with_the_distance() -> None:
    """5% on training frames and 6% at a distance of 1 make 8% at a distance of 3."""
    found = expected(0.05, 0.06, 1.0, 3.0)
    assert found.factor * found.validation == pytest.approx(0.08)
    assert found.is_worse
    assert "0.30 Å from the nearest training frame, unrelated training frames 6.10 Å" in found.describe()
    assert "may have 1.3 times the validation error" in found.describe()


@pytest.mark.parametrize("found", [expected(0.06, 0.06, 1.0, 9.0), expected(0.01, 0.06, 1.0, 0.9)])
def test_otherwise_other_trajectories_are_no_worse(found: Outlook) -> None:
    """No more error than on training frames, or held-out frames as far away as others."""
    assert found.factor == 1
    assert not found.is_worse


def test_without_positions_only_neighbourhoods_are_compared() -> None:
    found = Outlook(Nearness(None, None, 1.0, 1.0), 0.05, 0.06)
    assert found.describe().startswith("By the distances of their neighbourhoods")
