"""Normal equations."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rgnn.base.errors import InputError

# Relative to the mean of the diagonal.
PENALTIES = tuple(10.0**k for k in range(-8, 0))
# The same for corrections of weights, of which the largest penalty leaves next to nothing.
CORRECTIONS = tuple(10.0**k for k in range(-8, 4))


@dataclass(frozen=True)
class NormalEquations:
    """Sums over the atoms of each of S elements, for n weights each, in float64.

    Attributes:
        a, b: [S, n, n] and [S, n].
        square: [S] sum F^2.
    """

    a: Tensor
    b: Tensor
    square: Tensor

    @classmethod
    def empty(cls, elements: int, n: int) -> "NormalEquations":
        """Of no atoms."""
        zeros = torch.zeros(elements, n + 2, n, dtype=torch.float64)
        return cls(zeros[:, :n], zeros[:, n], zeros[:, n + 1, 0])

    def add(self, design: Tensor, forces: Tensor, kinds: Tensor) -> None:
        """Atoms with their design [N, 3, n], forces [N, 3] and elements [N], in place."""
        for k in range(len(self.b)):
            p = design[kinds == k].flatten(0, 1)
            f = forces[kinds == k].flatten().to(p.dtype)
            self.a[k] += p.T @ p
            self.b[k] += p.T @ f
            self.square[k] += f.double().square().sum()

    def factor(self, k: int, penalty: float) -> Tensor | None:
        """[n, n] L of A + penalty mean(diag A) = L L^T of element k; None where rounding leaves it not positive."""
        diagonal = self.a[k].diagonal().mean().clamp_min(1e-300)
        lower, failed = torch.linalg.cholesky_ex(
            self.a[k] + penalty * diagonal * torch.eye(len(self.b[k]), dtype=torch.float64)
        )
        return None if failed else lower

    def solve(self, k: int, penalty: float) -> Tensor | None:
        """[n] the weights of element k; None where rounding leaves a matrix that is not positive."""
        lower = self.factor(k, penalty)
        return None if lower is None else torch.cholesky_solve(self.b[k][:, None], lower)[:, 0]

    def draws(self, k: int, penalty: float, n: int, generator: torch.Generator) -> Tensor:
        """[n weights, n] draws of covariance (L L^T)^-1: L^-T z, z standard normal."""
        lower = self.factor(k, penalty)
        assert lower is not None
        z = torch.randn(len(lower), n, dtype=torch.float64, generator=generator)
        return torch.linalg.solve_triangular(lower.T, z, upper=True)

    def squared_error(self, k: int, w: Tensor) -> float:
        """Of the weights w over the atoms of element k."""
        return float(self.square[k] - 2 * (w @ self.b[k]) + w @ (self.a[k] @ w))


def best_weights(
    train: NormalEquations, validation: NormalEquations, penalties: Sequence[float] = PENALTIES
) -> tuple[Tensor, list[float]]:
    """[S, n] with the penalty of each element that does best on the validation frames, and these penalties."""

    def best(k: int) -> tuple[Tensor, float]:
        candidates = [(w, penalty) for penalty in penalties if (w := train.solve(k, penalty)) is not None]
        if not candidates:
            raise InputError("the frames' features or forces are not finite; look at the store with rgnn info.")
        if not validation.square[k]:  # no atom to choose it by
            return candidates[-1]
        return min(candidates, key=lambda candidate: validation.squared_error(k, candidate[0]))

    weights, chosen = zip(*(best(k) for k in range(len(train.b))), strict=True)
    return torch.stack(weights), list(chosen)
