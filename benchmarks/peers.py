"""Other programs' models and environments, for the benchmarks that time them and those that train them.

Only what a function needs is imported, inside it: each runs in the environment of its program.
"""

import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TORCH = "torch<=2.13.0"
# Folder and packages of each environment.
PACKAGES: dict[str, tuple[str, ...]] = {
    "chgnet": (TORCH, "chgnet>=0.4"),
    "mace": (TORCH, "mace-torch>=0.3.14"),
    "matgl": (TORCH, "matgl>=4.1", "torch_geometric"),
    "nequip": (TORCH, "nequip>=0.19", "nequip-allegro>=0.8"),
    "gnnff": (TORCH, "torch_geometric", "ase"),
    "aihwkit": (TORCH, "aihwkit==1.1.0"),  # no potential: for crossbars.py; 1.2 has no wheels
    "ace": ("python-ace>=0.4.0rc1",),
}


def python_of(environment: str | None, envs: Path) -> str:
    """The interpreter of an environment, which is made where it is not there; None is the environment of rgnn."""
    if environment is None:
        return sys.executable
    folder, packages = envs / environment, PACKAGES[environment]
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done = folder / "complete"
    if not done.exists():
        print(f"installing {', '.join(packages)} into {folder}", flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "setuptools", *packages], check=True)
        done.touch()
    return str(python)


@dataclass(frozen=True)
class Labels:
    """What models are scaled by.

    Attributes:
        numbers: atomic numbers of the elements.
        symbols: of the same.
        energies: of the elements, eV, by least squares over the frames.
        force: root mean square of a component, eV/Angstrom, of all atoms.
        forces: the same of each element.
        neighbours: of an atom, on average.
    """

    numbers: tuple[int, ...]
    symbols: tuple[str, ...]
    energies: tuple[float, ...]
    force: float
    forces: tuple[float, ...]
    neighbours: float

    @classmethod
    def of(cls, frames: Sequence[Any], neighbours: float) -> "Labels":
        """From ASE's frames with energies and forces."""
        from ase.data import chemical_symbols

        numbers = sorted({int(z) for f in frames for z in f.numbers})
        counts = np.array([[np.sum(f.numbers == z) for z in numbers] for f in frames], float)
        energies = np.linalg.lstsq(counts, np.array([f.get_potential_energy() for f in frames]), rcond=None)[0]
        everyone, forces = np.concatenate([f.numbers for f in frames]), np.concatenate([f.get_forces() for f in frames])
        each = [float(np.sqrt(np.mean(forces[everyone == z] ** 2))) for z in numbers]
        symbols = tuple(chemical_symbols[z] for z in numbers)
        whole = float(np.sqrt(np.mean(forces**2)))
        return cls(tuple(numbers), symbols, tuple(map(float, energies)), whole, tuple(each), neighbours)

    @classmethod
    def unknown(cls, numbers: Sequence[int], symbols: Sequence[str], neighbours: float) -> "Labels":
        """For a model that stays untrained."""
        n = len(numbers)
        return cls(tuple(numbers), tuple(symbols), (0.0,) * n, 1.0, (1.0,) * n, neighbours)


def mace(labels: Labels, channels: int, cutoff: float, max_ell: int = 3) -> Any:
    """MACE with invariant messages, two layers of body order four."""
    import torch
    from e3nn.o3 import Irreps
    from mace.modules import ScaleShiftMACE, interaction_classes

    block = interaction_classes["RealAgnosticResidualInteractionBlock"]
    return ScaleShiftMACE(
        r_max=cutoff, num_bessel=8, num_polynomial_cutoff=5, max_ell=max_ell, interaction_cls=block,
        interaction_cls_first=block, num_interactions=2, num_elements=len(labels.numbers),
        hidden_irreps=Irreps(f"{channels}x0e"), MLP_irreps=Irreps("16x0e"),
        atomic_energies=np.array(labels.energies), avg_num_neighbors=labels.neighbours,
        atomic_numbers=list(labels.numbers), correlation=3, gate=torch.nn.functional.silu,
        atomic_inter_scale=labels.force, atomic_inter_shift=0.0,
    ).float()  # fmt: skip


def nequip(labels: Labels, layers: int, cutoff: float, parity: bool = False) -> Any:
    """NequIP of l = 1 and 32 features."""
    from nequip.model import NequIPGNNModel

    return NequIPGNNModel(num_layers=layers, l_max=1, parity=parity, num_features=32, **_common(labels, cutoff))


def allegro(labels: Labels, cutoff: float) -> Any:
    """Allegro of l = 1, two layers, 64 scalar and 32 tensor features."""
    from allegro.model import AllegroModel

    scalars = 64
    bessel = {"num_bessels": 8, "bessel_trainable": False, "polynomial_cutoff_p": 6}
    return AllegroModel(
        l_max=1, parity=True, num_layers=2, num_scalar_features=scalars, num_tensor_features=32,
        radial_chemical_embed={"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", **bessel},
        radial_chemical_embed_dim=scalars, scalar_embed_mlp_hidden_layers_width=scalars,
        allegro_mlp_hidden_layers_width=scalars, readout_mlp_hidden_layers_width=scalars, **_common(labels, cutoff),
    )  # fmt: skip


def _common(labels: Labels, cutoff: float) -> dict[str, Any]:
    """What models of the NequIP framework share."""
    from nequip.utils.global_state import set_global_state

    set_global_state()
    return {
        "seed": 0, "model_dtype": "float32", "r_max": cutoff, "type_names": list(labels.symbols),
        "avg_num_neighbors": labels.neighbours,
        "per_type_energy_scales": dict(zip(labels.symbols, labels.forces, strict=True)),
        "per_type_energy_shifts": dict(zip(labels.symbols, labels.energies, strict=True)),
    }  # fmt: skip


def nequip_transforms(labels: Labels, cutoff: float) -> list[Any]:
    """What turns a frame into the input of a model of the NequIP framework."""
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform

    symbols = list(labels.symbols)
    return [ChemicalSpeciesToAtomTypeMapper(model_type_names=symbols), NeighborListTransform(r_max=cutoff)]
