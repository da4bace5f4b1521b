"""Readers of the published conductance files, which unpickle nothing but plain data."""

import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgnn.base.errors import InputError, first_line

LARGEST = 2**30  # bytes of an object array at most
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
    """The signed matrices [out, in] of each layer of a published map.

    The force program's `Conductance.pkl` and the Hamiltonian program's hold a list of layers of matrices; the
    wave-function program's NPZ holds nested dictionaries of stacks of matrices, of which each entry of the outermost
    is taken for a layer.

    Raises:
        InputError: the file holds something else.
    """
    path = Path(path)
    content = read_object_array(path) if path.suffix.lower() == ".npz" else read_torch_file(path)
    groups = list(content.values()) if isinstance(content, Mapping) else content
    if not isinstance(groups, list | tuple) or not groups:
        raise InputError(f"{path}: expected layers of matrices, as in the published maps.")
    layers = [[matrix for w in _leaves(group) for matrix in _matrices(w, path)] for group in groups]
    layers = [layer for layer in layers if layer]
    if not layers:
        raise InputError(f"{path}: holds no matrices, as the published maps do.")
    return layers


def _leaves(group: Any) -> Iterator[Any]:
    """The arrays below nested containers, in their order."""
    if isinstance(group, Mapping):
        for each in group.values():
            yield from _leaves(each)
    elif isinstance(group, list | tuple):
        for each in group:
            yield from _leaves(each)
    elif group is not None:
        yield group.value if isinstance(group, _Array) else group


def _matrices(w: Any, path: Path) -> list[Tensor]:
    """A matrix of float32, or those of a stack.

    Raises:
        InputError: something else, or not finite.
    """
    tensor = torch.from_numpy(w.copy()) if isinstance(w, np.ndarray) and w.dtype.kind == "f" else w
    if not isinstance(tensor, Tensor) or tensor.ndim not in (2, 3) or not tensor.is_floating_point():
        raise InputError(f"{path}: holds something else than matrices; fetch the published file again.")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{path}: a matrix is not finite; fetch the published file again.")
    return list(tensor.to(torch.float32).reshape(-1, *tensor.shape[-2:]))


def is_object_array(path: str | Path) -> bool:
    """Whether an NPZ holds Python objects, which NumPy would unpickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(b"'|O'" in archive.open(name).read(128) for name in archive.namelist() if name.endswith(".npy"))
    except (OSError, zipfile.BadZipFile):
        return False


def read_object_array(path: str | Path) -> Any:
    """The content of an NPZ of one object array: plain containers and arrays, of NumPy or of JAX.

    Raises:
        InputError: anything else is asked for, or the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = archive.namelist()
            if archive.getinfo(name).file_size > LARGEST:
                raise ValueError("it is too large")
            data = archive.read(name)
        start = 10 + int.from_bytes(data[8:10], "little") if data[6] == 1 else 12 + int.from_bytes(data[8:12], "little")
        content = _PlainUnpickler(io.BytesIO(data[start:])).load()
        return content.value if isinstance(content, _Array) else content
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused without running it, because {error}; fetch it again.") from None
    except Exception as error:  # a damaged file ends the reader in many ways
        raise InputError(f"{path}: cannot be read ({first_line(error)}); fetch the published file again.") from None


class _PlainUnpickler(pickle._Unpickler):  # in Python, where a memo cannot fill memory
    """Knows how NumPy and JAX make arrays, and nothing else; stand-ins are filled in place of NumPy's own objects."""

    def find_class(self, module: str, name: str) -> Any:
        """What makes an array or its type; anything else is refused by name."""
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return lambda *_: _Array()
        if (module, name) == ("numpy", "ndarray"):
            return None  # an argument of the above
        if (module, name) == ("numpy", "dtype"):
            return _Type
        if (module, name) == ("jax._src.array", "_reconstruct_array"):
            return _array_of_jax
        raise pickle.UnpicklingError(f"it asks for '{module}.{name}', which is not plain data")


class _Type:
    """A type of numbers, or of objects; its state is its byte order."""

    def __init__(self, name: str, *_: Any) -> None:
        if name not in ("O8", "O", "f2", "f4", "f8", "i4", "i8"):
            raise pickle.UnpicklingError(f"it holds an array of '{name}'")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array; `value` is None until it is filled, and then an array of numbers or the one object in it."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if kind.dtype == object:
            (self.value,) = data
        else:
            self.value = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C")


def _array_of_jax(make: Any, arguments: Any, state: Any, _: Any) -> _Array:
    """What jax does, without its devices: an array of NumPy that is given its content."""
    array = _Array()
    array.__setstate__(state)
    return array
