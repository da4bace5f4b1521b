"""How trajectories are analysed."""

from typing import Self

from ase.data import atomic_numbers
from pydantic import Field, field_validator, model_validator

from rgnn.base.settings import Flag, Must, Number, Settings, require


class OfElement(Settings):
    """A number that a user gives for an element."""

    element: str
    """Symbol of the element."""
    value: Number
    """The number."""

    @field_validator("element")
    @classmethod
    def _known(cls, symbol: str) -> str:
        if symbol not in atomic_numbers or symbol == "X":
            raise Must("the symbol of an element, such as Li")
        return symbol


class AnalysisSettings(Settings):
    """How trajectories are analysed."""

    r_max: Number = Field(default=6.0, ge=0.5, le=30, json_schema_extra={"unit": "Angstrom"})
    """Reach of g(r), Å."""
    width: Number = Field(default=0.02, ge=0.001, le=0.2, json_schema_extra={"unit": "Angstrom"})
    """Width of a bin of g(r), Å. Nothing is smoothed before distributions are compared."""
    skip: Number = Field(default=0.2, ge=0, lt=1, json_schema_extra={"remark": ", a part of the run"})
    """Part of the run that is left out as equilibration."""
    skip_ps: Number | None = Field(default=None, ge=0)
    """Time that is left out as equilibration, ps; takes precedence over `skip`."""
    fit_from: Number | None = Field(default=None, gt=0)
    """Lag from which diffusion coefficients are fitted, ps; None is a fortieth of what is analysed, or half of the time
    in which the displacement passes a hop."""
    sound_part: Flag = False
    """Only what came before two atoms were too close, or before the run broke off."""
    hops: tuple[OfElement, ...] = ()
    """Length of a hop of an element, Å; without it the first peak of its own g(r)."""
    charges: tuple[OfElement, ...] = ()
    """Formal charges of ions, e; without any there is no conductivity."""
    temperature: Number | None = Field(default=None, gt=0, json_schema_extra={"unit": "K"})
    """Temperature of runs that do not say theirs, K."""

    @property
    def hop_lengths(self) -> dict[int, float]:
        """Given lengths of hops in Angstrom, by atomic number."""
        return {atomic_numbers[x.element]: x.value for x in self.hops}

    @property
    def charge_numbers(self) -> dict[int, float]:
        """Given charges in e, by atomic number."""
        return {atomic_numbers[x.element]: x.value for x in self.charges}

    @model_validator(mode="after")
    def _positive_hops(self) -> Self:
        for hop in self.hops:
            require(hop.value > 0, f"hop of {hop.element}", hop.value, "above 0")
        return self
