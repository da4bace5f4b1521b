"""Tensors and their settings in one safetensors file, put in place as a whole. Nothing is pickled."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.base.files import write_atomic

CHECKSUM = "sha256"  # key of the checksum among the settings


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Write tensors with `settings` (plain values) and a checksum of both in the header."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {**settings, CHECKSUM: _checksum(plain, settings)}
    # One entry: safetensors writes several in an order that changes, and equal files should have equal bytes.
    write_atomic(path, save(plain, metadata={"rgnn": json.dumps(header)}))


def _checksum(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> str:
    """SHA-256 over the settings and over name, type, shape and bytes of each tensor, by name."""
    state = hashlib.sha256(json.dumps(settings).encode())
    for name, tensor in sorted(tensors.items()):
        state.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def read_tensors(path: str | Path, kind: str, *versions: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and settings of a file whose settings carry `format: kind` and one of the versions, the newest first.

    The checksum is compared; files of version 0.1 have none.

    Raises:
        InputError: absent, cut short, altered, not ours, or of another kind or version.
    """
    tensors, settings, stated = _read(Path(path), kind, versions, with_tensors=True)
    if stated not in (None, _checksum(tensors, settings)):
        raise InputError(f"{path}: does not agree with its checksum; write it again or take a copy of it.")
    return tensors, settings


def read_settings(path: str | Path, kind: str, *versions: int) -> dict[str, Any]:
    """The settings alone, which are not compared with the checksum; arguments and errors as of `read_tensors`."""
    return _read(Path(path), kind, versions, with_tensors=False)[1]


def _read(
    path: Path, kind: str, versions: Sequence[int], *, with_tensors: bool
) -> tuple[dict[str, Tensor], dict[str, Any], str | None]:
    """Tensors, settings and the checksum that the file states."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; is this a {kind}?")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            settings = json.loads((file.metadata() or {}).get("rgnn", "{}"))
            names = file.keys() if with_tensors else ()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged or cut short ({error}); write it again or take a copy of it.") from None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: its settings are damaged; write it again or take a copy of it.")
    if settings.get("format") != kind:
        raise InputError(f"{path}: holds {settings.get('format') or 'tensors of another program'}, not a {kind}.")
    if settings.get("version") not in versions:
        raise InputError(
            f"{path}: written in version {settings.get('version')} of the {kind} format, "
            f"but this rgnn reads version {versions[0]}; use the rgnn that wrote it or write it again."
        )
    stated = settings.pop(CHECKSUM, None)
    return tensors, settings, stated
