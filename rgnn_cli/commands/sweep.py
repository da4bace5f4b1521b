"""rgnn sweep: the same molecular dynamics on several settings of the hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import analysis, options
from rgnn_cli.session.options import RUNNING

DYNAMICS = "Dynamics"

Structure = Annotated[Path | None, typer.Argument(help="Structure file that ASE reads.")]
Model = Annotated[Path | None, typer.Option(help="Model folder or training run; default: the newest here.")]
Chips = Annotated[
    int,
    typer.Option(min=1, help="Draws of what is frozen on a chip, a run for each.", rich_help_panel=options.HARDWARE),
]
Steps = Annotated[int, typer.Option(min=1, help="Number of steps of each run.", rich_help_panel=DYNAMICS)]
Temperature = Annotated[float, typer.Option(help="Temperature, K.", rich_help_panel=DYNAMICS)]
Timestep = Annotated[float, typer.Option(help="Time step, fs.", rich_help_panel=DYNAMICS)]
Friction = Annotated[float, typer.Option(help="Thermostat friction, 1/fs.", rich_help_panel=DYNAMICS)]
Every = Annotated[int, typer.Option(min=1, help="Steps between frames and log rows.", rich_help_panel=DYNAMICS)]
Out = Annotated[Path | None, typer.Option(help="Folder of the sweep; default: sweeps/NAME-001 and so on.")]
Resume = Annotated[Path | None, typer.Option(help="Folder of a sweep to continue.", rich_help_panel=RUNNING)]


def sweep(
    ctx: typer.Context,
    structure: Structure = None,
    model: Model = None,
    bits: options.SweptBits = None,
    noise: options.SweptNoise = None,
    slow_noise: options.SweptSlowNoise = None,
    programming_noise: options.SweptProgrammingNoise = None,
    vary: options.Vary = None,
    hardware: options.HardwareOption = None,
    driver: options.Driver = None,
    timeout: options.BoardTimeout = 60.0,
    chips: Chips = 1,
    steps: Steps = 10_000,
    temperature: Temperature = 300.0,
    timestep: Timestep = 1.0,
    friction: Friction = 0.01,
    every: Every = 10,
    frame: options.Frame = -1,
    skip: analysis.Skip = "20%",
    width: analysis.Width = 0.02,
    reach: analysis.Reach = 6.0,
    fit_from: analysis.FitFrom = None,
    out: Out = None,
    resume: Resume = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Run the same dynamics on the ideal chip, as trained, and on each hardware setting.

    Example: rgnn sweep structure.xyz --bits 4,8 --noise 0,0.05,0.1 --steps 20000

    Start, velocities and thermostat are the same in all runs. Shows how far
    g(r) moves from the ideal chip's, beside what statistics alone do, and how
    coordination, diffusion and heating change. --driver adds a run on a board.
    Ctrl-C saves the state; rgnn sweep --resume DIR continues, and keeps the
    runs that are finished.
    """
    from rgnn.analysis import analyse_sweep
    from rgnn.base.errors import InputError
    from rgnn.md import MDSettings, plan_sweep, resume_sweep, sweep_folder
    from rgnn.reports.sweep import write_sweep
    from rgnn_cli.session import parse
    from rgnn_cli.session.session import Session, refuse_typed_beside_resume
    from rgnn_cli.show import board
    from rgnn_cli.show import sweep as show

    session = Session(quiet=quiet, as_json=as_json, device=device, threads=threads)
    how = analysis.settings(skip, width, reach, fit_from)
    if resume is not None:
        refuse_typed_beside_resume(
            ctx, "structure", "model", "bits", "noise", "slow_noise", "programming_noise", "vary", "hardware", "chips",
            "steps", "temperature", "timestep", "friction", "every", "frame", "out", "seed",
        )  # fmt: skip
        folder, plan = resume, resume_sweep(resume, session.device, board.named(ctx))
    elif structure is None:
        raise InputError("there is no structure to start from; name one, as in: rgnn sweep structure.xyz --bits 4,8")
    else:
        settings = MDSettings(
            steps=steps, temperature=temperature, timestep=timestep, friction=friction, write_every=every,
            seed=seed or 0,
        )  # fmt: skip
        plan = plan_sweep(
            model or session.newest_model(), structure, settings, hardware=hardware, chips=chips, frame=frame,
            vary=parse.choices(bits, noise, vary or [], slow_noise, programming_noise), device=session.device,
            board=board.named(ctx),
        )  # fmt: skip
        folder = sweep_folder(plan, out, overwrite)
    show.introduction(session, plan, folder)
    with session.listening("Sweeping", "steps") as listener:
        folders = plan.run(folder, listener)
    with session.listening("Reading the runs", "frames") as listener:
        runs = analyse_sweep(plan, folders, how, listener)
    show.result(session, runs, how, folder, write_sweep(plan.settings, runs, folder, how))
