"""Forces against distances of labelled files: python benchmarks/stiffness.py FILE [FILE ...]

Prints the root mean square of a force component over the spread of nearest distances, an effective stiffness.
`rgnn convert` looks at it to find forces in another unit (STIFFEST in rgnn/data/conversion.py). That check is off here,
so files in wrong units are shown too.
"""

import sys
import tempfile
from pathlib import Path

from rgnn.base.errors import RGNNError
from rgnn.data.conversion import convert
from rgnn.data.formats.labels import Keys
from rgnn.data.formats.selection import Selection


def main(files: list[str]) -> None:
    print(f"{'':44}{'force, eV/A':>12}{'spread, A':>11}{'eV/A^2':>9}")
    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            try:
                wanted = Selection(keys=Keys(units="metal"))
                ledger = convert([file], Path(folder) / "s.zarr", 3.8, wanted).store.ledger
            except RGNNError as error:
                print(f"{Path(file).name:44}{str(error)[:60]}")
                continue
        block = ledger.blocks[0]
        force = (block.force_squares / (3 * block.atoms)) ** 0.5
        print(f"{Path(file).name:44}{force:12.3f}{block.nearest_spread:11.4f}{force / block.nearest_spread:9.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
