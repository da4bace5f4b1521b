"""95% intervals of ratios of sums over frames, draws and chips; correlated frames count for what they are worth.

Frames of one trajectory are cut into blocks longer than their errors stay correlated, and blocks, draws and chips are
drawn with replacement (bootstrap; Efron & Tibshirani 1993). Of n units n - 1 are drawn, which gives a few units the
right variance (Rao & Wu 1988, doi 10.1080/01621459.1988.10478591), and few blocks widen the interval as in Student's t.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from rgnn.base.estimate import Estimate
from rgnn.base.rng import numpy_stream

BOOTSTRAP_DRAWS = 1000
# Blocks are so many correlation lengths (statistical inefficiencies) long.
LENGTHS = 2.0
# Fewer blocks than these bound nothing.
FEWEST_BLOCKS = 10


@dataclass(frozen=True)
class Sample:
    """The frames of an evaluation: which belong to one trajectory, and in which order.

    Attributes:
        number: [frames] place of a frame among all frames, which follow each other in time within a piece.
        piece: [frames] number of its piece of a trajectory; frames of different pieces are independent.
        stratum: [frames] number of its group (its temperature); groups are drawn from apart, as the mix is given.
    """

    number: np.ndarray
    piece: np.ndarray
    stratum: np.ndarray

    @classmethod
    def of_one_run(cls, n: int) -> Self:
        """So many frames of which no more is known: one trajectory, in their order."""
        return cls(np.arange(n), np.zeros(n, dtype=int), np.zeros(n, dtype=int))

    @classmethod
    def of(cls, numbers: Sequence[int] | np.ndarray, sources: np.ndarray, temperatures: np.ndarray) -> Self:
        """Frames of a store.

        Args:
            numbers: [frames] of them in the store.
            sources: [frames] number of the file that a frame came from.
            temperatures: [frames] K, NaN where unknown.
        """
        _, stratum = np.unique(np.nan_to_num(temperatures, nan=-1.0), return_inverse=True)
        _, piece = np.unique(np.stack([sources, stratum]), axis=1, return_inverse=True)
        return cls(np.asarray(numbers), piece.ravel(), stratum.ravel())

    def __len__(self) -> int:
        return len(self.number)

    def of_frames(self, chosen: Sequence[int] | np.ndarray) -> "Sample":
        """Those at these positions."""
        return Sample(self.number[chosen], self.piece[chosen], self.stratum[chosen])

    def blocks(self, series: np.ndarray) -> "Blocks":
        """Blocks of frames that are independent as far as a series [frames] says, which is one value of each frame.

        Groups are drawn from apart where each has two blocks, else from all together.
        """
        strata, inside = np.unique(self.stratum, return_inverse=True)
        means = np.bincount(inside, series) / np.bincount(inside)
        blocks = self._cut(series - means[inside])
        _, first = np.unique(blocks, return_index=True)
        if np.bincount(inside[first], minlength=len(strata)).min(initial=2) >= 2:
            return Blocks(blocks, inside[first])
        blocks = self._cut(series - series.mean())
        return Blocks(blocks, np.zeros(blocks.max() + 1, dtype=int))

    def _cut(self, series: np.ndarray) -> np.ndarray:
        """[frames] number of the block of each frame, for a series without its mean."""
        order = np.lexsort((self.number, self.piece))
        _, first, sizes = np.unique(self.piece[order], return_index=True, return_counts=True)
        runs = [order[start : start + size] for start, size in zip(first, sizes, strict=True)]
        inefficiency = statistical_inefficiency([series[run] for run in runs])
        length = LENGTHS * inefficiency if inefficiency > 1 else 1.0
        blocks, made = np.empty(len(series), dtype=int), 0
        for run in runs:
            n = max(1, int(len(run) / length))
            blocks[run] = made + np.arange(len(run)) * n // len(run)
            made += n
        return blocks


@dataclass(frozen=True)
class Blocks:
    """Independent blocks of frames.

    Attributes:
        of_frame: [frames] the block of each frame.
        stratum: [blocks] the group of each block.
    """

    of_frame: np.ndarray
    stratum: np.ndarray

    def __len__(self) -> int:
        return len(self.stratum)

    @property
    def freedom(self) -> int:
        """Degrees of freedom: blocks less groups."""
        return len(self) - len(np.unique(self.stratum))

    @property
    def bound(self) -> bool:
        """Whether there are enough of them for an interval."""
        return len(self) >= FEWEST_BLOCKS

    def sums(self, values: np.ndarray) -> np.ndarray:
        """[..., blocks] sums of values [..., frames] over the frames of each block."""
        found = np.zeros((*values.shape[:-1], len(self)))
        np.add.at(np.moveaxis(found, -1, 0), self.of_frame, np.moveaxis(values, -1, 0))
        return found

    def drawn(self, seed: int) -> np.ndarray:
        """[draws, blocks] weights of the blocks in each draw; the same for the same seed."""
        rng, weights = numpy_stream(seed, "bootstrap", "frames"), np.empty((BOOTSTRAP_DRAWS, len(self)))
        for stratum in np.unique(self.stratum):
            mine = self.stratum == stratum
            weights[:, mine] = _times_drawn(rng, BOOTSTRAP_DRAWS, int(mine.sum()))
        return weights

    def interval(self, value: float, drawn: np.ndarray) -> Estimate:
        """A value with the interval that its draws [draws] give; unbounded where blocks are too few."""
        from scipy.stats import norm, t

        if not self.bound or not np.isfinite(value):
            return Estimate(value, -np.inf, np.inf)
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        stretch = float(t.ppf(0.975, self.freedom) / norm.ppf(0.975))
        return Estimate(value, value - stretch * (value - float(low)), value + stretch * (float(high) - value))


def statistical_inefficiency(runs: Sequence[np.ndarray]) -> float:
    """How many correlated frames are worth one independent frame, from series without their mean; at least 1.

    g = 1 + 2 sum_k rho(k) up to the first lag whose correlation is not positive (Chodera, J. Chem. Theory Comput. 12,
    1799 (2016), doi 10.1021/acs.jctc.5b00784). Pairs of frames lie in one run; a short run counts its pairs only.
    """
    n = sum(len(run) for run in runs)
    variance = sum(float(run @ run) for run in runs) / max(n, 1)
    if variance <= 0:
        return 1.0
    g = 1.0
    for lag in range(1, max(len(run) for run in runs)):
        long = [run for run in runs if len(run) > lag]
        pairs = sum(len(run) - lag for run in long)
        correlation = sum(float(run[:-lag] @ run[lag:]) for run in long) / pairs / variance
        if correlation <= 0:
            break
        g += 2 * correlation * pairs / n
    return g


@dataclass(frozen=True)
class Ratio:
    """Sums over chips, draws and frames, and their ratio.

    Attributes:
        above, below: [chips, repeats, frames] what is summed, above zero below where anything is known.
    """

    above: np.ndarray
    below: np.ndarray

    @property
    def value(self) -> float:
        """Sum above over sum below; NaN where that is zero."""
        return float(ratio(self.above.sum(), self.below.sum()))

    @property
    def series(self) -> np.ndarray:
        """[frames] what each frame adds to the ratio, up to a factor; its sum is zero."""
        value = self.value
        rest = self.above.mean(axis=(0, 1)) - (0.0 if np.isnan(value) else value) * self.below.mean(axis=(0, 1))
        return np.asarray(rest)

    def drawn(self, blocks: Blocks, seed: int) -> np.ndarray:
        """[draws] the ratio in each draw of blocks, draws and chips."""
        above, below = blocks.sums(self.above), blocks.sums(self.below)
        chips, repeats, _ = above.shape
        rng = numpy_stream(seed, "bootstrap", "chips and repeats")
        by_chip = _times_drawn(rng, BOOTSTRAP_DRAWS, chips)
        by_repeat = _times_drawn(rng, BOOTSTRAP_DRAWS * chips, repeats).reshape(-1, chips, repeats)
        weights = blocks.drawn(seed)
        top, bottom = (
            np.einsum("bc,bcr,bf,crf->b", by_chip, by_repeat, weights, sums, optimize=True) for sums in (above, below)
        )
        return ratio(top, bottom)

    def estimate(self, sample: Sample, seed: int = 0) -> Estimate:
        """The ratio with its interval."""
        blocks = sample.blocks(self.series)
        return blocks.interval(self.value, self.drawn(blocks, seed))

    def root(self, sample: Sample, seed: int = 0) -> Estimate:
        """The square root of the ratio with its interval."""
        blocks = sample.blocks(self.series)
        return blocks.interval(self.value**0.5, np.sqrt(self.drawn(blocks, seed)))

    def over(self, other: "Ratio", sample: Sample, seed: int = 0) -> Estimate:
        """Its value over that of another on the same frames, drawn together: most of the frames' part cancels."""
        share = self.value / other.value if other.value > 0 else float("nan")
        blocks = sample.blocks(self.series - (0.0 if np.isnan(share) else share) * other.series)
        drawn = ratio(self.drawn(blocks, seed), other.drawn(blocks, seed))
        return blocks.interval(share, drawn)


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A / b; NaN where b is not above zero."""
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)


def _times_drawn(rng: np.random.Generator, draws: int, n: int) -> np.ndarray:
    """[draws, n] how often each of n was drawn in n - 1 drawings, scaled to n; once where there is one."""
    if n < 2:
        return np.ones((draws, n))
    return rng.multinomial(n - 1, np.full(n, 1 / n), size=draws) * (n / (n - 1))
