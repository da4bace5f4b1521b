"""The published files of the RGNN authors, read without running any code in them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.chip.cells import Cells
from rgnn.chip.hardware import Hardware
from rgnn.chip.published import read_torch_file
from rgnn.models.message_passing.layers import ReservoirLayer, TrainedLayer
from rgnn.models.message_passing.model import RGNN
from rgnn.models.message_passing.saved_module import is_saved_module, read_saved_module
from rgnn.models.settings import MessagePassingSettings

# What the published model was trained on: amorphous Li3PO4 (Xu et al. 2025).
PUBLISHED_ELEMENTS = (3, 8, 15)


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of the published `checkpoint.pkl`, or of a `best_model`, under the published program's names.

    Raises:
        InputError: no model of the published program, damaged, or not finite.
    """
    if is_saved_module(path):
        state: Any = read_saved_module(path)
    else:
        content = read_torch_file(path)
        state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or "gnn.initial_node_embedding.weight" not in state:
        raise InputError(f"{path}: holds no model of the published program (no 'gnn.initial_node_embedding.weight').")
    strange = [str(name) for name, tensor in state.items() if not isinstance(tensor, Tensor)]
    if strange or state["gnn.initial_node_embedding.weight"].ndim != 2:
        raise InputError(
            f"{path}: '{(strange or ['gnn.initial_node_embedding.weight'])[0]}' is not a matrix; fetch the file again."
        )
    bad = [name for name, tensor in state.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if bad:
        raise InputError(f"{path}: '{bad[0]}' is not finite; fetch the file again.")
    return state


def model_from_published(
    state: dict[str, Tensor], weights: Sequence[Sequence[Cells | Tensor]], where: str = "checkpoint"
) -> RGNN:
    """The published model from its tensors and the chip's matrices.

    Args:
        state: tensors under the published program's names; reservoir weights in it are ignored.
        weights: six matrices for each reservoir layer, as from `read_conductances`.
        where: named in errors.

    Raises:
        InputError: a tensor is missing or has another shape, or a reservoir layer has a bias that is not zero.
    """
    f = state["gnn.initial_node_embedding.weight"].shape[1]
    found = (re.match(r"gnn\.message_passings\.(\d+)\.", name) for name in state)
    layers = max((1 + int(match[1]) for match in found if match), default=0)
    config = MessagePassingSettings.published().override(
        n_features=f, reservoir_layers=len(weights), trained_layers=layers - len(weights)
    )
    model = RGNN(config, Hardware.published(), weights)
    names = published_names(model)
    own = model.state_dict()
    for theirs, ours in names.items():
        if theirs not in state:
            raise InputError(f"{where}: has no tensor '{theirs}'.")
        if state[theirs].shape != own[ours].shape:
            raise InputError(f"{where}: '{theirs}' is {tuple(state[theirs].shape)}, expected {tuple(own[ours].shape)}.")
        own[ours] = state[theirs]
    for theirs, tensor in state.items():
        if theirs.endswith(".bias") and theirs not in names and tensor.any():
            raise InputError(f"{where}: '{theirs}' is not zero, but reservoir layers have no biases.")
    model.load_state_dict(own)
    return model.eval()


def published_names(model: RGNN) -> dict[str, str]:
    """The published program's name of each tensor -> ours."""
    names = {"gnn.initial_node_embedding.weight": "embedding", "gnn.initial_edge_embedding.width": "radial.s"}
    names |= {"gnn.initial_edge_embedding.offset": "radial.mu"}
    for index, layer in enumerate(model.layers):
        names |= _layer_names(f"gnn.message_passings.{index}.", f"layers.{index}.", layer)
    for index, name in enumerate(("first", "second")):
        names |= {f"output_force.out_net.{index}.{part}": f"head.{name}.{part}" for part in ("weight", "bias")}
    return names


def _layer_names(theirs: str, ours: str, layer: torch.nn.Module) -> dict[str, str]:
    """Published tensor names -> ours, for one message-passing layer."""
    parts = {"update_node.bn": "bn_node", "update_edge.bn_two_body": "bn_two", "update_edge.bn_three_body": "bn_three"}
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {f"{theirs}{a}.{k}": f"{ours}{b}.{k}" for a, b in parts.items() for k in kinds}
    if isinstance(layer, TrainedLayer):
        linear = {"update_node.fc1": "node.0", "update_node.fc2": "node.2"}
        linear |= {"update_edge.fc_two_body_1": "two.0", "update_edge.fc_two_body_2": "two.2"}
        linear |= {"update_edge.fc_three_body_1": "three_first", "update_edge.fc_three_body_2": "three_second"}
        names |= {f"{theirs}{a}.{k}": f"{ours}{b}.{k}" for a, b in linear.items() for k in ("weight", "bias")}
    else:
        assert isinstance(layer, ReservoirLayer)
    return names
