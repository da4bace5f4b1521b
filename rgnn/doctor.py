"""What `rgnn doctor` looks at: the environment, and checks with answers known in advance."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import numpy as np
import torch

from rgnn import kernels
from rgnn.base.rng import torch_stream
from rgnn.chip.chip import Chip
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.data.sample import sample_frames
from rgnn.graphs.graph import Graph
from rgnn.models.base import ForceField
from rgnn.models.message_passing.model import RGNN
from rgnn.models.settings import MessagePassingSettings

PACKAGES = ("rgnn", "torch", "numpy", "numba", "ase", "vesin", "zarr", "safetensors", "scipy", "matplotlib", "typer")


Measures = dict[str, int | float | str]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: what was compared.
        passed: whether it held.
        detail: the measures in words.
        measures: by name, with units in the names.
    """

    name: str
    passed: bool
    detail: str
    measures: Measures

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers, with their units in the keys."""
        return {"name": self.name, "passed": self.passed, **self.measures}


@dataclass(frozen=True)
class Environment:
    """Where this process computes.

    Attributes:
        python, system: version of Python; operating system and processor.
        packages: version of each package that matters; None where it is missing.
        threads, cores: threads that torch uses, and cores of the machine.
        cuda: name of the CUDA device; None where there is none.
    """

    python: str
    system: str
    packages: dict[str, str | None]
    threads: int
    cores: int
    cuda: str | None

    @classmethod
    def here(cls) -> "Environment":
        """That of this process."""
        return cls(
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}",
            packages={name: _version(name) for name in PACKAGES},
            threads=torch.get_num_threads(),
            cores=os.cpu_count() or 1,
            cuda=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        )

    def to_mapping(self) -> dict[str, Any]:
        """Plain values; null where something is missing."""
        return {
            "python": self.python,
            "system": self.system,
            **self.packages,
            "threads": self.threads,
            "cores": self.cores,
            "cuda": self.cuda,
        }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def run_checks() -> list[Check]:
    """All checks; a check that raises has failed."""
    results = []
    for name, check in CHECKS.items():
        try:
            results.append(Check(name, *check()))
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            results.append(Check(name, False, said, {"error": said}))
    return results


def _bit_serial() -> tuple[bool, str, Measures]:
    """Codes times weights, bit plane by bit plane in whole numbers, against the analog product."""
    generator = torch_stream(0, "self-test")
    weight = torch.randint(-128, 128, (36, 144), generator=generator).float()
    codes = torch.randint(0, 256, (64, 144), generator=generator)
    codes[0, 0], codes[0, 1] = 0, 255
    array = Crossbar(weight)
    seen = (torch.tensor(0.0), torch.tensor(255.0))
    product = array.begin(Hardware(noise=None, range="dynamic"), None, seen)(codes.float())
    planes = sum(2**b * ((codes >> b & 1) @ weight.long().T) for b in range(8))
    worst = float((product - planes).abs().max())
    largest = int(planes.abs().max())
    measures: Measures = {"largest_difference": worst, "largest_product": largest}
    return worst <= 0.5, f"largest difference {worst:g} of {largest:,}", measures


def _model_and_frame() -> tuple[ForceField, Graph]:
    frame = next(iter(sample_frames()))
    settings = MessagePassingSettings()
    g = Graph.from_positions(frame.numbers, frame.positions, frame.cell, frame.pbc, settings.cutoff)
    model = RGNN(settings, Hardware(), Chip.synthetic().matrices(RGNN.matrices(settings)))
    with torch.no_grad():
        model.train()(g)  # sets the ranges
    return model.eval(), g


@torch.no_grad()
def _rotation() -> tuple[bool, str, Measures]:
    """Forces of a rotated frame against rotated forces."""
    model, g = _model_and_frame()
    ideal = Hardware().ideal()
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch_stream(0, "rotation")))[0]
    turned = replace(g, edge_vector=g.edge_vector @ rotation)
    forces = model(g, model.read(ideal)).forces
    worst = float((model(turned, model.read(ideal)).forces - forces @ rotation.float()).abs().max())
    largest = float(forces.abs().max())
    measures: Measures = {"largest_difference_ev_per_angstrom": worst, "largest_force_ev_per_angstrom": largest}
    return worst < 1e-4 * largest, f"largest difference {worst:.1e} eV/Å", measures


@torch.no_grad()
def _neighbours() -> tuple[bool, str, Measures]:
    """Edges of a packaged frame against ASE's neighbour list."""
    from ase.neighborlist import primitive_neighbor_list

    frame = next(iter(sample_frames()))
    g = Graph.from_positions(frame.numbers, frame.positions, frame.cell, frame.pbc, 3.8)
    d = np.sort(primitive_neighbor_list("d", frame.pbc, frame.cell, frame.positions, 3.8))
    same = len(d) == g.n_edges and np.allclose(d, np.sort(g.edge_length.numpy()))
    return same, f"{g.n_edges} edges, ASE finds {len(d)}", {"edges": g.n_edges, "ase_edges": len(d)}


@torch.no_grad()
def _kernels() -> tuple[bool, str, Measures]:
    """Forces by the kernels of this device against those in plain torch, where a code may fall on another side."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, g = _model_and_frame()
    model, g, hardware = model.to(device), g.to(device), Hardware(noise=None)
    with kernels.use("plain"):
        expected = model(g, model.read(hardware)).forces
    found = model(g, model.read(hardware)).forces
    difference = float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())
    used = kernels.choose(device).name
    measures: Measures = {"kernels": used, "relative_difference": difference}
    return difference < 0.02, f"{used}; differ from plain ones by {100 * difference:.2g}%", measures


@torch.no_grad()
def _speed() -> tuple[bool, str, Measures]:
    """Time of one force evaluation; any time passes."""
    model, g = _model_and_frame()
    times = []
    for repeat in range(7):
        began = time.perf_counter()
        model(g, model.read(None, torch_stream(0, "self-test", repeat)))
        times.append(time.perf_counter() - began)
    seconds = median(times[2:])
    measures: Measures = {"seconds": seconds, "atoms": g.n_atoms}
    return True, f"{1e3 * seconds:.0f} ms for {g.n_atoms} atoms with 8 bits and read noise", measures


CHECKS: dict[str, Callable[[], tuple[bool, str, Measures]]] = {
    "bit-serial product": _bit_serial,
    "neighbour list": _neighbours,
    "rotation": _rotation,
    "kernels": _kernels,
    "forces": _speed,
}
