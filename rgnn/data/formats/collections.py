"""Data sets by name, from the package load-atoms."""

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.selection import Items, Selection

PREFIX = "load-atoms:"


def read_collection(source: str, wanted: Selection) -> Items:
    """The wanted frames of load-atoms:NAME, which load-atoms fetches and keeps.

    Raises:
        InputError: load-atoms is not installed, or has no such data set.
    """
    try:
        from load_atoms import load_dataset
    except ImportError:
        raise InputError(f"{source}: needs load-atoms, which is not installed; pip install load-atoms.") from None
    try:
        structures = load_dataset(source.removeprefix(PREFIX))
    except Exception as error:  # whatever it runs into
        raise InputError(f"{source}: load-atoms cannot load it ({first_line(error)}).") from None
    for index in range(wanted.first, len(structures), wanted.every):
        if wanted.past(index):
            return
        yield index, wanted.frame(structures[index], f"{source}: frame {index}")
