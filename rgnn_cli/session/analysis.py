"""Options that say how a trajectory is analysed, shared by rgnn analyse and rgnn sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rgnn.analysis import AnalysisSettings

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
        help="Shortest lag in the fit of diffusion, ps; default: a twentieth of the run.", rich_help_panel=ANALYSIS
    ),
]


def settings(
    skip: str, width: float, reach: float, fit_from: float | None, sound_part: bool = False
) -> AnalysisSettings:
    """As the command line gives them."""
    from rgnn.analysis import AnalysisSettings

    part, ps = _skip(skip)
    return AnalysisSettings(r_max=reach, width=width, skip=part, skip_ps=ps, fit_from=fit_from, sound_part=sound_part)


def _skip(text: str) -> tuple[float, float | None]:
    """'20%' or '0.2' of a run, or '5ps'."""
    from rgnn.base.errors import InputError

    try:
        if text.endswith("ps"):
            return 0.0, float(text.removesuffix("ps"))
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1), None
    except ValueError:
        raise InputError(f"--skip is {text!r}; write it as 20%, as 0.2 or as 5ps.") from None
