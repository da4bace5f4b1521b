"""rgnn md: molecular dynamics with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn.base.choices import (
    CellMotion,
    CloseContacts,
    Engine,
    Ensemble,
    Ghosts,
    SlowHardware,
    Trajectory,
    UncertaintyChoice,
)
from rgnn_cli.session import options
from rgnn_cli.session.options import RUNNING

DYNAMICS, OUTPUT, MACHINES, SLOW = "Dynamics", "Output", "Many machines", "Multiple time stepping"

Structures = Annotated[list[Path] | None, typer.Argument(help="Structure files that ASE reads; several run together.")]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Model folder, training run, or sample; default: the newest here.")
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Number of steps in total; default: 10000.", rich_help_panel=DYNAMICS)
]
Temperature = Annotated[
    str | None,
    typer.Option(help="Temperature, K, or a ramp as 300:1500; default: 300.", rich_help_panel=DYNAMICS),
]
Timestep = Annotated[float, typer.Option(help="Time step, fs.", rich_help_panel=DYNAMICS)]
EnsembleOption = Annotated[
    Ensemble,
    typer.Option(
        "--ensemble",
        help="Ensemble: nvt is Langevin, bussi rescales velocities, nve has no thermostat; npt, nph hold a pressure.",
        rich_help_panel=DYNAMICS,
    ),
]
Friction = Annotated[float, typer.Option(help="Thermostat friction, 1/fs.", rich_help_panel=DYNAMICS)]
Pressure = Annotated[float, typer.Option(help="Pressure in npt and nph, GPa.", rich_help_panel=DYNAMICS)]
BarostatTime = Annotated[float, typer.Option(help="Time of the barostat, fs.", rich_help_panel=DYNAMICS)]
Cell = Annotated[
    CellMotion,
    typer.Option(
        help="Cell under a pressure: its size, its stretches along x, y, z, or its angles too.",
        rich_help_panel=DYNAMICS,
    ),
]
Minimise = Annotated[
    float | None,
    typer.Option(
        help="Largest force after a relaxation before the run, eV/Å; default: none.", rich_help_panel=DYNAMICS
    ),
]
KeepVelocities = Annotated[
    bool,
    typer.Option(
        "--keep-velocities", help="Velocities of the structure file at the start, not drawn.", rich_help_panel=DYNAMICS
    ),
]
AnyElement = Annotated[
    bool, typer.Option("--any-element", help="Structures with elements not trained on, too.", rich_help_panel=DYNAMICS)
]
CloseContactsOption = Annotated[
    CloseContacts,
    typer.Option(
        "--close-contacts",
        help="Action where atoms are closer than 0.8 of any in training; ignore only logs.",
        rich_help_panel=DYNAMICS,
    ),
]
UncertaintyOption = Annotated[
    UncertaintyChoice,
    typer.Option(
        "--uncertainty",
        help="Uncertainty of forces in log rows; auto is the model's best.",
        rich_help_panel=DYNAMICS,
    ),
]
SlowModelOption = Annotated[
    Path | None,
    typer.Option(
        "--slow-model",
        help="Second model, which corrects the forces of --model every few steps; default: none.",
        rich_help_panel=SLOW,
    ),
]
SlowEvery = Annotated[
    int | None,
    typer.Option("--slow-every", min=1, help="Steps between two corrections; default: 2.", rich_help_panel=SLOW),
]
SlowHardwareOption = Annotated[
    SlowHardware,
    typer.Option("--slow-hardware", help="Hardware of the second model: as trained, or ideal.", rich_help_panel=SLOW),
]
EngineOption = Annotated[
    Engine,
    typer.Option("--engine", help="Program that moves the atoms; lammps runs under mpirun.", rich_help_panel=MACHINES),
]
GhostsOption = Annotated[
    Ghosts,
    typer.Option(
        "--ghosts",
        help="Atoms of other processes: by exchange of features, or deep, which is slow.",
        rich_help_panel=MACHINES,
    ),
]
Input = Annotated[
    Path | None,
    typer.Option("--input", help="LAMMPS input script, which rgnn gives forces to.", rich_help_panel=MACHINES),
]
Elements = Annotated[
    str | None,
    typer.Option(help="Elements of atom types 1, 2, ... in --input, such as Li,O,P.", rich_help_panel=MACHINES),
]
Frames = Annotated[
    str | None, typer.Option(help="Frames of the file to run together: 0:10, 0:90:10 or all; default: --frame.")
]
Out = Annotated[Path | None, typer.Option(help="Run folder; default: md/NAME-001 and so on.", rich_help_panel=OUTPUT)]
Every = Annotated[int, typer.Option(min=1, help="Steps between frames and log rows.", rich_help_panel=OUTPUT)]
TrajectoryOption = Annotated[
    Trajectory, typer.Option("--trajectory", help="Trajectory files to write.", rich_help_panel=OUTPUT)
]
Resume = Annotated[Path | None, typer.Option(help="Run, or folder of runs, to continue.", rich_help_panel=RUNNING)]


def md(
    ctx: typer.Context,
    structures: Structures = None,
    model: ModelOption = None,
    steps: Steps = None,
    temperature: Temperature = None,
    timestep: Timestep = 1.0,
    ensemble: EnsembleOption = "nvt",
    friction: Friction = 0.01,
    pressure: Pressure = 0.0,
    barostat_time: BarostatTime = 1000.0,
    cell: Cell = "isotropic",
    minimise: Minimise = None,
    keep_velocities: KeepVelocities = False,
    any_element: AnyElement = False,
    close_contacts: CloseContactsOption = "stop",
    engine: EngineOption = "ase",
    ghosts: GhostsOption = "exchange",
    input: Input = None,  # noqa: A002
    elements: Elements = None,
    bits: options.BitsAsTrained = None,
    noise: options.NoiseAsTrained = None,
    driver: options.Driver = None,
    timeout: options.BoardTimeout = 60.0,
    slow_model: SlowModelOption = None,
    slow_every: SlowEvery = None,
    slow_hardware: SlowHardwareOption = "trained",
    uncertainty: UncertaintyOption = "auto",
    frame: options.Frame = -1,
    frames: Frames = None,
    format: options.StructureFormat = None,  # noqa: A002
    out: Out = None,
    every: Every = 10,
    trajectory: TrajectoryOption = "both",
    config: options.Config = None,
    resume: Resume = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Run molecular dynamics with a trained model.

    Example: rgnn md structure.xyz --steps 10000 --temperature 600

    Before any training, rgnn md alone runs a packaged structure and model.
    On many machines: mpirun -n 16 rgnn md structure.xyz --engine lammps

    Writes log, trajectory (.traj and extended XYZ), restart file, final
    structure and a figure. Constraints of the structure hold. Stages such as
    melt, quench and hold are a list in the --config file. Ctrl-C saves the
    state; rgnn md --resume DIR continues with the settings of the run.
    """
    from rgnn.md.plan import MDRequest, plan
    from rgnn.md.settings import MDSettings
    from rgnn_cli.session import mpi
    from rgnn_cli.session.session import Session, given, was_typed
    from rgnn_cli.show import board
    from rgnn_cli.show import md as show

    session = Session(quiet=quiet, as_json=as_json, device=device, threads=threads)
    changes = given(ctx, MDSettings, every="write_every")
    changes.pop("temperature", None)  # which may be a ramp
    request = board.continued(MDRequest(
        tuple(structures or ()), model, config, frame if was_typed(ctx, "frame") else None, frames, format,
        temperature, changes, out, resume, overwrite, board.named(ctx), slow_model,
    ))  # fmt: skip
    if input is not None:
        mpi.run_input(session, request, input, elements)
    elif mpi.is_wanted(request, elements):
        mpi.run(session, request)
    else:
        request = show.with_example(session, request)
        job = plan(request, session.device, session.newest_model)
        show.introduction(session, job)
        with session.listening("Dynamics", "steps") as listener:
            outcomes = job.run(listener)
        show.result(session, job, outcomes)
