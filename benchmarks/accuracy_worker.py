"""One program of benchmarks/accuracy.py, in the environment of its own: reads what to do as JSON from its argument.

All of them have their own model and their own batches of frames; the loop around them is the same: Adam, a rate that
is constant for 70% of the processor time given and then falls to zero along a line, and a moving average of weights,
which is what is tested. The state at 70% is kept, so that a longer training continues from there.
"""

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import peers
from ase import Atoms
from ase.neighborlist import neighbor_list

CUTOFF = 5.0
CONSTANT = 0.7  # share of the time before the rate falls
WARM_UP = 50  # steps


@dataclass(frozen=True)
class Request:
    """What to do.

    Attributes:
        program: a key of `PROGRAMS`.
        stage: "train" or "test".
        train, test: files of frames as ASE names them, with a slice behind an @.
        folder: for weights and predictions.
        minutes: processor time to train for.
        seed: of weights and of the order of frames.
    """

    program: str
    stage: str
    train: list[str]
    test: str
    folder: str
    minutes: float
    seed: int

    def file(self, name: str, ending: str = "") -> Path:
        return Path(self.folder) / f"{name}-{self.minutes:g}{ending}"


def frames_of(files: Sequence[str]) -> list[Atoms]:
    return [frame for file in files for frame in ase.io.read(file if "@" in file else f"{file}@:")]


class Peer(ABC):
    """A program whose model is a torch module.

    Attributes:
        package: its name among packages.
        rate, batch: learning rate, frames in a step.
        force_weight: of the squared error of a force component over that of the energy per atom.
        amsgrad: Adam's variant.
    """

    package: str
    rate: float
    batch: int
    force_weight: float
    amsgrad = False

    @abstractmethod
    def build(self, labels: peers.Labels) -> Any:
        """The untrained model."""

    @abstractmethod
    def graph(self, frame: Atoms) -> Any:
        """A frame as the model reads it."""

    @abstractmethod
    def batched(self, graphs: list[Any]) -> Any:
        """Several of them."""

    @abstractmethod
    def predict(self, model: Any, batch: Any, training: bool) -> tuple[Any, Any]:
        """Energies [frames] and forces [atoms, 3]."""

    def solve(self, request: Request) -> dict[str, Any]:
        return train(self, request) if request.stage == "train" else test(self, request)


class Mace(Peer):
    package, rate, batch, force_weight, amsgrad = "mace-torch", 0.01, 1, 100.0, True
    channels, max_ell = 64, 3

    def build(self, labels: peers.Labels) -> Any:
        from mace.tools import AtomicNumberTable

        self.table = AtomicNumberTable(list(labels.numbers))
        return peers.mace(labels, self.channels, CUTOFF, self.max_ell)

    def graph(self, frame: Atoms) -> Any:
        from mace.data import AtomicData, config_from_atoms

        return AtomicData.from_config(config_from_atoms(frame), z_table=self.table, cutoff=CUTOFF)

    def batched(self, graphs: list[Any]) -> Any:
        from mace.tools.torch_geometric import Batch

        return Batch.from_data_list(graphs).to_dict()

    def predict(self, model: Any, batch: Any, training: bool) -> tuple[Any, Any]:
        out = model(batch, training=training, compute_force=True)
        return out["energy"], out["forces"]


class NequipFramework(Peer):
    force_weight = 1.0

    def build(self, labels: peers.Labels) -> Any:
        self.transforms = peers.nequip_transforms(labels, CUTOFF)
        return self.model(labels)

    @abstractmethod
    def model(self, labels: peers.Labels) -> Any:
        """The untrained model."""

    def graph(self, frame: Atoms) -> Any:
        from nequip.data.ase import from_ase

        data = from_ase(frame)
        for transform in self.transforms:
            data = transform(data)
        return data

    def batched(self, graphs: list[Any]) -> Any:
        from nequip.data import AtomicDataDict

        return AtomicDataDict.batched_from_list(graphs)

    def predict(self, model: Any, batch: Any, training: bool) -> tuple[Any, Any]:
        out = model(dict(batch))
        return out["total_energy"].flatten(), out["forces"]


class Nequip(NequipFramework):
    package, rate, batch = "nequip", 0.01, 2

    def model(self, labels: peers.Labels) -> Any:
        return peers.nequip(labels, 4, CUTOFF)


class Allegro(NequipFramework):
    package, rate, batch = "nequip-allegro", 0.001, 1

    def model(self, labels: peers.Labels) -> Any:
        return peers.allegro(labels, CUTOFF)


class State:
    """A training so far, kept in a file every minute: weights, their moving average, optimizer, steps, seconds."""

    def __init__(self, model: Any, optimizer: Any, decay: float = 0.99) -> None:
        self.model, self.optimizer, self.decay = model, optimizer, decay
        self.step, self.seconds = 0, 0.0
        self.average = {k: p.detach().clone() for k, p in model.named_parameters()}

    def update(self) -> None:
        """After a step; young weights count more while there are few."""
        self.step += 1
        keep = min(self.decay, (1 + self.step) / (10 + self.step))
        for k, p in self.model.named_parameters():
            self.average[k].lerp_(p.detach(), 1 - keep)

    def save(self, file: Path) -> None:
        import torch

        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "average": self.average}
        torch.save({**parts, "step": self.step, "seconds": self.seconds}, file.with_name("unfinished"))
        file.with_name("unfinished").replace(file)

    def load(self, file: Path) -> None:
        import torch

        kept = torch.load(file, weights_only=True)
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.average, self.step, self.seconds = kept["average"], kept["step"], kept["seconds"]


def prepared(peer: Peer, request: Request, files: Sequence[str]) -> tuple[Any, list[Atoms], list[Any]]:
    """The untrained model, which needs the training frames, and the frames of some files with their graphs."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(request.seed)
    train = frames_of(request.train)
    few = train[:: max(1, len(train) // 20)]
    labels = peers.Labels.of(train, float(np.mean([len(neighbor_list("i", f, CUTOFF)) / len(f) for f in few])))
    model = peer.build(labels)
    frames = frames_of(files)
    return model, frames, [peer.graph(f) for f in frames]


def train(peer: Peer, request: Request) -> dict[str, Any]:
    import torch

    model, frames, graphs = prepared(peer, request, request.train)
    energies = torch.tensor([f.get_potential_energy() for f in frames])
    forces = [torch.tensor(f.get_forces(), dtype=torch.float32) for f in frames]
    sizes = torch.tensor([len(f) for f in frames])
    optimizer = torch.optim.Adam(model.parameters(), lr=peer.rate, amsgrad=peer.amsgrad)
    state, limit, of_epoch = State(model, optimizer), 60 * request.minutes, len(frames) // peer.batch
    if (file := earlier(request)) is not None:
        state.load(file)
    model.train()
    began, kept = time.process_time() - state.seconds, state.seconds
    while state.seconds < limit:
        share = state.seconds / limit
        for group in optimizer.param_groups:
            group["lr"] = peer.rate * min(1.0, (state.step + 1) / WARM_UP, (1 - share) / (1 - CONSTANT))
        order = np.random.default_rng([request.seed, state.step // of_epoch]).permutation(len(frames))
        chosen = order[peer.batch * (state.step % of_epoch) :][: peer.batch]
        energy, force = peer.predict(model, peer.batched([graphs[k] for k in chosen]), training=True)
        per_atom = ((energy - energies[chosen]) / sizes[chosen]).square().mean()
        target = torch.cat([forces[k] for k in chosen])
        loss = per_atom + peer.force_weight * (force - target).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        state.update()
        before, state.seconds = share, time.process_time() - began
        if before < CONSTANT <= state.seconds / limit:
            state.save(request.file("constant"))
        if state.seconds - kept >= 60:
            kept = state.seconds
            state.save(request.file("state"))
            error = float((force.detach() - target).abs().sum() / target.abs().sum())
            print(f"{kept / 60:.1f} min, step {state.step}, last batch at {100 * error:.1f}%", flush=True)
    torch.save(state.average, request.file("weights"))
    request.file("state").unlink(missing_ok=True)
    return {
        "seconds": state.seconds, "steps": state.step, "version": version(peer.package),
        "weights": sum(p.numel() for p in model.parameters()), "batch": peer.batch, "rate": peer.rate,
    }  # fmt: skip


def earlier(request: Request) -> Path | None:
    """The state of this training where it was stopped, or the latest of a shorter one before its rate fell."""
    if request.file("state").exists():
        return request.file("state")
    found = {float(p.name.rpartition("-")[2]): p for p in Path(request.folder).glob("constant-*")}
    usable = [m for m in found if m <= request.minutes]
    return found[max(usable)] if usable else None


def test(peer: Peer, request: Request) -> dict[str, Any]:
    import torch

    model, _, graphs = prepared(peer, request, [request.test])
    model.load_state_dict(torch.load(request.file("weights"), weights_only=True), strict=False)
    model.eval()
    found = [peer.predict(model, peer.batched([g]), training=False)[1].detach().numpy() for g in graphs]
    np.savez(request.file("forces", ".npz"), *found)
    return {}


class LinearAce:
    """Linear ACE of python-ace, up to five-body functions: one pass over the frames, then one linear system.

    The basis is that of the input file that pacemaker writes (`pacemaker -t`), with one density, so that energies and
    forces are linear in the coefficients; the penalty is that of `pyace.linearacefit`.
    """

    package, functions, penalty = "python-ace", 400, 1e-5

    def solve(self, request: Request) -> dict[str, Any]:
        from pyace import ACEBBasisSet, ACEBEvaluator, ACECalculator, create_multispecies_basis_config

        train = frames_of(request.train)
        labels = peers.Labels.of(train, 0.0)
        basis = ACEBBasisSet(create_multispecies_basis_config(self.form(labels.symbols)))
        evaluator = ACEBEvaluator(basis)  # the calculator does not keep it
        self.calculator, self.elements = ACECalculator(evaluator), basis.elements_to_index_map
        self.counts = [len(a) + len(b) for a, b in zip(basis.basis_rank1, basis.basis, strict=True)]
        weights = request.file("weights", ".npy")
        if request.stage == "train":
            return self.fit(train, labels, weights)
        solution = np.load(weights)
        found = [(self.rows(f)[1:] @ solution).reshape(-1, 3) for f in frames_of([request.test])]
        np.savez(request.file("forces", ".npz"), *found)
        return {}

    def form(self, symbols: Sequence[str]) -> dict[str, Any]:
        return {
            "deltaSplineBins": 0.001, "elements": list(symbols),
            "embeddings": {"ALL": {"npot": "FinnisSinclairShiftedScaled", "fs_parameters": [1, 1], "ndensity": 1}},
            "bonds": {"ALL": {"radbase": "SBessel", "radparameters": [5.25], "rcut": CUTOFF, "dcut": 0.01}},
            "functions": {
                "number_of_functions_per_element": self.functions,
                "ALL": {"nradmax_by_orders": [15, 6, 4, 3, 2], "lmax_by_orders": [0, 4, 3, 2, 1]},
            },
        }  # fmt: skip

    def rows(self, frame: Atoms) -> np.ndarray:
        """[1 + 3 atoms, functions] what each function adds to the energy per atom and to the forces."""
        from pyace.atomicenvironment import aseatoms_to_atomicenvironment

        place = aseatoms_to_atomicenvironment(frame, cutoff=CUTOFF, elements_mapper_dict=self.elements)
        self.calculator.compute(place, compute_projections=True, compute_b_grad=True)
        energy, first = np.zeros(sum(self.counts)), np.cumsum([0, *self.counts])
        for kind, values in zip(place.species_type, self.calculator.projections, strict=False):
            energy[first[kind] : first[kind] + len(values)] += values
        forces = np.array(self.calculator.forces_bfuncs)[: len(frame)].transpose(0, 2, 1)
        return np.vstack([energy[None] / len(frame), forces.reshape(-1, sum(self.counts))])

    def fit(self, frames: Sequence[Atoms], labels: peers.Labels, weights: Path) -> dict[str, Any]:
        began = time.process_time()
        n = sum(self.counts)
        square, right = np.zeros((n, n)), np.zeros(n)
        reference = dict(zip(labels.numbers, labels.energies, strict=True))
        for k, frame in enumerate(frames):
            rows = self.rows(frame)
            bound = frame.get_potential_energy() - sum(reference[int(z)] for z in frame.numbers)
            target = np.concatenate([[bound / len(frame)], frame.get_forces().ravel()])
            square += rows.T @ rows
            right += rows.T @ target
            if k % 50 == 0:
                print(f"{k} frames, {time.process_time() - began:.0f} s", flush=True)
        np.save(weights, np.linalg.solve(square + self.penalty * np.eye(n), right))
        spent = time.process_time() - began
        return {"seconds": spent, "weights": n, "version": version(self.package)}


PROGRAMS = {"MACE": Mace, "NequIP": Nequip, "Allegro": Allegro, "linear ACE": LinearAce}


def main() -> None:
    request = Request(**json.loads(sys.argv[1]))
    Path(request.folder).mkdir(parents=True, exist_ok=True)
    said = PROGRAMS[request.program]().solve(request)
    if request.stage == "train":
        request.file("trained", ".json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
