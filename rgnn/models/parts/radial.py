"""Radial."""

import torch
from torch import Tensor, nn

from rgnn.models.settings import ModelConfig


class Radial(nn.Module):
    """e_g(d) = exp(-(d - mu_g)^2 / (2 s_g^2)): trained Gaussians, mu evenly from 0 to cutoff - 0.5 Angstrom.

    Those of moments are fixed, lie where atoms do, from 0.8 to cutoff - 0.2 Angstrom, and are twice as wide as they
    are apart: several see each distance, so that what few bits do to one of them is averaged.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        moments = config.moments > 0
        first, last = (0.8, config.cutoff - 0.2) if moments else (0, config.cutoff - 0.5)
        mu = torch.linspace(first, last, config.n_features)
        width = torch.full_like(mu, (2 if moments else 1) * float(mu[1] - mu[0]))
        self.mu, self.s = (nn.Parameter(values, requires_grad=not moments) for values in (mu, width))

    def forward(self, d: Tensor) -> Tensor:
        return torch.exp(-0.5 / self.s.square() * (d[:, None] - self.mu).square())
