"""AIMD files -> labelled frames, one at a time, each checked. Nothing that a file holds is ever executed."""

from collections.abc import Iterator
from pathlib import Path

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.cp2k import forces_beside, is_cp2k, read_cp2k
from rgnn.data.formats.other import read_with_ase, read_with_dpdata
from rgnn.data.formats.selection import Items, Selection, Warn
from rgnn.data.formats.text import SPLITTERS, read_text
from rgnn.data.frames import Frame, Unusable

# Formats of ASE that run or unpickle what they read.
UNSAFE_FORMATS = ("py", "bundletrajectory")
DPDATA = "dpdata:"
EVERYTHING = Selection()


def safe_format(path: str | Path, format: str | None = None) -> str:  # noqa: A002 (ASE's word)
    """ASE's name of the file's format, found or given.

    Raises:
        InputError: no such file, an unknown format, or one whose reader would run what is in the file.
    """
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file.")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty.")
    if format is None:
        try:
            format = filetype(str(path))  # noqa: A001
        except (UnknownFileTypeError, OSError, ValueError, EOFError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}: ASE knows no format for it ({first_line(error)}); name it with --format, such as extxyz."
            ) from None
    if format in UNSAFE_FORMATS:
        raise InputError(
            f"{path}: format '{format}' is refused, since reading it would run what it holds; write it as extended XYZ."
        )
    if format not in ioformats:
        raise InputError(
            f"{path}: ASE has no format '{format}'; name it with --format, such as extxyz, vasp-xml, vasp-out or traj, "
            "or dpdata:NAME for one that dpdata reads."
        )
    return format


def _ignore(text: str) -> None:
    """A warning nobody asked for."""


def scan(path: str | Path, wanted: Selection = EVERYTHING, warn: Warn = _ignore) -> Items:
    """The wanted frames of a trajectory with forces, each as a frame or as why it cannot be used.

    VASP, Quantum ESPRESSO, CP2K and extended XYZ are read in bounded memory however long they are, and so is what ASE
    reads frame by frame (.traj, .db).

    Args:
        path: of the trajectory; .gz, .bz2 and .xz are read as they are.
        wanted: which frames.
        warn: called with each sentence that a user should read.

    Raises:
        InputError: the file as a whole cannot be used.
    """
    path = Path(path)
    if wanted.format is not None and wanted.format.startswith(DPDATA):
        if not path.exists():
            raise InputError(f"{path}: there is no such file.")
        return read_with_dpdata(path, wanted.format.removeprefix(DPDATA), wanted)
    format = safe_format(path, wanted.format)  # noqa: A001
    paired = wanted.label is None or forces_beside(path).is_file()
    if format in ("xyz", "extxyz") and is_cp2k(path) and paired:
        return read_cp2k(path, wanted, warn)
    if format in SPLITTERS:
        return read_text(path, format, wanted)
    return read_with_ase(path, format, wanted)


def read_frames(path: str | Path, wanted: Selection = EVERYTHING, warn: Warn = _ignore) -> Iterator[Frame]:
    """The wanted frames of a trajectory with forces.

    Raises:
        InputError: a frame, or the file as a whole, cannot be used, or there is none.
    """
    empty = True
    for _, frame in scan(path, wanted, warn):
        if isinstance(frame, Unusable):
            raise frame
        assert isinstance(frame, Frame)
        empty = False
        yield frame
    if empty:
        raise InputError(f"{path}: holds no frames in the range that was asked for.")
