"""Options shared by commands."""

from pathlib import Path
from typing import Annotated

import typer

from rgnn.base.choices import Device

RUNNING = "Running"
HARDWARE = "Hardware"

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.", rich_help_panel=RUNNING)]
Json = Annotated[bool, typer.Option("--json", help="Result as JSON, and nothing else.", rich_help_panel=RUNNING)]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replacement of what already lies at --out.", rich_help_panel=RUNNING)
]
Threads = Annotated[
    int | None, typer.Option(min=1, max=4096, help="CPU threads; default: all cores.", rich_help_panel=RUNNING)
]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Seed of all random numbers; default: 0.", rich_help_panel=RUNNING)
]
Frame = Annotated[int, typer.Option(help="Frame of the structure file, from 0; -1 is the last.")]
StructureFormat = Annotated[
    str | None, typer.Option("--format", help="Format of the structure file by ASE's name; default: recognised.")
]
Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file with settings; options override it.", rich_help_panel=RUNNING)
]
BITS, NOISE = "Input bits of the converters", "Conductance fluctuation relative to each weight (0.05 is 5%)"
Bits = Annotated[
    int | None, typer.Option(min=1, max=16, help=f"{BITS}; default: the preset's.", rich_help_panel=HARDWARE)
]
Noise = Annotated[float | None, typer.Option(min=0, help=f"{NOISE}; default: the preset's.", rich_help_panel=HARDWARE)]
BitsAsTrained = Annotated[
    int | None, typer.Option("--bits", min=1, max=16, help=f"{BITS}; default: as trained.", rich_help_panel=HARDWARE)
]
NoiseAsTrained = Annotated[
    float | None, typer.Option("--noise", min=0, help=f"{NOISE}; default: as trained.", rich_help_panel=HARDWARE)
]

HardwareOption = Annotated[
    str | None,
    typer.Option(
        "--hardware", help="Hardware preset, or a YAML file; see rgnn info hardware.", rich_help_panel=HARDWARE
    ),
]

SweptBits = Annotated[
    str | None, typer.Option("--bits", help="Input bits to sweep: 4 or 2:8 or 2,4,8.", rich_help_panel=HARDWARE)
]
SweptNoise = Annotated[
    str | None, typer.Option("--noise", help="Conductance fluctuations to sweep: 0,0.05,0.1.", rich_help_panel=HARDWARE)
]
SweptSlowNoise = Annotated[
    str | None,
    typer.Option("--slow-noise", help="1/f fluctuations to sweep: 0,0.05,0.1.", rich_help_panel=HARDWARE),
]
SweptProgrammingNoise = Annotated[
    str | None,
    typer.Option(
        "--programming-noise", help="Frozen programming errors of cells to sweep: 0,0.05.", rich_help_panel=HARDWARE
    ),
]
Vary = Annotated[
    list[str] | None,
    typer.Option("--vary", help="Any other setting to sweep, such as adc_bits=4:8.", rich_help_panel=HARDWARE),
]

DeviceOption = Annotated[
    Device,
    typer.Option("--device", help="Device to compute on; auto is a GPU where there is one.", rich_help_panel=RUNNING),
]

Driver = Annotated[
    str | None,
    typer.Option(
        "--driver",
        help="Board to measure on: 'process: COMMAND', 'folder: PATH', MODULE:NAME or 'simulator'.",
        rich_help_panel=HARDWARE,
    ),
]
BoardTimeout = Annotated[
    float,
    typer.Option("--timeout", min=0.01, help="Time until a silent board counts as lost, s.", rich_help_panel=HARDWARE),
]
Refit = Annotated[
    int,
    typer.Option("--refit", min=0, help="Training frames to fit the digital part on again.", rich_help_panel=HARDWARE),
]
