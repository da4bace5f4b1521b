"""rgnn costs: operations, energy, time and area of a model on a chip and in digital hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options
from rgnn_cli.session.options import HARDWARE

Model = Annotated[Path | None, typer.Argument(help="Model folder or training run; default: the newest here.")]
Store = Annotated[Path | None, typer.Argument(help="Graph store of the mean frame; default: that of the training.")]
AdcBits = Annotated[
    int | None,
    typer.Option(min=1, max=16, help="Bits of the output converters; default: as trained.", rich_help_panel=HARDWARE),
]
Table = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with figures and their sources; default: the packaged table.", rich_help_panel=HARDWARE
    ),
]
Sources = Annotated[bool, typer.Option("--sources", help="List of all figures with their sources.")]


def costs(
    model: Model = None,
    store: Store = None,
    bits: options.BitsAsTrained = None,
    adc_bits: AdcBits = None,
    table: Table = None,
    sources: Sources = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Count the operations of a frame, an MD step and an epoch, and estimate energy, time and area.

    Example: rgnn costs runs/latest --bits 4

    Counts are exact. Energy, time and area are estimates, not measured: they
    follow from low, nominal and high figures in the literature, each with its
    source and technology node (--sources).
    """
    from rgnn.costs import estimate_costs
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import costs as show

    session = Session(quiet=quiet, as_json=as_json)
    path = model or session.newest_model()
    study = estimate_costs(path, store, bits=bits, adc_bits=adc_bits, figures=table, newest_store=session.newest_store)
    show.costs(session.report, study)
    if sources:
        show.sources(session.report, study.figures)
    session.result(study.to_mapping())
