"""One potential in its own environment: answers lines of "force" and "md" with seconds, until its input ends.

Started by benchmarks/potentials.py. Untrained weights unless a package brings trained ones: they do not change the
time. All compute in float32 on the CPU and are driven through ASE.
"""

import sys
import time
from collections.abc import Callable

import ase.io
import numpy as np
import peers
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.verlet import VelocityVerlet

MD_STEPS = 10
UNTRAINED = peers.Labels.unknown((3, 8, 15), ("Li", "O", "P"), 30.0)


def rgnn(preset: str = "default") -> Calculator:
    from rgnn import RGNN, Chip, Graph, RGNNCalculator
    from rgnn.data.sample import sample_frames
    from rgnn.training.run import RunSettings

    config = RunSettings() if preset == "default" else RunSettings.preset(preset)
    model = RGNN(config.model, config.hardware, Chip.synthetic().matrices(RGNN.matrices(config.model)))
    f = next(iter(sample_frames()))
    with torch.no_grad():
        model.train()(Graph.from_positions(f.numbers, f.positions, f.cell, f.pbc, config.model.cutoff))
    return RGNNCalculator(model, any_element=True)


def chgnet() -> Calculator:
    from chgnet.model import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu")


def mace(channels: int, cutoff: float) -> Calculator:
    from mace.calculators import MACECalculator

    return MACECalculator(models=[peers.mace(UNTRAINED, channels, cutoff)], device="cpu", default_dtype="float32")


def matgl(name: str) -> Calculator:
    import matgl.models
    from matgl.apps.pes import Potential
    from matgl.ext.ase import PESCalculator

    model = getattr(matgl.models, name)(element_types=UNTRAINED.symbols, is_intensive=False)
    return PESCalculator(Potential(model, calc_stresses=False))


def nequip() -> Calculator:
    from nequip.integrations.ase import NequIPCalculator

    cutoff = 5.0
    model = peers.nequip(UNTRAINED, 4, cutoff)
    return NequIPCalculator(model.eval(), device="cpu", transforms=peers.nequip_transforms(UNTRAINED, cutoff))


class PygGnnff(Calculator):
    """GNNFF of PyTorch Geometric, which knows no cells: with periodic edges its vectors are wrong, its time right."""

    implemented_properties = ["forces"]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        import torch_geometric.nn.models.gnnff as module

        module.radius_graph = lambda *_, **__: self.edges
        module.triplets = self.triplets  # its own needs an extension that has to be compiled
        self.model = module.GNNFF(hidden_node_channels=18, hidden_edge_channels=18, num_layers=3, cutoff=3.8).eval()

    @staticmethod
    def triplets(edges: torch.Tensor, num_nodes: int) -> tuple[torch.Tensor, ...]:
        row, col = edges
        counts = torch.bincount(col, minlength=num_nodes)
        first, many = (torch.cumsum(counts, 0) - counts)[row], counts[row]
        ji = torch.repeat_interleave(torch.arange(len(row)), many)
        place = torch.arange(len(ji)) - torch.repeat_interleave(torch.cumsum(many, 0) - many, many)
        kj = torch.argsort(col, stable=True)[first[ji] + place]
        keep = row[kj] != col[ji]
        ji, kj = ji[keep], kj[keep]
        return col, row, col[ji], row[ji], row[kj], kj, ji

    def calculate(self, atoms: Atoms | None = None, properties=None, system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        from ase.neighborlist import neighbor_list

        i, j = neighbor_list("ij", self.atoms, 3.8)
        self.edges = torch.from_numpy(np.stack([j, i]))
        with torch.no_grad():
            z, x = torch.from_numpy(self.atoms.numbers), torch.from_numpy(self.atoms.positions).float()
            self.results["forces"] = self.model(z, x).double().numpy()


POTENTIALS: dict[str, Callable[[], Calculator]] = {
    "rgnn": rgnn,
    "rgnn, all digital (GNNFF)": lambda: rgnn("gnnff"),
    "CHGNet": chgnet,
    "MACE 128x0e, 5 A": lambda: mace(128, 5.0),
    "MACE 64x0e, 4 A": lambda: mace(64, 4.0),
    "M3GNet (matgl)": lambda: matgl("M3GNet"),
    "TensorNet (matgl)": lambda: matgl("TensorNet"),
    "NequIP l=1, 32 features, 5 A": nequip,
    "GNNFF (PyTorch Geometric)": PygGnnff,
}


def main(name: str, structure: str, threads: int) -> None:
    torch.set_num_threads(threads)
    answers = sys.stdout
    sys.stdout = sys.stderr  # packages greet
    atoms = ase.io.read(structure)
    assert isinstance(atoms, Atoms)
    atoms.calc = POTENTIALS[name]()
    rng = np.random.default_rng(0)
    start = atoms.positions.copy()

    def moved() -> None:
        atoms.positions[:] = start + rng.normal(0, 0.01, start.shape)
        atoms.get_forces()

    def steps() -> None:
        dynamics.run(MD_STEPS)

    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        moved()  # whoever came before has left the caches cold
        atoms.set_velocities(np.zeros_like(start))
        dynamics = VelocityVerlet(atoms, 0.1 * units.fs)
        work = {"force": moved, "md": steps}[line.strip()]
        began = time.perf_counter()
        work()
        print(time.perf_counter() - began, file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
