"""Files: written so that a cut-off write leaves what was there before, held for one writer, and read as tables."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rgnn.base.errors import InputError, first_line


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Write text (as UTF-8) or bytes to `path`.partial, flush it to the disk, and only then put it in place.

    Raises:
        OSError: as the system gives it (a full disk); `path` is then what it was before.
    """
    with writing(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """A file `path`.partial to write to, which is flushed to the disk and put in place where all went well.

    Raises:
        OSError: as the system gives it (a full disk); `path` is then what it was before.
    """
    path = Path(path)
    aside = path.with_name(path.name + ".partial")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: str | Path, lock: str | Path) -> Iterator[None]:
    """Hold a folder for one writer, until the block or the process ends, however it ends.

    The system ties the lock to the process, so a killed writer does not stop the next; it only leaves the empty file
    of the lock, which the next writer removes. So that file has a hidden name and lies outside of stores.

    Args:
        folder: what is held, for the error.
        lock: the file of the lock, in a folder that exists; removed at the end.

    Raises:
        InputError: another process, or another block of this one, holds it.
    """
    from filelock import FileLock, Timeout

    held = FileLock(lock, timeout=0)
    try:
        held.acquire()
    except Timeout:
        raise InputError(f"{folder}: another rgnn is writing here; wait until it has ended.") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it only after the release, and filelock does that
            Path(lock).unlink()
        held.release()


def read_csv(path: str | Path, remedy: str) -> dict[str, np.ndarray]:
    """The columns of a table of numbers by name, each [rows] float64.

    A last row without its line end is left out: it is still being written.

    Args:
        path: of a file with a heading and commas.
        remedy: the way out, for the error.

    Raises:
        InputError: the file is not there, or an entry is not a number.
    """
    try:
        whole, _, _ = Path(path).read_text(encoding="utf-8").rpartition("\n")
        heading, *rows = whole.split("\n")
        names = heading.split(",")
        table = np.loadtxt(rows, delimiter=",", ndmin=2) if rows else np.zeros((0, len(names)))
        return dict(zip(names, table.T, strict=True))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); {remedy}.") from None
