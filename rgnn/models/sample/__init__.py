"""The packaged model: an energy of amorphous Li3PO4, trained on the packaged frames; see README.md."""

from pathlib import Path

NAME, FOLDER = "sample", Path(__file__).parent
