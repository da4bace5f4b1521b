"""Reader of the published conductance files, which unpickles nothing but plain data."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgnn.base.errors import InputError, first_line

# A file may hold a tensor twice, but not thousands of times.
EXPANDED = 16
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
            content = torch.load(path, map_location="cpu", weights_only=True)
        _require_real(content, Path(path).stat().st_size)
        return content
    except pickle.UnpicklingError as error:
        refused = str(error).split("GLOBAL ")[1].split()[0] if "GLOBAL " in str(error) else None
        what = f"it asks for '{refused}', which is not plain data" if refused else "it was not written by torch.save"
        raise InputError(
            f"{path}: refused without running it, because {what}; download the published file again."
        ) from None
    except Exception as error:  # a damaged file ends the reader in many ways
        raise InputError(
            f"{path}: cannot be read ({first_line(error)}); it may be cut short, download it again."
        ) from None


def _require_real(content: Any, size: int) -> None:
    """Raise ValueError where tensors are larger than the file that they come from, or are not plain arrays."""
    tensors, rest = [], [content]
    while rest:
        item = rest.pop()
        if isinstance(item, Tensor):
            tensors.append(item)
        elif isinstance(item, Mapping):
            rest += item.values()
        elif isinstance(item, list | tuple):
            rest += item
    if any(t.layout is not torch.strided for t in tensors):
        raise ValueError("a tensor in it is not a plain array")
    if (claimed := sum(t.numel() * t.element_size() for t in tensors)) > EXPANDED * size:
        raise ValueError(f"its tensors would take {claimed / 1e9:.3g} GB, and the file has {size / 1e9:.3g}")


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
        raise InputError(f"{path}: a conductance matrix is not two-dimensional or not finite; download the file again.")
    return matrices
