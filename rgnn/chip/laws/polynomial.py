"""Polynomials of one to three coordinates, each scaled to -1 ... 1, as products of Legendre polynomials."""

import itertools
import math
from typing import Any, Self

from pydantic import model_validator

from rgnn.base.errors import InputError
from rgnn.base.settings import Number, Settings, Whole

# A NumPy array or a tensor: sums and products are all that is asked of it.
Values = Any


def legendre(x: Values, degree: int) -> list[Values]:
    """P_0(x) ... P_degree(x), by (k + 1) P_(k+1) = (2k + 1) x P_k - k P_(k-1)."""
    found = [x * 0 + 1, x]
    for k in range(1, degree):
        found.append(((2 * k + 1) * x * found[k] - k * found[k - 1]) / (k + 1))
    return found[: degree + 1]


def products(coordinates: list[Values], degrees: tuple[int, ...]) -> list[Values]:
    """All products of one Legendre polynomial of each coordinate, the degree of the last one running fastest."""
    factors = [legendre(x, degree) for x, degree in zip(coordinates, degrees, strict=True)]
    return [math.prod(chosen[1:], start=chosen[0]) for chosen in itertools.product(*factors)]


class Polynomial(Settings):
    """sum_ij... c_ij... P_i(x) P_j(y) ... with Legendre polynomials P."""

    degrees: tuple[Whole, ...]
    """Highest degree in each coordinate."""
    values: tuple[Number, ...]
    """Coefficients, the degree of the last coordinate running fastest."""

    @model_validator(mode="after")
    def _as_many_values_as_terms(self) -> Self:
        terms = math.prod(degree + 1 for degree in self.degrees)
        if not self.degrees or min(self.degrees) < 0 or len(self.values) != terms:
            raise InputError(f"degrees {list(self.degrees)} need {terms} values, but there are {len(self.values)}.")
        return self

    def __call__(self, coordinates: list[Values]) -> Values:
        """The values at coordinates of one shape."""
        found = products(coordinates, self.degrees)
        return sum((c * term for c, term in zip(self.values[1:], found[1:], strict=True)), self.values[0] * found[0])
