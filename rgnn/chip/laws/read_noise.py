"""How far one read of a cell is from its mean, by its conductance."""

from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.base.settings import Number, Settings

# Share of the cells that may lie outside of the conductances of a law, which is held at its ends there.
OUTSIDE = 0.1


def require_covered(siemens: Tensor, low: float, high: float, law: str) -> None:
    """Refuse a law that was not measured at the conductances of most cells.

    Raises:
        InputError: more than a tenth of the conductances lie outside.
    """
    outside = float(((siemens < low) | (siemens > high)).double().mean())
    if outside > OUTSIDE:
        raise InputError(
            f"{law} was measured from {1e6 * low:.3g} to {1e6 * high:.3g} uS, but {100 * outside:.0f}% of the cells "
            f"conduct less or more ({1e6 * float(siemens.min()):.3g} to {1e6 * float(siemens.max()):.3g} uS); fit it "
            "to cells like these, or leave it out."
        )


class ReadNoiseLaw(Settings):
    """sigma(G) = s (G / G0)^p and a scatter from cell to cell; a sum of many cells sees their mean square.

    The median cell has s (G / G0)^p exp(c ln(G / G0)^2), and ln sigma scatters about it by `scatter`. The root mean
    square of cells is `rms_over_median` times it, as found from the cells themselves (Duan's smearing estimate, J. Am.
    Stat. Assoc. 78, 605 (1983)).
    """

    reference: Number = Field(gt=0)
    """Conductance G0, siemens."""
    deviation_at_reference: Number = Field(gt=0)
    """Standard deviation of one read of the median cell at G0, siemens."""
    exponent: Number
    """Exponent p."""
    curvature: Number = 0.0
    """Coefficient c of the square of ln(G / G0)."""
    scatter: Number = Field(default=0.0, ge=0, le=3)
    """Standard deviation of ln sigma from cell to cell."""
    rms_over_median: Number = Field(default=1.0, gt=0, le=1000)
    """Root mean square of cells over the median cell."""
    conductance: tuple[Number, Number]
    """Smallest and largest conductance that it was fitted to, siemens; it is held at its ends outside."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not 0 < self.conductance[0] <= self.conductance[1]:
            raise InputError(f"conductance is {list(self.conductance)}, but it must be two rising numbers above 0.")
        return self

    def median(self, siemens: Any) -> Any:
        """Standard deviation of one read of the median cell in siemens, for conductances (NumPy or tensor)."""
        x = torch.as_tensor(siemens).clamp(*self.conductance).div(self.reference).log()
        found = self.deviation_at_reference * torch.exp(self.exponent * x + self.curvature * x.square())
        return found if isinstance(siemens, Tensor) else found.numpy()

    def deviation(self, siemens: Any) -> Any:
        """Root mean square over cells of the standard deviation of one read, siemens."""
        return self.rms_over_median * self.median(siemens)

    def reference_of(self, pair: Tensor, siemens: float | Tensor, factor: Tensor | float = 1.0) -> Tensor:
        """[out, in] deviation of weights G+ - G- in the model's units, sqrt(sigma(G+)^2 + sigma(G-)^2).

        Args:
            pair: [2, out, in] in the model's units.
            siemens: conductance of one unit of weight.
            factor: that each cell's fluctuation is seen with.

        Raises:
            InputError: the law does not cover these conductances.
        """
        unit = float(siemens)
        g = unit * pair
        require_covered(g, *self.conductance, "the law of the read noise")
        return (factor * torch.as_tensor(self.deviation(g))).square().sum(0).sqrt() / unit
