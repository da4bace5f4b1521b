"""Costs beside accuracy."""

import pytest

from rgnn import Hardware
from rgnn.base.estimate import Estimate
from rgnn.costs import Figures, compare, operations, workload
from rgnn.costs.prices import best, prices
from rgnn.reports.tradeoff import cheapest_first, rounded


class Frames:
    def __init__(self, graph) -> None:
        self.one = graph

    def graph(self, index: int):
        return self.one


def test_a_price_is_what_the_estimate_says(small_model, glass) -> None:
    settings = [Hardware(bits=None, noise=None), Hardware(bits=4), Hardware(bits=8), Hardware(bits=8, adc_bits=10)]
    none, four, eight, fine = prices(small_model, Frames(glass), [0], settings)
    assert none is None
    ops = operations(small_model.settings, workload([glass]))
    for level, end in (("low", "low"), ("nominal", "value"), ("high", "high")):
        chip = compare(ops, settings[2], Figures.packaged(), level).chip
        assert getattr(eight.energy, end) == pytest.approx(1e-12 * chip.total)
    assert four.energy.value < eight.energy.value < fine.energy.value
    assert four.time.value == pytest.approx(eight.time.value / 2)
    assert four.area == eight.area


def test_the_front_is_beaten_by_none() -> None:
    errors, energies = [3.0, 1.0, 2.0, 2.5, 1.0], [1.0, 4.0, 2.0, 3.0, 5.0]
    assert best(errors, energies) == [0, 2, 1]


def test_numbers_have_two_digits_and_their_range() -> None:
    assert rounded(Estimate(8.123e-6, 5.21e-6, 1.29e-5), "J") == "8.1 µJ (5.2 to 13)"
    assert rounded(Estimate(0.1234, 0.056, 1.71), "mm²") == "0.12 mm² (0.056 to 1.7)"
    assert rounded(Estimate(1.2e-4, 9.9e-5, 2e-3), "s") == "120 µs (99 to 2,000)"


def test_the_cheapest_comes_first(small_model, glass) -> None:
    settings = [Hardware(bits=8), Hardware(bits=3, noise=0.1), Hardware(bits=3, noise=0.2)]
    ranked = cheapest_first("abc", settings, prices(small_model, Frames(glass), [0], settings))
    assert [name for name, _ in ranked] == ["c", "b", "a"]
