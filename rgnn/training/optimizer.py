"""Adam, and a learning rate that falls when the validation error has stopped falling."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Torch's Adam (Kingma & Ba 2015) in its functional form.

    The optimizer objects of torch import its compiler, which takes as long as the rest of torch and 70 MB, to
    compute the same numbers.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.first = [torch.zeros_like(p) for p in parameters]
        self.second = [torch.zeros_like(p) for p in parameters]
        self.steps = [torch.tensor(0.0) for _ in parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the parameters that have a gradient."""
        moved = [
            (p, p.grad, first, second, step)
            for p, first, second, step in zip(self.parameters, self.first, self.second, self.steps, strict=True)
            if p.grad is not None
        ]
        params, gradients, first, second, steps = (list(some) for some in zip(*moved, strict=True))
        adam(
            params, gradients, first, second, [], steps, foreach=params[0].is_cuda,
            amsgrad=False, beta1=BETA1, beta2=BETA2, lr=rate, weight_decay=0.0, eps=EPSILON, maximize=False,
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts by name, as they are now."""
        lists = {"first": self.first, "second": self.second, "steps": self.steps}
        return {f"{name}/{k}": t for name, tensors in lists.items() for k, t in enumerate(tensors)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state.

        Raises:
            KeyError, RuntimeError: it is of another model.
        """
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


@dataclass
class Plateau:
    """The learning rate: times `factor` whenever the error has not fallen by 0.1 % for more than `patience` epochs."""

    rate: float
    factor: float
    patience: int
    smallest: float
    best: float = math.inf
    epochs_since_best: int = 0

    def follow(self, error: float) -> None:
        """One more epoch ended with this error."""
        if error < self.best * (1 - 1e-3):
            self.best, self.epochs_since_best = error, 0
        else:
            self.epochs_since_best += 1
        if self.epochs_since_best > self.patience:
            self.rate, self.epochs_since_best = max(self.rate * self.factor, self.smallest), 0
