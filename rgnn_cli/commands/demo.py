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
    """Go from a trajectory to molecular dynamics on a simulated chip, without a network.

    Example: rgnn demo

    A short training on few frames: it shows the way, not the accuracy that the
    model can reach.
    """
    import time

    from rgnn.base.run_folder import clear_run, refuse_existing
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import demo as show

    session = Session(device=device, threads=threads)
    began, say = time.monotonic(), session.report.say
    refuse_existing(out, overwrite)
    for made in ("runs/demo", "eval/demo", "md/demo"):
        clear_run(out / made)
    say(f"In [bold]{out}[/], the demo runs these commands:")
    say("[bold]1 of 4[/]  rgnn fetch-data sample")
    store = show.sample(session, out)
    say(f"\n[bold]2 of 4[/]  rgnn train --bits 4 --noise 0.05 --epochs {EPOCHS}")
    model = show.training(session, store, out / "runs/demo", EPOCHS)
    say("\n[bold]3 of 4[/]  rgnn eval --repeats 2")
    show.evaluation(session, model, store, out / "eval/demo")
    say(f"\n[bold]4 of 4[/]  rgnn md structure.xyz --steps {MD_STEPS} --temperature 300")
    show.dynamics(session, out / "structure.xyz", model, out / "md/demo", MD_STEPS)
    say(
        f"\nDone in {time.monotonic() - began:.0f} s. Look at these in [bold]{out}[/]:\n"
        "  runs/demo/training.png   how the error fell\n"
        "  eval/demo/parity.png     predicted against labelled forces, on frames held out of training\n"
        "  md/demo/                 temperature, radial distributions, trajectory\n"
        "Labels are those of the CHGNet 0.3.0 potential, not of DFT. To go further: the README, rgnn --help, and\n"
        "rgnn convert with a trajectory of your own."
    )
