"""The published files of the RGNN authors, read without running any code in them."""

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgnn.cells import Cells
from rgnn.config import ModelConfig
from rgnn.errors import InputError, first_line
from rgnn.hardware import Hardware
from rgnn.model import RGNN, ReservoirLayer, TrainedLayer

# What the published model was trained on: amorphous Li3PO4 (Xu et al. 2025).
PUBLISHED_ELEMENTS = (3, 8, 15)
# Plain data that NumPy scalars in a pickle are made of; everything else is refused by torch's restricted reader.
_NUMPY_SCALARS: list[Any] = [
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),  # type: ignore[attr-defined]
    np.dtype,
    type(np.dtype("f8")),
    type(np.dtype("f4")),
    type(np.dtype("i8")),
]


def read_torch_file(path: str | Path) -> Any:
    """Plain containers, numbers and tensors of a file written by `torch.save`; nothing in it is executed.

    Raises:
        InputError: not such a file, cut short, or holding anything else.
    """
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = str(error).split("GLOBAL ")[1].split()[0] if "GLOBAL " in str(error) else None
        what = f"it asks for '{refused}', which is not plain data" if refused else "it is no file written by torch.save"
        raise InputError(
            f"{path}: refused without running it, because {what}; fetch the published file anew."
        ) from None
    except Exception as error:  # a damaged file ends the reader in many ways
        raise InputError(f"{path}: cannot be read ({first_line(error)}); it may be cut short, fetch it anew.") from None


def read_conductances(path: str | Path) -> list[list[Tensor]]:
    """The published `Conductance.pkl`: for each reservoir layer its six signed matrices [out, in].

    Raises:
        InputError: the file holds something else.
    """
    layers = read_torch_file(path)
    good = isinstance(layers, list) and all(
        isinstance(layer, list | tuple) and len(layer) == 6 and all(isinstance(w, Tensor) for w in layer)
        for layer in layers
    )
    if not good or not layers:
        raise InputError(
            f"{path}: expected a list of layers with six matrices each, as in the published Conductance.pkl."
        )
    matrices = [
        [w.squeeze(0).to(torch.float32) if w.ndim == 3 else w.to(torch.float32) for w in layer] for layer in layers
    ]
    if any(w.ndim != 2 or not torch.isfinite(w).all() for layer in matrices for w in layer):
        raise InputError(f"{path}: a conductance matrix is not two-dimensional or not finite; fetch the file anew.")
    return matrices


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of the published `checkpoint.pkl` under the published program's names."""
    content = read_torch_file(path)
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or "gnn.initial_node_embedding.weight" not in state:
        raise InputError(f"{path}: holds no model of the published program (no 'gnn.initial_node_embedding.weight').")
    strange = [str(name) for name, tensor in state.items() if not isinstance(tensor, Tensor)]
    if strange or state["gnn.initial_node_embedding.weight"].ndim != 2:
        raise InputError(
            f"{path}: '{(strange or ['gnn.initial_node_embedding.weight'])[0]}' is no matrix; fetch it anew."
        )
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
    config = ModelConfig.published().replace(
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
