"""Ranges of converters for hardware that a model was not trained with."""

from collections.abc import Iterable

import torch

from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph
from rgnn.models.base import ForceField

# Frames that ranges are made from where nobody says otherwise.
CALIBRATION_FRAMES = 8


def needs_calibration(model: ForceField, hardware: Hardware) -> bool:
    """Whether the model lacks a range that this hardware needs."""
    inputs = hardware.range == "calibrated" and hardware.bits is not None
    outputs = hardware.adc_bits is not None and hardware.adc_range == "calibrated"
    return any(
        (inputs and bool(torch.isnan(crossbar.low)))
        or (outputs and (crossbar.adc_low is None or bool(torch.isnan(crossbar.adc_low).any())))
        for crossbar in model.crossbars
    )


@torch.no_grad()
def calibrate(model: ForceField, graphs: Iterable[Graph], hardware: Hardware, seed: int = 0) -> None:
    """Let the ranges that the model lacks span what these graphs bring about on this hardware, and keep them.

    Ranges that it has from training stay as they are. Every graph is seen twice: what a later layer meets
    depends on the ranges of those before it.

    Raises:
        InputError: there are no graphs.
    """
    graphs = list(graphs)
    if not graphs:
        raise InputError("there are no frames to calibrate the converters with; name a store of frames.")
    for crossbar in model.crossbars:
        crossbar.follows_inputs = bool(torch.isnan(crossbar.low))
        crossbar.follows_outputs = crossbar.adc_low is None or bool(torch.isnan(crossbar.adc_low).any())
    try:
        for number, g in enumerate([*graphs, *graphs]):
            model(g.to(model.device), model.read(hardware, torch_stream(seed, "calibration", number)))
    finally:
        for crossbar in model.crossbars:
            crossbar.follows_inputs = crossbar.follows_outputs = False
