"""The repulsion of nuclei: derivatives, a wall that holds, and nothing where there are labels."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from ase import Atoms

from rgnn import Chip, Graph, Hardware, RunSettings, fit, load_model, make_sample_store, save_model
from rgnn.base.provenance import Closest, TrainingDomain
from rgnn.models.families import build, family_of
from rgnn.models.parts.repulsion import INNER, OUTER, Repulsion, repulsion
from rgnn.models.settings import EnergySettings, MessagePassingSettings, MomentSettings, RidgeSettings
from rgnn.training.run import TrainingRun

DOMAIN = TrainingDomain(closest=(Closest(first=3, second=3, distance=2.2), Closest(first=3, second=8, distance=1.6)))


@pytest.fixture
def lio() -> Repulsion:
    term = Repulsion()
    term.fit(DOMAIN, (3, 8))
    return term


def graph(atoms: Atoms, cutoff: float = 4.0) -> Graph:
    return Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, cutoff)


def pair(symbols: str, d: float) -> Graph:
    return graph(Atoms(symbols, positions=[[0, 0, 0], [0, d, 0]]))


def test_the_screened_coulomb_energy_of_two_nuclei(lio) -> None:
    """Of two lithium nuclei at 0.5 Angstrom, written out; the second term has no force there."""
    lio.height.zero_()
    a = 0.4685 / (2 * 3**0.23)
    x = 0.5 / a
    screening = 0.18175 * np.exp(-3.1998 * x) + 0.50986 * np.exp(-0.94229 * x)
    screening += 0.28022 * np.exp(-0.4029 * x) + 0.02817 * np.exp(-0.20162 * x)
    forces, energy, _ = lio(pair("Li2", 0.5))
    assert float(energy) == pytest.approx(14.3996455 * 9 / 0.5 * screening, rel=1e-9)
    assert forces[0, 1] < 0 < forces[1, 1]
    assert float(forces.sum()) == pytest.approx(0, abs=1e-9)


def test_forces_and_strain_are_derivatives_of_the_energy(lio) -> None:
    atoms = Atoms("LiLiOLi", positions=[[0, 0, 0], [1.7, 0.3, 0.2], [0.4, 1.3, 0.1], [3.4, 0.2, 0.4]],
                  cell=[[4.6, 0, 0], [0.5, 3.9, 0], [0, 0.3, 4.1]], pbc=True)  # fmt: skip
    forces, energy, strain = lio(graph(atoms))
    assert float(energy) > 0.1

    def value(change) -> float:
        other = atoms.copy()
        change(other)
        return float(lio(graph(other))[1])

    for k in range(4):
        for axis in range(3):

            def moved(h: float, k: int = k, axis: int = axis) -> float:
                return value(lambda a: a.positions.__setitem__((k, axis), a.positions[k, axis] + h))

            numbers = -(8 * (moved(1e-4) - moved(-1e-4)) - (moved(2e-4) - moved(-2e-4))) / 12e-4
            assert float(forces[k, axis]) == pytest.approx(numbers, rel=1e-6, abs=1e-8)
    for a in range(3):

        def strained(h: float, a: int = a) -> float:
            by = np.eye(3)
            by[a, (a + 1) % 3] += h
            return value(lambda s: s.set_cell(atoms.cell[:] @ by, scale_atoms=True))

        numbers = (8 * (strained(1e-4) - strained(-1e-4)) - (strained(2e-4) - strained(-2e-4))) / 12e-4
        assert float(strain[0, a, (a + 1) % 3]) == pytest.approx(numbers, rel=1e-6, abs=1e-8)


def test_it_ends_smoothly_inside_the_closest_labelled_distance() -> None:
    outer = torch.tensor([OUTER * 2.2], dtype=torch.float64)
    three = torch.tensor([3.0], dtype=torch.float64)
    d = torch.tensor([float(outer) - 1e-4], dtype=torch.float64, requires_grad=True)
    value, slope = repulsion(d, three, three, outer)
    (second,) = torch.autograd.grad(slope, d)
    assert 0 <= value.item() < 1e-10 and abs(slope.item()) < 1e-6 and abs(second.item()) < 0.05
    for beyond in (float(outer), 2.2, 3.0):
        assert float(repulsion(torch.tensor([beyond], dtype=torch.float64), three, three, outer)[0]) == 0
    inner = torch.tensor([INNER * 2.2 - 1e-3], dtype=torch.float64, requires_grad=True)
    value, slope = repulsion(inner, three, three, outer)
    assert torch.autograd.grad(value, inner)[0].allclose(slope)


# Pairs with the closest distances that simulations have: Li and H of the same kind, and bonds.
CLOSEST = [("Li2", 2.315), ("LiS", 2.0), ("LiO", 1.6), ("H2", 1.25), ("OH", 0.83), ("PS", 1.84), ("PO", 1.35)]


def energy_and_slope(symbols: str, closest: float, d: float) -> tuple[float, float]:
    """Of two atoms at a distance, eV and eV/Angstrom."""
    first, second = sorted(Atoms(symbols).numbers)
    term, known = Repulsion(), Closest(first=first, second=second, distance=closest)
    term.fit(TrainingDomain(closest=(known,)), (first, second))
    forces, energy, _ = term(pair(symbols, d))
    return float(energy), float(forces[0, 1])


@pytest.mark.parametrize(("symbols", "closest"), CLOSEST)
def test_thermal_atoms_do_not_pass_it(symbols: str, closest: float) -> None:
    """At 3000 K kT is 0.26 eV, so 5 eV are 19 of them; the wall rises all the way in, and is not stiff at its foot."""
    assert energy_and_slope(symbols, closest, 0.8 * closest)[0] >= 4.999
    inwards = [energy_and_slope(symbols, closest, share * closest) for share in np.arange(0.2, 1.0, 0.02)]
    assert all(a[0] > b[0] for a, b in pairwise(inwards) if a[0])
    assert energy_and_slope(symbols, closest, 0.98 * closest) == (0, 0)
    assert energy_and_slope(symbols, closest, 0.95 * closest)[0] < 0.2


def test_forces_of_the_second_term_end_where_nuclei_alone_are_left() -> None:
    """Below 0.65 of the closest distance: the energies differ by a constant, the forces by nothing."""
    three, outer = torch.tensor([3.0]).double(), torch.tensor([OUTER * 2.315]).double()
    for d in (0.3, 1.0, 1.5):
        value, slope = repulsion(torch.tensor([d]).double(), three, three, outer)
        energy, found = energy_and_slope("Li2", 2.315, d)
        assert found == pytest.approx(float(slope), rel=1e-6)
        assert energy - float(value) == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("where", [0.65, 0.75, 0.97])
def test_the_second_derivative_does_not_jump(where: float) -> None:
    """By finite differences on both sides; a third derivative may."""

    def curvature(share: float) -> float:
        a, b = (energy_and_slope("Li2", 2.315, share * 2.315 + h)[1] for h in (-1e-4, 1e-4))
        return (b - a) / 2e-4

    below, above = curvature(where - 5e-4), curvature(where + 5e-4)
    assert abs(below - above) < 1.5 < max(abs(curvature(where - 0.03)), abs(curvature(where + 0.03)))


def test_pairs_that_repel_enough_are_left_as_they_were() -> None:
    term = Repulsion()
    pairs = ((1, 8, 0.83), (15, 16, 1.84), (1, 1, 1.25))
    known = tuple(Closest(first=a, second=b, distance=d) for a, b, d in pairs)
    term.fit(TrainingDomain(closest=known), (1, 8, 15, 16))
    assert term.height[8, 1] == term.height[15, 16] == 0 and term.height[1, 1] > 0


def test_a_model_from_before_the_second_term_gives_the_forces_that_it_gave(lio) -> None:
    """Its tensors have no such heights: loaded, it has none either, and the same fingerprint as ever."""
    old = {name: tensor for name, tensor in lio.state_dict().items() if name != "height"}
    loaded = Repulsion()
    loaded.load_state_dict(old)
    assert loaded.state_dict().keys() == {"outer"} == old.keys()
    value, slope = repulsion(*(torch.tensor([x]).double() for x in (1.7, 3.0, 3.0, float(lio.outer[3, 3]))))
    forces, energy, _ = loaded(pair("Li2", 1.7))
    assert float(energy) == pytest.approx(float(value), rel=1e-6)
    assert float(forces[0, 1]) == pytest.approx(float(slope), rel=1e-6)
    assert float(lio(pair("Li2", 1.7))[1]) > 2 * float(energy)


def test_elements_that_never_met_are_kept_apart_by_their_radii(lio) -> None:
    assert float(lio.outer[8, 8]) == pytest.approx(OUTER * 0.8 * 2 * 0.66)
    assert float(lio.outer[3, 8]) == float(lio.outer[8, 3]) == pytest.approx(OUTER * 1.6)
    assert float(lio.outer[15, 3]) == 0


SHAPES = [
    MessagePassingSettings(n_features=4, repulsion="zbl"),
    MomentSettings(channels=4, elements=(3, 8, 15), repulsion="zbl"),
    EnergySettings(channels=4, mixtures=4, widths=(6,), elements=(3, 8, 15), repulsion="zbl"),
]


@pytest.mark.parametrize("settings", SHAPES)
def test_every_family_adds_it(settings, glass) -> None:
    models = []
    for shape in (settings.override(repulsion="none"), settings):
        cells = Chip.synthetic(0).matrices(family_of(shape).matrices(shape))
        model = build(shape, Hardware(bits=None, noise=None), cells, seed=1)
        model.train()(glass)
        models.append(model.eval())
    plain, walled = models
    walled.repulsion.fit(DOMAIN, (3, 8))
    close = Graph.from_positions(
        np.array([3, 3, 8]), np.array([[0, 0, 0], [1.0, 0, 0], [0, 2.5, 0]]), np.eye(3) * 9, np.ones(3, bool), 3.8
    )
    with torch.no_grad():
        without, found = plain(close), walled(close)
        assert torch.equal(plain(glass).forces, walled(glass).forces)  # nothing where there are labels
    forces, energy, strain = walled.repulsion(close)
    torch.testing.assert_close(found.forces - without.forces, forces.float(), rtol=1e-5, atol=1e-4)
    assert float(forces.abs().max()) > 1
    if found.energy is not None:
        torch.testing.assert_close(found.energy - without.energy, energy)
        torch.testing.assert_close(found.stress - without.stress, strain / 9**3)


def test_presets_have_it_and_the_published_one_has_not() -> None:
    assert RunSettings.preset("published").model.repulsion == "none"
    for name in ("default", "gnnff", "ridge", "moments", "energy"):
        assert RunSettings.preset(name).model.repulsion == "zbl"


def test_a_ridge_is_solved_for_what_the_repulsion_leaves(tmp_path) -> None:
    store = make_sample_store(tmp_path)
    frames = list(range(0, 60, 3))
    models = []
    for kind in ("none", "zbl"):
        config = RunSettings.preset("ridge").override(store=str(store.path))
        config = config.override(
            model=config.model.override(
                repulsion=kind, channels=6, cutoff=store.cutoff, readout=RidgeSettings(random_features=24)
            )
        )
        run = TrainingRun.prepare(config)
        if kind == "zbl":
            # As if no frame had been so close: the repulsion reaches into labelled distances.
            run.model.repulsion.outer[run.model.repulsion.outer > 0] = 2.1
            assert float(run.model.repulsion(store.graph(0))[0].abs().max()) > 0.1
        fit(run.model, store, frames, [1, 2], config.training)
        models.append(run.model.eval())
    g = store.graph(4)
    with torch.no_grad():
        errors = [float((m(g, m.read(Hardware(noise=None))).forces - g.forces).abs().mean()) for m in models]
    assert errors[1] < 1.3 * errors[0]  # a fit that did not know of it would be wrong by the repulsion itself


def test_a_run_sets_its_distances_and_a_saved_model_keeps_them(tmp_path) -> None:
    store = make_sample_store(tmp_path)
    config = RunSettings.preset("ridge").override(store=str(store.path))
    run = TrainingRun.prepare(config.override(model=config.model.override(cutoff=store.cutoff)))
    save_model(run.model, tmp_path / "model")
    model = load_model(tmp_path / "model")
    seen = {(c.first, c.second): c.distance for c in model.provenance.seen.closest}
    assert float(model.repulsion.outer[3, 8]) == pytest.approx(OUTER * seen[3, 8], rel=1e-6)
    assert model.repulsion.outer.count_nonzero() == 9
