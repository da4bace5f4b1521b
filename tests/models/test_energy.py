"""The energy family: derivatives against finite differences, extensivity, and what hardware does to them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from rgnn import Chip, Graph, Hardware, kernels
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.data.sample import sample_frames
from rgnn.graphs.graph import Labels
from rgnn.models.energy.model import MomentEnergy
from rgnn.models.settings import EnergySettings
from rgnn.training.references import fit_references

IDEAL = Hardware().ideal()
SHAPE = EnergySettings(channels=6, mixtures=5, widths=(8, 6), elements=(3, 8, 15), cutoff=4.5)


def graph(atoms: Atoms, forces: np.ndarray | None = None) -> Graph:
    return Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, SHAPE.cutoff, forces)


def untrained(settings: EnergySettings = SHAPE, hardware: Hardware | None = None) -> MomentEnergy:
    cells = Chip.synthetic(0).matrices(MomentEnergy.matrices(settings))
    return MomentEnergy(settings, hardware or Hardware(), cells, seed=1)


@pytest.fixture(scope="module")
def model(glass45: Graph) -> MomentEnergy:
    """With statistics of a frame, and random weights wherever they begin at zero."""
    model = untrained()
    for k in range(2):
        model.train()(glass45, model.read(None, torch_stream(0, "statistics", k)))
    with torch.no_grad():
        for k, p in enumerate(model.parameters()):
            if p.requires_grad and not p.any():
                p.copy_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(k)))
        model.element_energies.copy_(torch.linspace(-3, 0, 120))
    return model.eval()


@pytest.fixture(scope="module")
def glass45() -> Graph:
    frame = next(iter(sample_frames()))
    return Graph.from_positions(frame.numbers, frame.positions, frame.cell, frame.pbc, SHAPE.cutoff, frame.forces)


@pytest.fixture(scope="module")
def exact(model: MomentEnergy) -> MomentEnergy:
    copy = untrained()
    copy.load_state_dict(model.state_dict())
    return copy.double().eval()


def rattled(atoms: Atoms, numbers: list[int], seed: int = 0) -> Atoms:
    atoms = atoms.copy()
    atoms.numbers = [numbers[k % len(numbers)] for k in range(len(atoms))]
    atoms.rattle(0.1, seed=seed)
    return atoms


TRICLINIC = Atoms(
    "Li3PO4", positions=np.random.default_rng(3).uniform(0, 5, (8, 3)) * [1, 1, 1.1],
    cell=[[6, 0, 0], [1.5, 6, 0], [0.5, -0.7, 6.5]], pbc=True,
)  # fmt: skip
STRUCTURES = {
    "triclinic": TRICLINIC,
    "small cell, atoms beside their own images": rattled(bulk("NaCl", "rocksalt", a=4.4), [3, 8]),
    "one atom in a cell": Atoms("Li", cell=[[2.5, 0, 0], [0.4, 2.6, 0], [0, 0.3, 2.7]], pbc=True),
    "slab": rattled(Atoms(bulk("Cu", "fcc", a=4.0, cubic=True).repeat((1, 1, 2)), pbc=[True, True, False]), [3, 15, 8]),
    "molecule": rattled(molecule("C6H6"), [8, 3]),
}


@torch.no_grad()
def predict(model: MomentEnergy, atoms: Atoms, hardware: Hardware = IDEAL):
    return model(graph(atoms), model.read(hardware))


def energy(model: MomentEnergy, atoms: Atoms) -> float:
    return float(predict(model, atoms).energy)


def slope(value, h: float = 1e-4) -> float:
    """By central differences of fourth order."""
    return (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h)


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_are_those_of_the_energy(exact, name) -> None:
    atoms = STRUCTURES[name]
    forces = predict(exact, atoms).forces.numpy()
    numbers = np.empty_like(forces)
    for i in range(len(atoms)):
        for axis in range(3):

            def moved(h: float, i: int = i, axis: int = axis) -> float:
                other = atoms.copy()
                other.positions[i, axis] += h
                return energy(exact, other)

            numbers[i, axis] = -slope(moved)
    scale = max(np.abs(numbers).max(), 1e-2)
    np.testing.assert_allclose(forces, numbers, atol=1e-6 * scale)
    np.testing.assert_allclose(forces.sum(0), 0, atol=1e-9 * scale)


@pytest.mark.parametrize("name", [name for name, atoms in STRUCTURES.items() if atoms.pbc.all()])
def test_the_stress_is_that_of_the_energy(exact, name) -> None:
    atoms = STRUCTURES[name]
    stress = predict(exact, atoms).stress[0].numpy()
    numbers = np.empty((3, 3))
    for a in range(3):
        for b in range(3):

            def strained(h: float, a: int = a, b: int = b) -> float:
                strain = np.eye(3)
                strain[a, b] += h / 2
                strain[b, a] += h / 2
                other = atoms.copy()
                other.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
                return energy(exact, other)

            numbers[a, b] = slope(strained) / atoms.get_volume()
    np.testing.assert_allclose(stress, numbers, atol=1e-6 * np.abs(numbers).max())


def test_frozen_errors_of_cells_are_in_energy_and_forces_alike(exact) -> None:
    hardware = IDEAL.override(stuck_on=0.05, stuck_off=0.1, programming_noise=0.2)

    def value(h: float) -> float:
        other = TRICLINIC.copy()
        other.positions[2, 1] += h
        return float(predict(exact, other, hardware).energy)

    found = predict(exact, TRICLINIC, hardware).forces[2, 1]
    assert float(found) == pytest.approx(-slope(value), rel=1e-6)
    assert float(found) != pytest.approx(float(predict(exact, TRICLINIC).forces[2, 1]), rel=1e-3)


def test_a_frame_that_is_not_periodic_has_no_stress(exact) -> None:
    assert predict(exact, STRUCTURES["molecule"]).stress is None
    assert predict(exact, STRUCTURES["slab"]).stress is None


def test_the_energy_is_extensive_and_the_stress_is_not(exact) -> None:
    one, many = predict(exact, TRICLINIC), predict(exact, TRICLINIC.repeat((2, 1, 3)))
    assert float(many.energy) == pytest.approx(6 * float(one.energy), rel=1e-12)
    torch.testing.assert_close(many.stress, one.stress, rtol=1e-9, atol=1e-12)


def test_a_batch_is_its_frames(exact) -> None:
    frames = [STRUCTURES["triclinic"], STRUCTURES["molecule"], STRUCTURES["one atom in a cell"]]
    alone = [predict(exact, atoms) for atoms in frames]
    with torch.no_grad():
        batch = exact(Graph.batch([graph(atoms) for atoms in frames]), exact.read(IDEAL))
    torch.testing.assert_close(batch.forces, torch.cat([p.forces for p in alone]), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(batch.energy, torch.cat([p.energy for p in alone]), rtol=1e-12, atol=1e-12)
    assert batch.stress[1].isnan().all()
    torch.testing.assert_close(batch.stress[0], alone[0].stress[0])


def test_energy_and_forces_are_continuous_at_the_cutoff(exact) -> None:
    pair = [Atoms("LiO", positions=[[0, 0, 0], [SHAPE.cutoff + h, 0, 0]]) for h in (-1e-7, 1e-7)]
    inside, outside = (predict(exact, atoms) for atoms in pair)
    assert float(inside.energy) == pytest.approx(float(outside.energy), abs=1e-10)
    assert inside.forces.abs().max() < 1e-6 and outside.forces.abs().max() == 0


def test_an_isolated_atom_has_the_energy_that_it_has_far_from_others(exact) -> None:
    far = Atoms("LiOO", positions=[[0, 0, 0], [0, 0, 1.5], [40, 0, 0]])
    alone = energy(exact, Atoms("O")) + energy(exact, Atoms("LiO", positions=far.positions[:2]))
    assert energy(exact, far) == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("hardware", [IDEAL, Hardware().without_noise(), Hardware(), Hardware(bits=4, noise=0.1),
                                      Hardware(noise_sharing="plane"), Hardware(noise_sharing="product"),
                                      Hardware(adc_bits=8, adc_range="full"), Hardware(rounding="floor")])  # fmt: skip
def test_compiled_kernels_give_what_plain_ones_do(model, glass45, hardware) -> None:
    found = []
    for name in ("plain", "compiled"):
        with kernels.use(name), torch.no_grad():
            found.append(model(glass45, model.read(hardware, torch_stream(0, "noise"))))
            if name == "plain":
                clean = model(glass45, model.read(hardware.without_noise()))
    plain, compiled = found
    # Variances are held to half a percent (`rgnn.kernels.operands`), so noise agrees to that; the rest to rounding.
    for a, b, without, exactly in (
        (plain.forces, compiled.forces, clean.forces, 1e-4 * float(plain.forces.abs().max())),
        (plain.energy, compiled.energy, clean.energy, 1e-6 * glass45.n_atoms),
        (plain.stress, compiled.stress, clean.stress, 1e-4 * float(plain.stress.abs().max())),
    ):
        assert float((a - b).abs().max()) < 0.02 * float((a - without).abs().max()) + exactly


def test_gradients_of_a_training_step_by_compiled_kernels_are_those_of_plain_ones(model, glass45) -> None:
    gradients = []
    for name in ("plain", "compiled"):
        with kernels.use(name):
            found = model(glass45, model.read(Hardware().without_noise()))
            loss = (found.forces - glass45.forces).square().mean() + found.stress.square().sum() + found.energy.sum()
            parameters = [p for p in model.parameters() if p.requires_grad]
            gradients.append(torch.autograd.grad(loss.float(), parameters))
    for plain, compiled in zip(*gradients, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=2e-3, atol=2e-3 * float(plain.abs().max()))


@pytest.mark.parametrize("name", ["mix", "send_mix", "send_bias", "radial", "second.weight", "second_last"])
def test_a_loss_of_forces_has_the_gradient_of_finite_differences(exact, glass45, name) -> None:
    weight = exact.readout.get_parameter(name)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(5), dtype=weight.dtype)

    def loss() -> torch.Tensor:
        return (exact(glass45, exact.read(IDEAL)).forces - glass45.forces).square().mean()

    (found,) = torch.autograd.grad(loss(), weight)
    before = weight.detach().clone()

    @torch.no_grad()
    def moved(h: float) -> float:
        weight.copy_(before + h * direction)
        value = float(loss())
        weight.copy_(before)
        return value

    assert float((found * direction).sum()) == pytest.approx(slope(moved, 1e-4), rel=1e-6)


def test_atoms_without_neighbours_carry_gradients(model) -> None:
    found = model(graph(Atoms("LiO", positions=[[0, 0, 0], [0, 0, 50.0]])), model.read())
    found.energy.sum().backward()
    assert bool(model.readout.last.grad.any()) and not found.forces.any()
    model.zero_grad()


def test_edges_beyond_the_cutoff_are_refused(model) -> None:
    atoms = Atoms("LiO", positions=[[0, 0, 0], [0, 0, SHAPE.cutoff + 0.05]])
    g = Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, SHAPE.cutoff + 0.1)
    with pytest.raises(InputError, match=r"4.55 Å long, but the model has a cutoff of 4.5 Å"):
        model(g, model.read())
    with pytest.raises(InputError, match="cutoff"):
        EnergySettings(cutoff=0.9)


@torch.no_grad()
def test_functions_of_changed_weights_are_new(exact, model, glass45) -> None:
    """Whatever changed them: some changes are not counted by torch."""
    changed = untrained()
    changed.load_state_dict(model.state_dict())
    changed.eval()
    before = changed(glass45, changed.read(IDEAL)).energy
    changed.readout.radial.data.mul_(2.0)
    with kernels.use("plain"):
        plain = changed(glass45, changed.read(IDEAL)).energy
    compiled = changed(glass45, changed.read(IDEAL)).energy
    assert float(compiled) == pytest.approx(float(plain), rel=1e-6) and float(compiled) != float(before)


@pytest.mark.parametrize("kept", [0.0, 2e5, 1e9])
def test_parts_give_what_the_whole_gives_whether_kept_or_read_again(model, glass45, kept, monkeypatch) -> None:
    """With noise, too: a part that is read again for its forces has the noise of the read for its energy."""

    quiet = Hardware().without_noise()
    monkeypatch.setattr("rgnn.graphs.topology.PART", 1500)
    fresh = Graph(replace(glass45.topology), glass45.edge_vector, glass45.labels, glass45.volume)
    assert len(fresh.parts) > 3
    monkeypatch.setattr("rgnn.models.energy.edges.KEPT", kept)
    with torch.no_grad():
        noisy = model(fresh, model.read(None, torch_stream(0, "read")))
        monkeypatch.setattr("rgnn.models.energy.edges.KEPT", 1e9)
        again = model(fresh, model.read(None, torch_stream(0, "read")))
        assert noisy.forces.equal(again.forces) and noisy.energy.equal(again.energy)
        a, b = (model(g, model.read(quiet)) for g in (fresh, glass45))
    torch.testing.assert_close(a.forces, b.forces, rtol=1e-4, atol=1e-4)
    assert float(a.energy) == pytest.approx(float(b.energy), rel=1e-6)
    assert not noisy.forces.equal(a.forces)


def test_noise_of_a_read_moves_forces_about_those_without(model, glass45) -> None:
    with torch.no_grad():
        clean = model(glass45, model.read(Hardware().without_noise())).forces
        noisy = torch.stack([model(glass45, model.read(None, torch_stream(0, "read", k))).forces for k in range(24)])
    spread = noisy.std(0)
    assert 0 < float(spread.mean()) < 0.5 * float(clean.abs().mean())
    assert float((noisy.mean(0) - clean).abs().mean()) < 2 * float(spread.mean()) / 24**0.5


class Frames:
    """Frames of two compositions, whose energies are sums over elements beside what the model gives."""

    def __init__(self, model: MomentEnergy, energies: dict[int, float]) -> None:
        self.graphs = []
        for atoms in (TRICLINIC, STRUCTURES["molecule"], STRUCTURES["slab"]):
            g = graph(atoms)
            with torch.no_grad():
                found = model(g, model.read()).energy
            extra = sum(energies[int(z)] for z in atoms.numbers)
            self.graphs.append(replace(g, labels=Labels(energy=found + extra)))

    def graph(self, index: int) -> Graph:
        return self.graphs[index]


def test_reference_energies_are_found_by_least_squares(model) -> None:
    quiet = untrained(hardware=Hardware(noise=None))
    quiet.load_state_dict(model.state_dict())
    quiet.eval()
    before = quiet.element_energies.clone()
    expected = {3: -1.5, 8: -4.25, 15: 2.0}
    fit_references(quiet, Frames(quiet, expected), range(3), seed=0)
    change = quiet.element_energies - before
    assert {z: pytest.approx(float(change[z]), abs=1e-4) for z in expected} == expected
    assert change.nonzero()[:, 0].tolist() == [3, 8, 15]
