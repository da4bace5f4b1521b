import itertools

import pytest

from rgnn.base.estimate import evenly


@pytest.mark.parametrize(("count", "n"), [(5, 5), (5, 9), (0, 3), (7, 1), (10, 9), (1000, 37), (1001, 500)])
def test_an_even_choice_is_rising_without_doubles_and_reaches_both_ends(count: int, n: int) -> None:
    chosen = evenly(range(count), n)
    assert len(chosen) == min(count, n) and chosen == sorted(set(chosen))
    gaps = {b - a for a, b in itertools.pairwise(chosen)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    if n > 1 and count:
        assert chosen[0] == 0 and chosen[-1] == count - 1


def test_items_are_chosen_not_their_numbers() -> None:
    assert evenly("abcde", 3) == ["a", "c", "e"]
