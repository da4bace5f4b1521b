import numpy as np
import pytest

from rgnn.evaluation.intervals import Ratio, Sample, statistical_inefficiency


def correlated(rng: np.random.Generator, n: int, memory: float) -> np.ndarray:
    """A stationary series of unit variance in which each value keeps `memory` of the last."""
    x = rng.normal(size=n)
    for k in range(1, n):
        x[k] = memory * x[k - 1] + (1 - memory**2) ** 0.5 * x[k]
    return x


def coverage(make, repeats: int = 200) -> tuple[float, float, float]:
    """Part of samples with an interval, how often that holds the true mean of 1, and its mean width."""
    found = [make(k) for k in range(repeats)]
    bound = [e for e in found if e.bounded]
    return (
        len(bound) / repeats,
        np.mean([e.low <= 1 <= e.high for e in bound]),
        np.mean([e.high - e.low for e in bound]),
    )


def mean_of(x: np.ndarray, sample: Sample | None = None, seed: int = 0):
    return Ratio(x[None, None], np.ones((1, 1, len(x)))).estimate(sample or Sample.of_one_run(len(x)), seed)


def test_the_inefficiency_of_a_known_series() -> None:
    """(1 + memory) / (1 - memory) for a series that forgets geometrically."""
    x = correlated(np.random.default_rng(0), 40_000, 0.8)
    assert statistical_inefficiency([x - x.mean()]) == pytest.approx(9, rel=0.15)
    assert statistical_inefficiency(np.split(x - x.mean(), 100)) == pytest.approx(9, rel=0.2)
    assert statistical_inefficiency([np.zeros(5)]) == 1


def test_frames_that_follow_each_other_count_for_what_they_are_worth() -> None:
    """With a memory of 0.8 nine frames are worth one: the interval is three times as wide as without."""
    rng = np.random.default_rng(1)
    bound, covered, wide = coverage(lambda k: mean_of(1 + 0.1 * correlated(rng, 400, 0.8), seed=k))
    assert bound > 0.9 and covered > 0.88
    _, covered, narrow = coverage(lambda k: mean_of(1 + 0.1 * rng.normal(size=400), seed=k))
    assert 0.9 < covered < 0.99 and wide == pytest.approx(3 * narrow, rel=0.25)


def test_few_frames_bound_nothing() -> None:
    assert not mean_of(np.array([1.0, 1.1, 0.9])).bounded
    assert not mean_of(1 + 0.1 * correlated(np.random.default_rng(0), 60, 0.97)).bounded
    rng = np.random.default_rng(0)
    assert coverage(lambda k: mean_of(rng.normal(1, 0.1, 40), seed=k), 50)[0] > 0.9


def test_the_mix_of_temperatures_is_given() -> None:
    """Errors that differ between temperatures, and hardly within one: groups are drawn from apart."""
    rng = np.random.default_rng(3)
    kelvin = np.repeat([300.0, 600.0, 1000.0], 20)
    x = kelvin / kelvin.mean() + rng.normal(0, 0.01, 60)
    sample = Sample.of(np.arange(60), np.zeros(60, int), kelvin)
    apart, together = mean_of(x, sample), mean_of(rng.permutation(x))
    assert apart.high - apart.low < 0.1 * (together.high - together.low)


def test_frames_in_any_order_are_put_into_theirs() -> None:
    rng = np.random.default_rng(4)
    x, order = 1 + correlated(rng, 300, 0.8), rng.permutation(300)
    whole = Sample.of_one_run(300)
    mixed = mean_of(x[order], Sample(order, whole.piece, whole.stratum))
    straight = mean_of(x)
    assert (mixed.low, mixed.high) == pytest.approx((straight.low, straight.high))


def test_a_sample_of_frames_is_part_of_it() -> None:
    """Of two files of the same temperature, each is a trajectory; unknown temperatures are one group."""
    sample = Sample.of(np.arange(6), np.array([0, 0, 0, 1, 1, 1]), np.array([300.0, 300, np.nan, np.nan, 300, 300]))
    assert sample.stratum.tolist() == [1, 1, 0, 0, 1, 1]
    assert len(set(sample.piece.tolist())) == 4
    assert sample.of_frames([4, 0]).number.tolist() == [4, 0]
