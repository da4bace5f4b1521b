"""What benchmarks/speed.py measures: each case makes a function without arguments that does the work once."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from rgnn import Chip, Graph, Hardware, RGNNCalculator, kernels
from rgnn.base.rng import torch_stream
from rgnn.data.frames import Frame
from rgnn.data.sample import sample_frames
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.writer import write_store
from rgnn.evaluation import evaluate_hardware, grid
from rgnn.graphs.neighbours import neighbour_list
from rgnn.kernels.operands import Operand, integers_are_exact_and_fast
from rgnn.md import MDSettings, run_atoms
from rgnn.models import families
from rgnn.models.base import ForceField
from rgnn.training.gradient import GradientFit
from rgnn.training.run import RunSettings
from rgnn.training.settings import TrainingSettings

CUTOFF, GRID_FRAMES, LOADED_FRAMES, STEPS = 3.8, 4, 40, 20
SIZES = {192: (1, 1, 1), 1536: (2, 2, 2), 12288: (4, 4, 4), 98304: (8, 8, 8)}
Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: shown, and the key of the JSON.
        make: prepares, and returns the work.
        floor: the products that a perfect program would still have to do, as a key of `FLOORS`.
        units: how many of the `unit` the work does, for a rate.
        published: seconds of the published program on two cores, where it has been measured.
    """

    name: str
    make: Callable[[], Work]
    floor: str | None = None
    units: int = 1
    unit: str = ""
    published: float | None = None


@cache
def frames() -> list[Frame]:
    return [f for f, _ in zip(sample_frames(), range(LOADED_FRAMES), strict=False)]


def atoms_of(size: int = 192) -> Atoms:
    f = frames()[0]
    return Atoms(f.numbers, positions=f.positions, cell=f.cell, pbc=f.pbc) * SIZES[size]


def graph_of(size: int = 192, cutoff: float = CUTOFF) -> Graph:
    a, forces = atoms_of(size), frames()[0].forces if size == 192 else None
    return Graph.from_positions(a.numbers, a.positions, a.cell[:], a.pbc, cutoff, forces)


def batch(n: int = 2, cutoff: float = CUTOFF) -> Graph:
    some = frames()[:n]
    return Graph.batch([Graph.from_positions(f.numbers, f.positions, f.cell, f.pbc, cutoff, f.forces) for f in some])


def settings_of(preset: str | None, cutoff: float | None = None) -> RunSettings:
    config = RunSettings.preset(preset) if preset else RunSettings()
    return config if cutoff is None else _with(config, cutoff=cutoff)


def _with(config: RunSettings, **shape: float) -> RunSettings:
    return config.model_copy(update={"model": config.model.model_copy(update=shape)})


def ready_model(config: RunSettings) -> ForceField:
    """With ranges calibrated on one frame, untrained: speed does not depend on the trained weights."""
    shape = config.model.for_elements(tuple(sorted({int(z) for z in frames()[0].numbers})))
    cells = Chip.synthetic().matrices(families.family_of(shape).matrices(shape))
    model = families.build(shape, config.hardware, cells)
    with torch.no_grad():
        model.train()(graph_of(cutoff=model.settings.cutoff))
    return model.eval()


def forces(
    hardware: Hardware | None = None,
    preset: str | None = None,
    size: int = 192,
    by: str | None = None,
    cutoff: float | None = None,
) -> Work:
    model = ready_model(settings_of(preset, cutoff))
    g = graph_of(size, model.settings.cutoff)

    def run() -> object:
        with torch.no_grad():
            return model(g, model.read(hardware, torch_stream(0, "benchmark"))).forces

    def run_by() -> object:
        with kernels.use(str(by)):
            return run()

    return run_by if by else run


def fresh_forces() -> Work:
    """Search, plan and forces, as the first call of a calculator."""
    model = ready_model(RunSettings())

    def run() -> object:
        with torch.no_grad():
            return model(graph_of(), model.read(None, torch_stream(0, "benchmark"))).forces

    return run


def training_step(preset: str | None = None, n: int = 2, cutoff: float | None = None) -> Work:
    model = ready_model(settings_of(preset, cutoff))
    trainer, several = GradientFit(model.train(), TrainingSettings(), None), batch(n, model.settings.cutoff)
    return lambda: trainer.step(several)


def calculator(preset: str, cutoff: float, **shape: float) -> Work:
    """A call after a small move, with all that the model gives."""
    return calculator_of(ready_model(_with(settings_of(preset), cutoff=cutoff, **shape)))


def calculator_of(model: ForceField) -> Work:
    atoms, calc, rng = atoms_of(), RGNNCalculator(model), np.random.default_rng(0)
    start = atoms.positions.copy()

    def run() -> None:
        atoms.positions = start + 1e-3 * rng.standard_normal(start.shape)
        calc.calculate(atoms)

    return run


def molecular_dynamics() -> Work:
    """Twenty steps of Langevin dynamics with all that is written, as `rgnn md` does them."""
    model, f = ready_model(RunSettings()), frames()[0]
    atoms = Atoms(f.numbers, positions=f.positions, cell=f.cell, pbc=f.pbc)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_atoms(atoms.copy(), model, MDSettings(steps=STEPS, any_element=True), Path(folder) / "md")

    return run


def loader() -> Work:
    folder = tempfile.TemporaryDirectory()
    write_store(frames(), Path(folder.name) / "store.zarr", CUTOFF)

    def run() -> None:
        store = GraphStore(Path(folder.name) / "store.zarr")
        for index in range(len(store)):
            store.graph(index)

    run.folder = folder  # type: ignore[attr-defined]  # lives as long as the work
    return run


class _Few:
    def graph(self, index: int) -> Graph:
        f = frames()[index]
        return Graph.from_positions(f.numbers, f.positions, f.cell, f.pbc, CUTOFF, f.forces)


def hardware_grid() -> Work:
    model, settings = ready_model(RunSettings()), grid(Hardware(), {"bits": (4, 6, 8), "noise": (0.0, 0.05, 0.1)})
    return lambda: evaluate_hardware(model, _Few(), range(GRID_FRAMES), settings)


def products(limbs: int, reads: int, times: int = 2) -> Work:
    """The second product of all triplets of a frame in `times` layers, in the arithmetic of this processor."""
    operand = Operand.in_limbs(torch.randn(36, 180), limbs)
    extra = Operand.in_limbs(torch.randn(36, 180), 1)
    if not integers_are_exact_and_fast():
        operand = extra = Operand.exact(torch.randn(36, 180))
    codes = torch.randint(0, 100, (4096, 180)).to(operand.matrix.dtype)
    space, blocks = operand.space(4096), round(graph_of().whole.plan.n_triplets / 4096)

    def run() -> None:
        for _ in range(times * blocks):
            operand.times(codes, space, by_rows=False)
            for _ in range(reads - 1):
                extra.times(codes, space, by_rows=False)

    return run


def float_products(times: int = 2) -> Work:
    h, w, blocks = torch.randn(4096, 180), torch.randn(36, 180), round(graph_of().whole.plan.n_triplets / 4096)

    def run() -> None:
        for _ in range(times * blocks):
            torch.mm(h, w.T)

    return run


FLOORS = {
    "clean": Case("products with W5, no noise", lambda: products(2, 1)),
    "noisy": Case("products with W5 and its variance", lambda: products(2, 2)),
    # Two frames, two reservoir layers with read noise; the trained layer forward, again, and twice backward.
    "step": Case("products of a training step", lambda: _both(products(2, 2, times=4), float_products(times=8))),
    "float": Case("products with W5 in float32", float_products),
}


def _both(a: Work, b: Work) -> Work:
    return lambda: (a(), b())


CASES = [
    Case("forces, no noise", lambda: forces(Hardware(noise=None)), "clean", published=8.6),
    Case("forces, 5% read noise", forces, "noisy", published=8.6),
    Case("forces, 4 bits, 5% read noise", lambda: forces(Hardware(bits=4)), "noisy"),
    Case("forces, 5% product noise", lambda: forces(Hardware(noise_sharing="product")), "noisy"),
    Case("forces, 5% plane noise", lambda: forces(Hardware(noise_sharing="plane")), published=8.6),
    Case("forces, published settings", lambda: forces(preset="published"), published=8.6),
    Case("forces, GNNFF (all digital)", lambda: forces(preset="gnnff")),
    Case("forces, moments, 5% read noise", lambda: forces(preset="moments")),
    Case("forces, ridge, 5% read noise", lambda: forces(preset="ridge")),
    Case("energy, forces and stress", lambda: calculator("energy", 5.0)),
    Case("energy, forces and stress, 128 channels", lambda: calculator("energy", 5.0, channels=128)),
    Case("forces, no noise, plain torch", lambda: forces(Hardware(noise=None), by="plain"), "float"),
    Case("forces, 5% read noise, plain torch", lambda: forces(by="plain"), "float"),
    Case("search, plan and forces", fresh_forces, "noisy"),
    Case("neighbour search", lambda: _search),
    Case("training step, 2 frames", training_step, "step", published=25.0),
    Case("training step, 2 frames, GNNFF", lambda: training_step("gnnff")),
    Case("training step, 2 frames, moments", lambda: training_step("moments")),
    Case("training step, 4 frames, energy", lambda: training_step("energy", 4, 5.0)),
    Case("molecular dynamics", molecular_dynamics, units=STEPS, unit="steps/s"),
    Case("loader", loader, units=LOADED_FRAMES, unit="frames/s"),
    Case("hardware grid 3 x 3, 4 frames", hardware_grid, units=9 * GRID_FRAMES, unit="frames/s"),
]
LARGE = [Case(f"forces of {size} atoms", lambda size=size: forces(size=size), units=size) for size in SIZES]  # type: ignore[misc]
# Peak memory is that of a process of its own that does nothing else.
WITH_MEMORY = ("forces, 5% read noise", "forces, 5% plane noise", "training step, 2 frames", "molecular dynamics")
BY_NAME = {case.name: case for case in [*FLOORS.values(), *CASES, *LARGE]}


def _search() -> object:
    f = frames()[0]
    return neighbour_list(f.positions, f.cell, f.pbc, CUTOFF)
