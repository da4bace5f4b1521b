"""The device and the threads that a command computes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rgnn.base.errors import InputError
from rgnn_cli.session.console import Reporter

if TYPE_CHECKING:
    import torch

    from rgnn.training.distributed import Processes


def choose_device(
    report: Reporter, device: str, threads: int | None = None, processes: Processes | None = None
) -> torch.device:
    """`auto` takes a CUDA device where there is one, else the CPU; sets the number of CPU threads.

    Says so where the first pass will take long.

    Args:
        report: the console.
        device: "auto", "cpu" or "cuda".
        threads: of the CPU; None is all cores.
        processes: those of a machine take a CUDA device each.

    Raises:
        InputError: the device asked for is not here, or not one for each process.
    """
    import torch

    from rgnn.kernels import must_be_compiled

    if threads is not None:
        torch.set_num_threads(threads)
    here = {"cpu": True, "cuda": torch.cuda.is_available()}
    if device == "auto":
        device = "cuda" if here["cuda"] else "cpu"
    if not here[device]:
        raise InputError(f"--device {device}: torch finds no such device here; use --device cpu, or see rgnn doctor.")
    chosen = torch.device(device)
    if device == "cuda" and processes is not None and processes.here > 1:
        if processes.here > (there := torch.cuda.device_count()):
            raise InputError(
                f"{processes.here} processes on this machine need a CUDA device each, and it has {there}; start no "
                "more than that, or use --device cpu."
            )
        chosen = torch.device("cuda", processes.local)
        torch.cuda.set_device(chosen)
    if must_be_compiled(chosen):
        report.say("First use here: compiling for this processor, which takes half a minute once.")
    return chosen
