"""rgnn demo: the whole chain on the packaged sample in two minutes."""

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options

EPOCHS, MD_STEPS = 2, 150


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("rgnn-demo"),
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
) -> None:
    """From a trajectory to molecular dynamics on a simulated chip; needs no network.

    Example: rgnn demo

    A short training on few frames: what it shows is the way, not the accuracy that the model can reach.
    """
    import os
    import time

    from rgnn_cli.commands.evaluate import evaluate
    from rgnn_cli.commands.fetch_data import fetch_sample
    from rgnn_cli.commands.md import md
    from rgnn_cli.commands.train import train
    from rgnn_cli.session import workspace
    from rgnn_cli.session.console import Reporter

    report = Reporter()
    began = time.monotonic()
    workspace.refuse_existing(out, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    home = Path.cwd()
    os.chdir(out)  # the commands find here what the one before made, as a user's would
    try:
        report.say("[bold]1 of 4[/]  rgnn fetch-data sample")
        fetch_sample(Path("data"), report)
        report.say(f"\n[bold]2 of 4[/]  rgnn train --bits 4 --noise 0.05 --epochs {EPOCHS}")
        run, structure = Path("runs/demo"), Path("structure.xyz")
        train(bits=4, noise=0.05, epochs=EPOCHS, out=run, device=device, threads=threads, overwrite=True)
        report.say("\n[bold]3 of 4[/]  rgnn eval --repeats 2")
        evaluate(repeats=2, out=Path("eval/demo"), device=device, overwrite=True)
        report.say(f"\n[bold]4 of 4[/]  rgnn md structure.xyz --steps {MD_STEPS} --temperature 300")
        _write_structure(structure)
        md([structure], steps=MD_STEPS, temperature="300", out=Path("md/demo"), device=device, overwrite=True)
    finally:
        os.chdir(home)
    report.say(
        f"\nDone in {time.monotonic() - began:.0f} s. Look at these in [bold]{out}[/]:\n"
        "  runs/demo/training.png   how the error fell\n"
        "  eval/demo/parity.png     predicted against labelled forces, on frames held out of training\n"
        "  md/demo/                 temperature, radial distributions, trajectory\n"
        "Labels are those of the CHGNet 0.3.0 potential, not of DFT. To go further: the README, rgnn --help, and\n"
        "rgnn convert with a trajectory of your own."
    )


def _write_structure(path: Path) -> None:
    """The last packaged frame at the lowest temperature, as a user's structure file."""
    import ase.io
    from ase import Atoms

    from rgnn.data.sample import sample_frames

    frame = min(sample_frames(), key=lambda f: f.temperature or 0.0)
    atoms = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    ase.io.write(path, atoms, format="extxyz")
