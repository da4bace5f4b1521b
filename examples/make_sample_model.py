"""The packaged model: python examples/make_sample_model.py [--epochs 24] [--out rgnn/models/sample]

Trains the energy preset (8 bits, 5% read noise) on the packaged frames of amorphous Li3PO4 with a cutoff of 5.0
Angstrom, and writes its best epoch as model.safetensors and model.yaml. About two minutes of one core.
"""

import argparse
import tempfile
from pathlib import Path

import rgnn
from rgnn.base.events import Listener
from rgnn.data.sample import sample_frames
from rgnn.data.store.writer import write_store


class Lines(Listener):
    """Prints a line for each epoch."""

    def epoch(self, row: object, best: bool) -> None:
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "rgnn/models/sample")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(sample_frames(), Path(folder) / "sample.zarr", cutoff=5.0, source="packaged sample")
        settings = {"epochs": given.epochs, "split": "blocks", "seed": 0}
        result = rgnn.train(store, Path(folder) / "run", preset="energy", listener=Lines(), **settings)
    provenance = result.model.provenance
    result.model.provenance = provenance.override(data="packaged sample of amorphous Li3PO4 (CHGNet 0.3.0 labels)")
    rgnn.save_model(result.model, given.out)
    best = result.best
    print(f"relative force error on validation frames {best.relative_error:.4f}, MAE {best.mae:.4f} eV/Angstrom")


if __name__ == "__main__":
    main()
