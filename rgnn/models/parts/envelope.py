"""The cutoff envelope, which makes forces continuous where a neighbour crosses the cutoff."""

import torch
from torch import Tensor

from rgnn.base.choices import Envelope


def envelope(kind: Envelope, d: Tensor, cutoff: float) -> Tensor | None:
    """(1 + cos(pi d / cutoff)) / 2 of distances d [E] for "cosine"; None, which is 1 everywhere, for "none"."""
    return None if kind == "none" else 0.5 * (1 + torch.cos(torch.pi * d / cutoff))
