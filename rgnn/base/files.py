"""Writing files so that a cut-off write leaves what was there before."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rgnn.base.errors import InputError


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Write to `path`.partial, flush it to the disk, and only then put it in place.

    Raises:
        OSError: as the system gives it (a full disk); `path` is then what it was before.
    """
    path = Path(path)
    aside = path.with_name(path.name + ".partial")
    try:
        with aside.open("wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def sha256(path: str | Path) -> str:
    """Checksum of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold a folder for one writer, until the block or the process ends, however it ends.

    The lock is on the folder itself and leaves no file. Where the system has no such locks (Windows), none is taken.

    Raises:
        InputError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{folder}: another rgnn is writing here; wait until it has ended.") from None
        yield
    finally:
        os.close(handle)
