"""What is wrong with the converters of single columns, and how the digital side makes up for it."""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from rgnn.base.rng import Key, torch_stream
from rgnn.chip.hardware import Hardware

# Half waves of the nonlinearity's shape; the amplitude of the k-th falls as 1 / k.
WAVES = 3
# Known sums that a converter is calibrated with, spread evenly over its range.
RAMP = 64


@dataclass(frozen=True)
class AdcErrors:
    """Errors of the converter of each column and tile: p -> (1 + g) p + o + sum_k a_k sin(k pi u).

    p is a column sum in steps (LSB) from level 0, and u goes from 0 to 1 over the converter's range. g and o are normal
    with the deviations given. The last term is the integral nonlinearity by end points (IEEE Std 1241-2010), smooth and
    zero at both ends of the range; its root mean square over the range is the deviation given. All are drawn once for a
    chip.

    The calibration ("linear") is that of NeuRRAM (Wan et al., Nature 608, 504 (2022), doi 10.1038/s41586-022-04992-8,
    Methods): known sums are converted, a line is fitted to the codes of each column, and from then on its slope and
    intercept are taken out of every code. What is left are the nonlinearity's deviations from a line.

    Attributes:
        gain, offset: [tiles, out].
        bow: [tiles, WAVES, out] amplitudes, LSB; None where converters are linear.
        calibrated: whether slope and intercept are taken out.
    """

    gain: Tensor
    offset: Tensor
    bow: Tensor | None
    calibrated: bool

    @classmethod
    def of(cls, hardware: Hardware, like: Tensor, place: tuple[Key, ...]) -> Self | None:
        """Those of the converters of a matrix `like` [out, in] on the chip; None where they are without error.

        `place` keeps arrays apart.
        """
        deviations = hardware.adc_gain, hardware.adc_offset, hardware.adc_nonlinearity
        if not any(deviations):
            return None
        tiles, stream = -(-like.shape[1] // hardware.tile[0]), torch_stream(hardware.chip, "adc", *place)
        z = torch.randn((tiles, 2 + WAVES, like.shape[0]), generator=stream)  # on the CPU: the same on every device
        share = torch.arange(1, WAVES + 1)[:, None].float().reciprocal()
        share = share * math.sqrt(2 / float(share.square().sum()))
        gain, offset = deviations[0] * z[:, 0], deviations[1] * z[:, 1]
        bow = (deviations[2] * share * z[:, 2:]).to(like) if deviations[2] else None
        return cls(gain.to(like), offset.to(like), bow, hardware.adc_calibration == "linear")

    def distorted(self, p: Tensor, first: Tensor, last: int, tile: int) -> Tensor:
        """[rows, out] sums in LSB as the converters of a tile see them; codes go from `first` [out] to first + last."""
        seen = torch.addcmul(self.offset[tile], p, 1 + self.gain[tile])
        if self.bow is None:
            return seen
        u = p.sub(first).mul_(1 / last).clamp_(0, 1).mul_(math.pi)
        before, wave, twice_cosine = torch.zeros_like(u), torch.sin(u), torch.cos(u).mul_(2)
        for k in range(WAVES):  # sin (k + 1) u = 2 cos u sin k u - sin (k - 1) u
            seen.addcmul_(wave, self.bow[tile, k])
            before, wave = wave, twice_cosine * wave - before
        return seen

    def line(self, first: Tensor, last: int, tile: int) -> tuple[Tensor, Tensor]:
        """Slope and intercept [out] of the codes against known sums, in LSB from level 0, by least squares.

        Codes at the ends of the range may have saturated and are left out; fewer than two others leave the column as
        it is.
        """
        p = first + torch.linspace(0, last, RAMP, dtype=first.dtype, device=first.device)[:, None]
        code = self.distorted(p, first, last, tile).round_() - first
        inside = ((code > 0) & (code < last)).to(p.dtype)
        n = inside.sum(0).clamp_min(1)
        middle, mean = (inside * p).sum(0) / n, (inside * (code + first)).sum(0) / n
        dp = inside * (p - middle)
        power = dp.square().sum(0)
        slope = torch.where(power > 0, (dp * (code + first - mean)).sum(0) / power.clamp_min(1e-30), 1.0)
        slope = torch.where(slope > 0, slope, 1.0)
        return slope, torch.where(power > 0, mean - slope * middle, 0.0)
