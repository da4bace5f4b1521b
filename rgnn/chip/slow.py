"""Slow fluctuations of cells, whose spectrum falls as 1/f: what one read finds, the next ones find again.

Each weight has a few traps. A trap keeps a normal value for a period of its own and then takes another one, so that it
is of variance 1 with the autocorrelation 1 - t / T up to T and the spectrum S(f) = T sinc^2(f T). Periods are spread
evenly in their logarithm, from `shortest` to `longest`, one to each factor of about four; the sum over them is

    S(f) ~ integral dlnT T^(a - 1) T sinc^2(f T) ~ 1 / f^a    for 1 / longest << f << 1 / (2 shortest),

with T^(a - 1) for the share of a trap in the variance. (Voss's and McCartney's sum of values that are renewed at
dyadic times, M. Gardner, Scientific American, April 1978, p. 16, with periods and phases of each weight for itself;
traps as the source of 1/f noise in oxides: Kirton & Uren, Adv. Phys. 38, 367 (1989).)

The value of a trap in call n is keyed by the number of its period, floor(n / T + phase): a run that is resumed at call
n finds the chip as it would have been, and nothing has to be saved.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rgnn.base.rng import Key, normal, stream_seed, torch_stream
from rgnn.chip.hardware import Hardware

# Between the periods of a weight's traps.
FACTOR = 4.0


@dataclass(frozen=True)
class Moment:
    """When a chip is read: the number of a force call, in a sequence of calls that has a seed."""

    seed: int
    call: int


@dataclass
class Traps:
    """Those of one matrix; traps belong to the chip, and what they hold to a moment.

    Attributes:
        period: [traps, cells] in calls.
        phase: [traps, cells] share of a period that has passed in call 0.
        share: [traps, cells] of each weight's standard deviation; their squares add up to 1.
        place: keeps matrices apart.
    """

    period: Tensor
    phase: Tensor
    share: Tensor
    place: tuple[Key, ...]
    _at: Moment | None = field(default=None, repr=False)
    _value: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    _due: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)

    @classmethod
    def of(cls, hardware: Hardware, cells: int, place: tuple[Key, ...]) -> "Traps":
        """The traps of a matrix of so many weights on the chip."""
        shortest, longest = hardware.slow_noise_calls
        octaves = math.log(longest / shortest)
        n = max(1, math.ceil(octaves / math.log(FACTOR)))
        lot = torch.rand((2, n, cells), generator=torch_stream(hardware.chip, "traps", *place), dtype=torch.float64)
        period = shortest * torch.exp(octaves * (torch.arange(n, dtype=torch.float64)[:, None] + lot[0]) / n)
        power = period ** (hardware.slow_noise_exponent - 1)
        share = (power / power.sum(0)).sqrt_().float()
        return cls(period, lot[1], share, (hardware.chip, *place))

    def at(self, moment: Moment) -> Tensor:
        """[cells] what the traps of each weight add up to, of standard deviation 1.

        What it found last time is kept, and only traps whose period may have ended since are looked at again.
        """
        known = self._at is not None and self._at.seed == moment.seed and self._at.call <= moment.call
        if not known:
            self._value = torch.empty(self.period.numel())
            self._due = torch.zeros(self.period.numel(), dtype=torch.int64)
        stale = (self._due <= moment.call).nonzero()[:, 0]
        period, phase = self.period.view(-1)[stale], self.phase.view(-1)[stale]
        number = (moment.call / period + phase).floor_()
        key = stream_seed(moment.seed, "slow noise", *self.place)
        self._value[stale] = normal(key, stale + self.period.numel() * number.long(), 1)[:, 0]
        self._due[stale] = ((number + 1 - phase) * period).long() - 1  # a call early, whatever rounding does
        self._at = moment
        return (self.share * self._value.view(self.share.shape)).sum(0)
