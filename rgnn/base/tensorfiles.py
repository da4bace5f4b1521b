"""Tensors and their settings in one safetensors file, put in place as a whole. Nothing is pickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.base.files import write_atomic


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Write tensors with `settings` (plain values) in the header."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomic(path, save(plain, metadata={"rgnn": json.dumps(settings)}))


def read_tensors(path: str | Path, kind: str, *versions: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and settings of a file whose settings carry `format: kind` and one of the versions, the newest first.

    Raises:
        InputError: absent, cut short, not ours, or of another kind or version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; is this a {kind}?")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            settings = json.loads((file.metadata() or {}).get("rgnn", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: damaged or cut short ({error}); write it anew or take a copy of it.") from None
    if settings.get("format") != kind:
        raise InputError(f"{path}: holds {settings.get('format') or 'tensors of another program'}, not a {kind}.")
    if settings.get("version") not in versions:
        raise InputError(
            f"{path}: written in version {settings.get('version')} of the {kind} format, "
            f"but this rgnn reads version {versions[0]}; use the rgnn that wrote it or write it anew."
        )
    return tensors, settings
