"""Text files of any length, compressed or not, line by line."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class Lines:
    """The lines of a text file, one after the other.

    Attributes:
        cut: the compressed file ended in the middle; what came before has been given.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.cut = Path(path), False

    def __iter__(self) -> Iterator[str]:
        opener = OPENERS.get(self.path.suffix, open)
        with opener(self.path, "rt", encoding="utf-8-sig", errors="replace") as file:
            try:
                yield from file
            except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile):
                self.cut = True


def first_line_of(path: str | Path) -> str:
    """The first line that is not empty, or "" of a file without one."""
    try:
        return next((line.strip("\ufeff \t\r\n") for line in Lines(path) if line.strip("\ufeff \t\r\n")), "")
    except OSError:
        return ""
