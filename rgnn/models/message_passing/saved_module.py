"""The tensors of a module that was saved whole by torch, read without any of its classes.

The published program saves its best model so. Such a file names classes and how to fill them. Here only those that make
tensors are known; every other is replaced by one that keeps what it is given. So nothing in the file runs.
"""

import io
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from rgnn.base.errors import InputError, first_line

_TYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class _Kept:
    """Stands for an object of any class: keeps what it is filled with."""

    state: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, *_: Any, **__: Any) -> None:
        """Whatever the class would take."""

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}

    def append(self, _: Any) -> None:
        """As of a list that is filled item by item."""

    def extend(self, _: Any) -> None:
        """As of a list."""

    def __setitem__(self, _: Any, __: Any) -> None:
        """As of a dictionary."""


class _Reader(pickle._Unpickler):
    """Knows how tensors are made; all other classes are kept as `_Kept`."""

    def __init__(self, data: bytes, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(data))
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class or function of the file."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return _tensor if name == "_rebuild_tensor_v2" else _parameter
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        return _Kept

    def persistent_load(self, pid: Any) -> Tensor:
        """The storage that a tensor lies in."""
        kind, dtype, key, _, numbers = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not str(key).isalnum():
            raise ValueError("a storage of an unknown kind")
        data = self.archive.read(f"{self.folder}/data/{key}")
        if len(data) != numbers * dtype.itemsize:
            raise ValueError("a storage is cut short")
        return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _tensor(storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> Tensor:
    numbers = 1
    for n in size:
        numbers *= n
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if numbers else offset
    if min((offset, *size, *stride)) < 0 or numbers > len(storage) or (numbers and last >= len(storage)):
        raise ValueError("a tensor is larger than its storage")
    return torch.as_strided(storage, tuple(size), tuple(stride), offset).clone()


def _parameter(tensor: Tensor, *_: Any) -> Tensor:
    return tensor


def is_saved_module(path: str | Path) -> bool:
    """Whether a file of torch.save holds an object of a class, and not plain containers."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            first = next(op for op, _, _ in pickletools.genops(archive.read(name)) if op.name not in ("PROTO", "FRAME"))
    except (OSError, zipfile.BadZipFile, StopIteration, ValueError):
        return False
    return first.name in ("GLOBAL", "SHORT_BINUNICODE", "BINUNICODE")


def read_saved_module(path: str | Path) -> dict[str, Tensor]:
    """The parameters and buffers of a module by their names, as its `state_dict` would give them.

    Raises:
        InputError: not a file of torch.save in its present format, damaged, or without a module.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            if sum(item.file_size for item in archive.infolist()) > 2**32:
                raise ValueError("it is too large")
            content = _Reader(archive.read(name), archive, name.removesuffix("/data.pkl")).load()
    except Exception as error:  # a damaged file ends the reader in many ways
        raise InputError(f"{path}: cannot be read ({first_line(error)}); fetch the file again.") from None
    found = dict(_named(content, "")) if isinstance(content, _Kept) else {}
    if not found:
        raise InputError(f"{path}: holds no module with tensors.")
    return {key.removeprefix("module."): tensor for key, tensor in found.items()}


def _named(module: _Kept, prefix: str) -> list[tuple[str, Tensor]]:
    found = []
    for group in ("_parameters", "_buffers"):
        tensors = module.state.get(group)
        if isinstance(tensors, Mapping):
            found += [(f"{prefix}{key}", tensor) for key, tensor in tensors.items() if isinstance(tensor, Tensor)]
    children = module.state.get("_modules")
    if isinstance(children, Mapping):
        for key, child in children.items():
            if isinstance(child, _Kept):
                found += _named(child, f"{prefix}{key}.")
    return found
