"""MAT files up to version 7.2, read in a process apart: SciPy's reader can crash on a damaged one.

`python -m rgnn.chip.matlab FILE OUT` writes the numeric arrays of a file into an NPZ.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.errors import first_line

# Exit codes of the process: a file of version 7.3, which is HDF5, and one that cannot be read.
HDF5_INSIDE, UNREADABLE = 3, 4
SECONDS = 120
# Where this package is imported from.
PACKAGES = Path(__file__).parents[2]


def read_mat(path: Path, largest: int) -> dict[str, np.ndarray] | None:
    """The numeric arrays of a MAT file by their names, fields of structures as STRUCTURE.FIELD; None for version 7.3.

    Args:
        path: of the file.
        largest: numbers of an array at most.

    Raises:
        ValueError: it cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "arrays.npz"
        # -P: modules of the current folder are none of Python's.
        command = [sys.executable, "-P", "-m", "rgnn.chip.matlab", str(path), str(out), str(largest)]
        here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGES), os.environ.get("PYTHONPATH", "")])}
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, env=here)
        except subprocess.TimeoutExpired:
            raise ValueError("its reader does not end") from None
        if done.returncode == HDF5_INSIDE:
            return None
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise ValueError(said[-1] if done.returncode == UNREADABLE and said else "its reader breaks down on it")
        with np.load(out, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def _fields(arrays: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The numeric arrays by their names, those of structures as STRUCTURE.FIELD."""
    for key, found in arrays.items():
        if key.startswith("__"):
            continue
        value = np.asarray(found)
        while value.dtype == object and value.size == 1:
            value = np.asarray(value.reshape(-1)[0])
        if value.dtype.names and value.size == 1:
            record = value.reshape(-1)[0]
            yield from _fields({field: record[field] for field in value.dtype.names}, f"{prefix}{key}.")
        elif value.dtype.kind in "fiu":
            yield f"{prefix}{key}", value


def main(path: str, out: str, largest: str) -> int:
    """Write the arrays of a file; the exit code."""
    from scipy.io import loadmat, whosmat

    try:
        if any(np.prod([float(n) for n in shape]) > int(largest) for _, shape, _ in whosmat(path)):
            raise ValueError("it holds more numbers than the largest map that is read")
        np.savez(out, **dict(_fields(loadmat(path))))  # type: ignore[arg-type]
    except NotImplementedError:
        return HDF5_INSIDE
    except Exception as error:  # a damaged file ends SciPy in many ways
        sys.stderr.write(f"{first_line(error)}\n")
        return UNREADABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
