"""Which combinations a search tries: the model's answers are given, as noise that each combination bears."""

import pytest

from rgnn import Hardware
from rgnn.base.estimate import Estimate
from rgnn.evaluation import search as searching


def searched(monkeypatch, bears: dict[tuple[int, int], float], names: list[str]) -> list[tuple[int, int, float]]:
    """(bits, adc_bits, noise) of what is found, where a combination that is not named fails without noise too."""

    class Tries:
        ideal, count = None, 0

        def __init__(self, *_: object) -> None:
            pass

        def good(self, hardware: Hardware) -> searching.Found | None:
            bearable = bears.get((hardware.bits, hardware.adc_bits))
            one = Estimate(1.0, 1.0, 1.0)
            return None if bearable is None or (hardware.noise or 0) > bearable else searching.Found(hardware, one, one)

        most_noise = searching._Tries.most_noise

    monkeypatch.setattr(searching, "_Tries", Tries)
    base = Hardware(adc_bits=8, noise=None)
    found = searching.search(None, None, [0], base, names, 0.1).found
    return [(f.hardware.bits, f.hardware.adc_bits, f.hardware.noise or 0.0) for f in found]


def test_more_input_bits_are_tried_after_more_output_bits_bear_no_more_noise(monkeypatch) -> None:
    """The search used to end with the first input bits; it ends with those that bear no more than the ones before."""
    bears = {(b, a): 0.05 for b in range(4, 13) for a in range(5, 15)}
    found = searched(monkeypatch, bears, ["bits", "adc_bits", "noise"])
    assert [f[:2] for f in found] == [(4, 5), (4, 6), (5, 5), (5, 6)]
    bears = {(b, a): 0.05 if b == 4 else 0.2 for b in range(4, 13) for a in range(5, 15)}
    found = searched(monkeypatch, bears, ["bits", "adc_bits", "noise"])
    assert [f[:2] for f in found] == [(4, 5), (4, 6), (5, 5), (5, 6), (6, 5), (6, 6)]
    assert found[2][2] == pytest.approx(0.2, rel=0.02)


def test_without_noise_only_what_is_cheapest_in_one_count_is_kept(monkeypatch) -> None:
    bears = {(b, a): 0.0 for b in range(4, 13) for a in range(14 - b, 15)}
    assert [f[:2] for f in searched(monkeypatch, bears, ["bits", "adc_bits"])] == [(b, 14 - b) for b in range(4, 13)]
