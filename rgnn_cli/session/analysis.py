"""Options that say how a trajectory is analysed, shared by rgnn analyse and rgnn sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rgnn.analysis import AnalysisSettings, OfElement

ANALYSIS = "Analysis"

Skip = Annotated[
    str,
    typer.Option(help="Equilibration to leave out: part of a run, or a time as 5ps.", rich_help_panel=ANALYSIS),
]
Width = Annotated[float, typer.Option(help="Width of a bin of g(r), Å.", rich_help_panel=ANALYSIS)]
Reach = Annotated[float, typer.Option(help="Largest distance of g(r), Å.", rich_help_panel=ANALYSIS)]
FitFrom = Annotated[
    float | None,
    typer.Option(
        help="Shortest lag in the fit of diffusion, ps; default: by the hop, see docs.", rich_help_panel=ANALYSIS
    ),
]


Hops = Annotated[
    list[str] | None,
    typer.Option(
        "--hop", help="Length of an element's hop, Å, as Li=2.9; default: its peak of g(r).", rich_help_panel=ANALYSIS
    ),
]
Charges = Annotated[
    list[str] | None,
    typer.Option("--charge", help="Formal charge of an ion, e, as Li=1, for conductivity.", rich_help_panel=ANALYSIS),
]
Kelvin = Annotated[
    float | None,
    typer.Option("--temperature", help="Temperature of runs that do not say theirs, K.", rich_help_panel=ANALYSIS),
]


def settings(
    skip: str,
    width: float,
    reach: float,
    fit_from: float | None,
    sound_part: bool = False,
    hops: Sequence[str] | None = None,
    charges: Sequence[str] | None = None,
    temperature: float | None = None,
) -> AnalysisSettings:
    """As the command line gives them."""
    from rgnn.analysis import AnalysisSettings

    part, ps = _skip(skip)
    return AnalysisSettings(
        r_max=reach, width=width, skip=part, skip_ps=ps, fit_from=fit_from, hops=_of_elements(hops, "--hop"),
        sound_part=sound_part, charges=_of_elements(charges, "--charge"), temperature=temperature,
    )  # fmt: skip


def _of_elements(texts: Sequence[str] | None, option: str) -> tuple[OfElement, ...]:
    """'Li=1', or several with commas."""
    from rgnn.analysis import OfElement
    from rgnn.base.errors import InputError

    found = list[OfElement]()
    for part in ",".join(texts or ()).replace(" ", ",").split(","):
        symbol, _, value = part.partition("=")
        if not part:
            continue
        try:
            number = float(value)
        except ValueError:
            raise InputError(f"{option} is {part!r}; write an element and a number, as Li=1.") from None
        found.append(OfElement(element=symbol, value=number))
        if symbol in {x.element for x in found[:-1]}:
            raise InputError(f"{option} names {symbol} twice; give it once.")
    return tuple(found)


def _skip(text: str) -> tuple[float, float | None]:
    """'20%' or '0.2' of a run, or '5ps'."""
    from rgnn.base.errors import InputError

    try:
        if text.endswith("ps"):
            return 0.0, float(text.removesuffix("ps"))
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1), None
    except ValueError:
        raise InputError(f"--skip is {text!r}; write it as 20%, as 0.2 or as 5ps.") from None
