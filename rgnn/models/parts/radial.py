"""Radial functions: what a distance becomes before it drives a chip."""

import torch
from torch import Tensor, nn


class Gaussians(nn.Module):
    """e_g(d) = exp(-(d - mu_g)^2 / (2 s_g^2)), with centres mu evenly from `first` to `last`.

    Args:
        first, last: outermost centres, Angstrom.
        n: number of Gaussians.
        width: s in units of the spacing of the centres.
        trained: whether centres and widths are trained.
    """

    def __init__(self, first: float, last: float, n: int, *, width: float = 1.0, trained: bool) -> None:
        super().__init__()
        mu = torch.linspace(first, last, n)
        s = torch.full_like(mu, width * float(mu[1] - mu[0]))
        self.mu, self.s = (nn.Parameter(values, requires_grad=trained) for values in (mu, s))

    def forward(self, d: Tensor) -> Tensor:
        """[E, n] of distances d [E] in Angstrom."""
        return torch.exp(-0.5 / self.s.square() * (d[:, None] - self.mu).square())
