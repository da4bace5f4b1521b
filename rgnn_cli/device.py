"""The device and the threads that a command computes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rgnn.errors import InputError
from rgnn_cli.options import Device

if TYPE_CHECKING:
    import torch


def choose_device(device: Device, threads: int | None = None) -> torch.device:
    """`auto` takes a CUDA device where there is one, else the CPU; sets the number of CPU threads.

    Raises:
        InputError: the device asked for is not here.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if device is Device.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = {Device.CPU: True, Device.CUDA: torch.cuda.is_available()}
    if not here[device]:
        raise InputError(
            f"--device {device.value}: torch finds no such device here; use --device cpu, or see rgnn doctor."
        )
    return torch.device(device.value)
