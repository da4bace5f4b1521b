"""The packaged sample: frames of amorphous Li3PO4 with CHGNet labels; README.md beside tells their story."""

import io
import lzma
from collections.abc import Iterator
from importlib.resources import files

import ase.io
from ase import Atoms

from rgnn.data.formats.labels import frame_of
from rgnn.data.frames import Frame

NAME = "lipo.xyz.xz"


def sample_frames() -> Iterator[Frame]:
    """The frames, one after the other: five temperatures of two melt-quenched samples of 192 atoms."""
    text = io.StringIO(lzma.decompress((files(__name__) / NAME).read_bytes()).decode("utf-8"))
    for index, atoms in enumerate(ase.io.iread(text, index=":", format="extxyz")):
        yield frame_of(atoms, f"{NAME}: frame {index}")


def sample_structure() -> Atoms:
    """A frame of the sample's lowest temperature, to begin dynamics with."""
    return min(sample_frames(), key=lambda frame: frame.temperature or 0.0).to_atoms()
