"""Processes that share a structure whose model has an energy: forces go to their owners, shares add up."""

import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk
from ase.io.trajectory import Trajectory
from pair_energy import pair_energy
from ranks import Meeting, Member, domain, started, with_lammps

from rgnn import Chip, Graph, Hardware, RGNNCalculator, load_model, save_model
from rgnn.base.errors import InputError
from rgnn.md import read_log
from rgnn.md.lammps.forces import RankForces
from rgnn.models.energy.model import MomentEnergy
from rgnn.models.inference import predict
from rgnn.models.settings import EnergySettings


def structure():
    """Periodic in three directions, with more than one image of a neighbour, and one atom that has no neighbour."""
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True).repeat((4, 1, 1))
    atoms.rattle(0.15, seed=3)
    atoms.set_cell([26.0, 4.1, 9.0])
    atoms.positions[0] = [21.0, 1.0, 6.5]
    return atoms


def model_of(atoms):
    g = Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, 3.8)
    return pair_energy(g, shift=-1.0), g


def family_of(name, atoms):
    """The toy, or the real family untrained, with ranges and statistics of the atoms, and energies of elements."""
    model, g = model_of(atoms)
    if name == "toy":
        return model, g
    shape = EnergySettings(elements=(3, 9), cutoff=3.8, channels=4, mixtures=3, widths=(6,), gaussians=8)
    model = MomentEnergy(shape, Hardware(bits=4), Chip.synthetic(0).matrices(MomentEnergy.matrices(shape)), 0)
    model.element_energies[[3, 9]] = torch.tensor([-1.0, -2.0])
    with torch.no_grad():
        model.train()(g)
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    return model.eval(), g


@pytest.mark.parametrize("name", ["toy", "energy"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_add_up_to_the_whole(size, name) -> None:
    atoms = structure()
    model, g = family_of(name, atoms)
    quiet = model.hardware.with_given(None, 0)

    def work(world):
        forces = RankForces(model, quiet, 0, "exchange", world)
        mine = domain(atoms, world.rank, world.size, forces.reach)
        return mine.tags[: mine.n_own] - 1, forces(mine, step=4)

    whole, shares = predict(model, g, model.read(quiet)), Meeting(size).run(work)
    found = np.full((len(atoms), 3), np.nan)
    for rows, share in shares:
        found[rows] = share.forces
    np.testing.assert_allclose(found, whole.forces, atol=3e-6 * np.abs(whole.forces).max())
    assert np.abs(found.sum(axis=0)).max() < 1e-5 * np.abs(whole.forces).max()
    assert sum(share.energy[0] for _, share in shares) == pytest.approx(whole.energy[0], rel=1e-6)
    found = sum(share.stress[0] for _, share in shares)
    np.testing.assert_allclose(found, whole.stress[0], atol=3e-6 * np.abs(whole.stress).max())
    assert np.abs(whole.stress).max() > 1e-4 and np.abs(whole.forces).max() > 0.1


def topologies_of(atoms, size):
    """The topology that each rank hands to the model, with the number of its own atoms; and the whole graph."""
    model, g = model_of(atoms)
    seen, predicted = {}, model.predict

    def predict_and_keep(g, reading):
        seen[g.topology.halo.world.rank] = g.topology
        return predicted(g, reading)

    def work(world):
        forces = RankForces(model, model.hardware, 0, "exchange", world)
        mine = domain(atoms, world.rank, world.size, forces.reach)
        forces(mine, step=4)
        return mine.n_own, seen[world.rank]

    model.predict = predict_and_keep
    return Meeting(size).run(work), g


def test_borrowed_atoms_bring_no_edges_and_parts_hold_own_atoms_only() -> None:
    ranks, g = topologies_of(structure(), 2)
    for n_own, topology in ranks:
        assert topology.own_atoms == n_own < topology.n_atoms and not topology.borrows_edges
        assert int(topology.edge_index[0].max()) < n_own <= int(topology.edge_index[1].max())
        assert [p.atoms for p in topology.parts] == [slice(0, n_own)]
        assert topology.frame_index.unique().tolist() == [0]
    assert sum(topology.n_edges for _, topology in ranks) == g.n_edges


def test_large_parts_are_cut_within_own_atoms(monkeypatch) -> None:
    monkeypatch.setattr("rgnn.graphs.topology.PART", 40)
    for n_own, topology in topologies_of(structure(), 2)[0]:
        assert len(topology.parts) > 1
        ends = [part.atoms for part in topology.parts]
        assert ends[0].start == 0 and ends[-1].stop == n_own
        assert torch.cat([p.ends_out for p in topology.parts], 1).equal(topology.edge_index)


def test_a_wrong_return_is_seen(monkeypatch) -> None:
    """What the first test rests on: forces that stay with the borrower are missed."""
    monkeypatch.setattr("rgnn.md.lammps.halo.RankHalo.return_nodes", lambda self, f: f[: self.own_atoms])
    with pytest.raises(AssertionError):
        test_shares_add_up_to_the_whole(2, "toy")


def test_deep_ghosts_are_refused() -> None:
    model = pair_energy()
    with pytest.raises(InputError, match="leave --ghosts out") as error:
        RankForces(model, model.hardware, 0, "deep", Member(Meeting(1), 0))
    assert "\n" not in str(error.value)


THERMO = """units metal
atom_style atomic
read_data {data}
mass 1 6.94
mass 2 18.998403163
velocity all create 300 4711 mom yes rot no
timestep 0.001
{fix}
thermo 1
thermo_modify norm no
run 0
print "$(pe:%.10g) $(pxx:%.10g) $(pyy:%.10g) $(pzz:%.10g) $(pxy:%.10g) $(pxz:%.10g) $(pyz:%.10g) $(ke:%.10g)" file {out}
run {steps} post no
print "$(pe:%.10g) $(vol:%.10g) $(press:%.10g) $(temp:%.10g)" append {out}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What 1 and 2 ranks have left of a run in NVE, of a skewed cell with thermo, and of `fix npt`."""
    folder = tmp_path_factory.mktemp("ranks")
    atoms = bulk("LiF", "rocksalt", a=3.3, cubic=True).repeat((3, 2, 2))
    atoms.rattle(0.05, seed=1)
    save_model(pair_energy(shift=-1.0, share=0.0), folder / "model")
    ase.io.write(folder / "start.xyz", atoms)
    atoms.set_cell(atoms.cell[:] @ np.array([[1.0, 0, 0], [0.05, 1, 0], [0.02, 0.03, 1]]), scale_atoms=True)
    ase.io.write(folder / "skewed.data", atoms, format="lammps-data", specorder=["Li", "F"], units="metal")
    ase.io.write(folder / "skewed.xyz", atoms)
    for ranks in (1, 2):
        for name, fix in {"nve": "fix 1 all nve", "npt": "fix 1 all npt temp 300 300 0.1 iso 0 0 0.5"}.items():
            text = THERMO.format(data=folder / "skewed.data", fix=fix, out=folder / f"{name}-{ranks}.txt", steps=10)
            (folder / f"{name}-{ranks}.lammps").write_text(text)
        helper = Path(__file__).parents[1] / "helpers/lammps_energy_ranks.py"
        started(sys.executable, "-m", "mpi4py", helper, folder, ranks=ranks)
    return folder


@with_lammps
def test_thermo_prints_the_energy_and_the_pressure_of_the_model(runs) -> None:
    """In LAMMPS' units and order, of a skewed cell, with what the velocities bring taken off by NkT of each axis."""
    atoms, model = ase.io.read(runs / "skewed.xyz"), load_model(runs / "model")
    atoms.calc = RGNNCalculator(model, noise=0)
    stress = atoms.get_stress()[[0, 1, 2, 5, 4, 3]] / (1e-4 * units.GPa)
    pressures = []
    for ranks in (1, 2):
        first, last = [
            [float(x) for x in line.split()] for line in (runs / f"nve-{ranks}.txt").read_text().splitlines()
        ]
        assert first[0] == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
        pressures.append(np.array(first[1:7]))
        kinetic = 2 * first[7] / atoms.get_volume() / (1e-4 * units.GPa)
        assert np.sum(first[1:4]) == pytest.approx(kinetic - stress[:3].sum(), rel=1e-4)
        np.testing.assert_allclose(first[4:7], -stress[3:], atol=0.2 * kinetic)
        assert last[1] == pytest.approx(atoms.get_volume(), rel=1e-9)
    np.testing.assert_allclose(pressures[0], pressures[1], rtol=1e-5)


@with_lammps
def test_two_ranks_are_one_in_npt(runs) -> None:
    one, two = ([float(x) for x in (runs / f"npt-{n}.txt").read_text().splitlines()[1].split()] for n in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-4)
    volume = ase.io.read(runs / "skewed.xyz").get_volume()
    assert abs(one[1] / volume - 1) > 1e-6


@with_lammps
def test_two_ranks_are_one_in_energy_stress_and_trajectory(runs) -> None:
    one, two = (list(Trajectory(runs / f"nve-{n}" / "trajectory.traj")) for n in (1, 2))
    assert len(one) == len(two) == 11
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-5)
        assert a.get_potential_energy() == pytest.approx(b.get_potential_energy(), rel=1e-6)
        np.testing.assert_allclose(a.get_stress(), b.get_stress(), atol=1e-6)
    last = one[-1].copy()
    last.calc = RGNNCalculator(load_model(runs / "model"), noise=0)
    np.testing.assert_allclose(one[-1].get_stress(), last.get_stress(), atol=1e-6)
    assert one[-1].get_potential_energy() == pytest.approx(last.get_potential_energy(), rel=1e-6)
    total = read_log(runs / "nve-2")["total_eV"]
    assert np.ptp(total) < 0.01 * np.ptp(read_log(runs / "nve-2")["kinetic_eV"])
