"""How the packaged sample was made: python examples/make_sample.py train_a.xyz train_b.xyz

Takes frames evenly from each file and temperature, and writes rgnn/data/sample/lipo.xyz.xz: extended XYZ
with positions to 1e-5 Angstrom and forces to 1e-4 eV/Angstrom, a hundredth of the model's error.
"""

import io
import lzma
import sys
from pathlib import Path

import ase.io
import numpy as np

FRAMES_OF_EACH = 27  # of each file and temperature
OUT = Path(__file__).parent.parent / "rgnn" / "data" / "sample" / "lipo.xyz.xz"


def main(files: list[str], out: Path = OUT) -> None:
    text = io.StringIO()
    for file in files:
        frames = ase.io.read(file, ":")
        for temperature in sorted({a.info["temperature"] for a in frames}):
            mine = [a for a in frames if a.info["temperature"] == temperature]
            for k in np.linspace(0, len(mine) - 1, FRAMES_OF_EACH).round().astype(int):
                write_frame(text, mine[k])
    out.write_bytes(lzma.compress(text.getvalue().encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


def write_frame(text: io.StringIO, atoms: ase.Atoms) -> None:
    lattice = " ".join(f"{x:.6f}" for x in atoms.cell[:].ravel())
    info = atoms.info
    text.write(f"{len(atoms)}\n")
    text.write(f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3 temperature={info["temperature"]} ')
    text.write(f'sample={info["sample"]} step={info["step"]} energy={atoms.get_potential_energy():.5f} pbc="T T T"\n')
    for symbol, r, f in zip(atoms.symbols, atoms.positions, atoms.get_forces(), strict=True):
        text.write(f"{symbol} {r[0]:.5f} {r[1]:.5f} {r[2]:.5f} {f[0]:.4f} {f[1]:.4f} {f[2]:.4f}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
