"""AIMD files -> labelled frames, one at a time, each checked. Nothing that a file holds is ever executed."""

from collections.abc import Iterator
from pathlib import Path

import ase.io
from ase import Atoms

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.archives import read_npz
from rgnn.data.formats.collections import PREFIX, read_collection
from rgnn.data.formats.cp2k import forces_beside, is_cp2k, read_cp2k
from rgnn.data.formats.deepmd import is_deepmd, read_deepmd
from rgnn.data.formats.espresso import Espresso
from rgnn.data.formats.extxyz import ExtXYZ
from rgnn.data.formats.labels import TIMES
from rgnn.data.formats.lammps import LammpsDump
from rgnn.data.formats.lines import Lines, first_line_of
from rgnn.data.formats.other import read_with_ase, read_with_dpdata
from rgnn.data.formats.selection import Items, Selection, Warn
from rgnn.data.formats.text import CUT_SHORT, NOT_CONVERGED, Splitter, read_text, structures_of
from rgnn.data.formats.vasp import Outcar, VaspXML
from rgnn.data.frames import Frame, Unusable

# Formats of ASE that run or unpickle what they read.
UNSAFE_FORMATS = ("py", "bundletrajectory")
DPDATA, DEEPMD, NPZ = "dpdata:", ("deepmd/npy", "deepmd/npy/mixed"), "npz"
# Formats whose files may be in any units; all others say or define theirs.
ANY_UNITS = ("xyz", "extxyz", "traj", "db", "json", "lammps-dump-text", NPZ)
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

    VASP, Quantum ESPRESSO, CP2K, LAMMPS and extended XYZ are read in bounded memory however long they are, and so is
    what ASE reads frame by frame (.traj, .db).

    Args:
        path: of the trajectory; .gz, .bz2 and .xz are read as they are.
        wanted: which frames.
        warn: called with each sentence that a user should read.

    Raises:
        InputError: the file as a whole cannot be used.
    """
    if str(path).startswith(PREFIX):
        return read_collection(str(path), wanted)
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file.")
    named = (wanted.format or "").removeprefix(DPDATA)
    if named in DEEPMD or (wanted.format is None and is_deepmd(path)):
        if not is_deepmd(path):
            raise InputError(f"{path}: holds no type.raw with set.*/coord.npy, as folders of DeePMD-kit do.")
        return read_deepmd(path, wanted, warn)
    if wanted.format is not None and wanted.format.startswith(DPDATA):
        return read_with_dpdata(path, named, wanted)
    if named == NPZ or (wanted.format is None and path.suffix == ".npz"):
        return read_npz(path, wanted, warn)
    dump = wanted.format is None and path.is_file() and first_line_of(path).startswith("ITEM:")
    format = safe_format(path, LammpsDump.format if dump else wanted.format)  # noqa: A001
    if wanted.keys.units not in (None, "metal") and format not in ANY_UNITS:
        raise InputError(f"{path}: the format {format} defines its units; leave --units out.")
    paired = wanted.label is None or forces_beside(path).is_file()
    if format in ("xyz", "extxyz") and is_cp2k(path) and paired:
        return read_cp2k(path, wanted, warn)
    if (splitter := _splitter(format, wanted)) is not None:
        return read_text(path, splitter, wanted)
    return read_with_ase(path, format, wanted)


def structures(path: str | Path, format: str) -> Iterator[Atoms]:  # noqa: A002 (ASE's word)
    """All whole structures of a trajectory with the time and temperature that the file gives, whatever their labels.

    Raises:
        InputError: a structure cannot be read.
    """
    path = Path(path)
    if (splitter := _splitter(format, EVERYTHING)) is None:
        yield from ase.io.iread(str(path), index=":", format=format, do_not_split_by_at_sign=True)
        return
    for _, atoms in structures_of(path, splitter, Selection(unconverged=True)):
        if isinstance(atoms, Unusable):
            if atoms.reason == CUT_SHORT:
                return
            raise atoms
        yield atoms


def times_of(path: str | Path, format: str) -> list[float | None] | None:  # noqa: A002 (ASE's word)
    """The time in fs of each structure of a text file, None where it gives none; None for formats that are not text."""
    if (splitter := _splitter(format, EVERYTHING)) is None or isinstance(splitter, LammpsDump):
        return None
    chunks = (chunk for chunk in splitter.split(Lines(path)) if chunk.problem in ("", NOT_CONVERGED))
    return [next((TIMES[name] * time for name, time in chunk.info.items() if name in TIMES), None) for chunk in chunks]


def _splitter(format: str, wanted: Selection) -> Splitter | None:  # noqa: A002 (ASE's word)
    """What cuts a text of this format into its frames; None where ASE reads frame by frame itself."""
    if format == LammpsDump.format:
        return LammpsDump(wanted.elements, wanted.keys.units)
    kinds: tuple[type[Splitter], ...] = (ExtXYZ, VaspXML, Outcar, Espresso)
    return next((kind() for kind in kinds if kind.format == format), None)


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
