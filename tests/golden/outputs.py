"""What the program computed when these numbers were written: forces, training, dynamics, evaluation, costs, a store.

All on plain kernels and, where there are kernels, in float64, so that the numbers do not depend on the machine.
python tests/golden/outputs.py writes expected.json; do so only for a change that is meant, and say which in the commit.
"""

import itertools
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from rgnn import Chip, Graph, Hardware, fit, kernels
from rgnn.base.rng import torch_stream
from rgnn.costs import Figures, Workload, compare, operations
from rgnn.costs.figures import LEVELS
from rgnn.data.sample import sample_frames
from rgnn.data.store.writer import write_store
from rgnn.evaluation import evaluate_hardware
from rgnn.md import MDSettings, run_atoms
from rgnn.models.base import ForceField
from rgnn.models.committee import Committee
from rgnn.models.families import build, family_of
from rgnn.models.settings import ModelSettings, NetworkSettings, RidgeSettings
from rgnn.models.uncertainty import calibrated, with_deviation
from rgnn.training.run import RunSettings, TrainingRun
from rgnn.training.settings import TrainingSettings

EXPECTED = Path(__file__).with_name("expected.json")
ELEMENTS = (3, 8, 15)
PRESETS = ("default", "published", "gnnff", "ridge", "moments")


@cache
def frames() -> list:
    """Eight frames of the sample."""
    return list(itertools.islice(sample_frames(), 0, 264, 33))


def graph(frame) -> Graph:
    return Graph.from_positions(frame.numbers, frame.positions, frame.cell, frame.pbc, 3.8, frame.forces)


class Frames:
    """Labelled graphs by number."""

    def __init__(self) -> None:
        self.graphs = [graph(frame) for frame in frames()]

    def __len__(self) -> int:
        return len(self.graphs)

    def graph(self, index: int) -> Graph:
        return self.graphs[index]


def small(preset: str) -> ModelSettings:
    """The shape of a preset, narrow."""
    shape = RunSettings.preset(preset).model
    if preset in ("ridge", "moments"):
        readout = RidgeSettings(random_features=40) if preset == "ridge" else NetworkSettings(widths=(12, 8))
        return shape.override(gaussians=12, channels=6, readout=readout, elements=ELEMENTS)
    return shape.override(n_features=6)


def untrained(preset: str, shape: ModelSettings, seed: int = 0) -> ForceField:
    hardware = RunSettings.preset(preset).hardware
    return build(shape, hardware, Chip.synthetic(seed).matrices(family_of(shape).matrices(shape), seed), seed).double()


def ready(preset: str, shape: ModelSettings, seed: int = 0) -> ForceField:
    """A model with ranges and statistics of two frames, and forces that are not near zero."""
    model = untrained(preset, shape, seed)
    with torch.no_grad():
        for k, p in enumerate(last_layer(model).parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(k)) / p.shape[-1] ** 0.5)
        for k in range(2):
            model.train()(graph(frames()[k]), model.read(None, torch_stream(0, "golden", k)))
    return model.eval()


def last_layer(model: ForceField) -> torch.nn.Module:
    return model.readout if model.family == "moments" else model.head


def numbers(x) -> list[float]:
    """Some of an array, and sums that all of it enters."""
    x = np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x, dtype=np.float64).ravel()
    return [float(x.sum()), float(np.abs(x).sum()), *map(float, x[:: max(1, len(x) // 12)])]


def state(model: ForceField) -> list[float]:
    """Sums over what a model has learnt."""
    trained = [p.detach().double() for p in model.parameters() if p.requires_grad]
    return [float(f) for p in trained for f in (p.sum(), p.abs().sum())]


def forces() -> dict:
    found = {}
    g = graph(frames()[5])
    for preset in PRESETS:
        model = ready(preset, small(preset))
        with torch.no_grad():
            found[f"forces/{preset}"] = numbers(model(g).forces)
            found[f"noisy forces/{preset}"] = numbers(
                model(g, model.read(None, torch_stream(3, "golden noise"))).forces
            )
            other = Hardware(bits=4, noise=0.1, noise_sharing="product", range="dynamic")
            found[f"other hardware/{preset}"] = numbers(
                model(g, model.read(other, torch_stream(4, "golden noise"))).forces
            )
            stuck = Hardware(bits=6, range="dynamic", stuck_on=0.02, adc_bits=7, adc_range="full")
            found[f"converted/{preset}"] = numbers(model(g, model.read(stuck, torch_stream(5, "golden noise"))).forces)
    shape = RunSettings.preset("default").model
    with torch.no_grad():
        found["forces/default, full width"] = numbers(ready("default", shape)(g).forces)
    return found


def training() -> dict:
    found = {}
    for preset, more in (("default", {}), ("moments", {}), ("default", {"gradient": "straight_through"})):
        config = TrainingSettings(epochs=1, loss="mae", noise_schedule="range", average=0.9, **more)
        result = fit(untrained(preset, small(preset)), Frames(), [0, 2, 4], [1], config)
        name = " ".join(["training", preset, *more.values()])
        row = result.history[0]
        found[name] = [row.loss, row.mae, row.rmse, row.relative_error, *state(result.model)]
    return found


def solving(folder: Path) -> dict:
    write_store(frames(), folder / "golden.zarr")
    run = RunSettings.preset("ridge").override(store=str(folder / "golden.zarr"), model=small("ridge"))
    prepared = TrainingRun.prepare(run)
    prepared.model.double()
    result = prepared.run(folder / "ridge")
    return {"ridge": [result.best.mae, result.best.rmse, result.best.relative_error]}


def committee() -> dict:
    shape = small("ridge")
    model, other = Committee([ready("ridge", shape, k) for k in range(3)]), ready("ridge", shape)
    model.eval()
    forces, deviation = with_deviation(
        model, None, graph(frames()[5]), model.read(None, torch_stream(1, "golden noise"))
    )
    s, n = len(ELEMENTS), other.readout.weight.shape[-1]
    draws = torch.randn(s, s, n, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    posterior = calibrated(other, draws, Frames(), [6, 7], 2)
    _, sigma = posterior(other, graph(frames()[5]))
    return {"committee": numbers(forces), "spread": numbers(deviation), "sigma": numbers(sigma)}


def dynamics(folder: Path) -> dict:
    f = frames()[0]
    atoms = Atoms(numbers=f.numbers, positions=f.positions, cell=f.cell, pbc=f.pbc)
    found = {}
    for ensemble, hardware in (("nvt", {}), ("bussi", {"noise": 0.0}), ("nve", {"bits": 6})):
        config = MDSettings(steps=20, temperature=400, ensemble=ensemble, write_every=5, seed=3, **hardware)
        result = run_atoms(atoms, ready("default", small("default")), config, folder / ensemble)
        names, *rows = [line.split(",") for line in (folder / ensemble / "log.csv").read_text().splitlines()]
        before = [k for k, name in enumerate(names) if not name.startswith("closest_")]  # columns of the version before
        rows = [[row[k] for k in before] for row in rows]
        found[f"dynamics/{ensemble}"] = [float(x) for row in rows for x in row if x] + [result.work, result.heat]
    return found


def evaluation() -> dict:
    settings = [Hardware().ideal(), Hardware(bits=4), Hardware(bits=6, stuck_on=0.01)]
    rows = evaluate_hardware(ready("default", small("default")), Frames(), [2, 3], settings, repeats=2, chips=2, seed=1)
    # Of the hardware what is not by default, so that a new setting is no other number.
    mappings = [{**row.to_mapping({"all of them": [0, 1]}), "hardware": row.hardware.differences()} for row in rows]
    found = json.dumps(mappings)
    for unit in ("_ev_per_angstrom", "_degrees"):  # keys were written without their units
        found = found.replace(f'{unit}": ', '": ')
    return {"evaluation": json.loads(found)}


def costs() -> dict:
    load = Workload(192, 4200, 92540)
    found = {}
    for preset in PRESETS:
        shape = RunSettings.preset(preset).model
        shape = shape.for_elements(ELEMENTS)
        counted = operations(shape, load)
        found[f"costs/{preset}"] = json.loads(json.dumps(plain(counted), sort_keys=True))
        if shape.uses_chip:
            compared = [compare(counted, Hardware(), Figures.packaged(), level) for level in LEVELS]
            found[f"compared/{preset}"] = json.loads(json.dumps(plain(compared), sort_keys=True))
    return found


def plain(x):
    """Dataclasses as dictionaries, all the way down."""
    if hasattr(x, "__dataclass_fields__"):
        return {name: plain(getattr(x, name)) for name in x.__dataclass_fields__}
    if isinstance(x, dict):
        return {str(k): plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [plain(v) for v in x]
    return x


def store(folder: Path) -> dict:
    made = write_store(frames(), folder / "checked.zarr")
    return {"store checksum": made.checksum, "store frames": len(made)}


def collect(folder: Path) -> dict:
    """All of them."""
    torch.set_num_threads(1)
    with kernels.use("plain"):
        found = forces() | training() | solving(folder) | committee() | dynamics(folder) | evaluation()
    return found | costs() | store(folder)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        found = collect(Path(folder))
    if sys.argv[1:] == ["--compare"]:
        from test_golden import differences

        print("\n".join(differences(found, json.loads(EXPECTED.read_text()))) or "equal")
    else:
        EXPECTED.write_text(json.dumps(found, indent=1) + "\n")
