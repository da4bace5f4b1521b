import fcntl
import json
import os
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io.trajectory import Trajectory
from ranks import Meeting, Member, domain, started, with_lammps

from rgnn import RGNN, Graph, Hardware, RGNNCalculator, save_model
from rgnn.base.errors import InputError
from rgnn.data.sample import sample_frames
from rgnn.graphs.neighbours import edge_vectors, neighbour_list
from rgnn.kernels import use
from rgnn.kernels.plain import gate
from rgnn.md import MDSettings, read_log, run_atoms
from rgnn.md.lammps.forces import RankForces
from rgnn.md.lammps.halo import sorted_edges
from rgnn.models.settings import MessagePassingSettings


def shared_forces(atoms: Atoms, model: RGNN, hardware: Hardware, size: int, ghosts: str = "exchange", seed: int = 0):
    def work(world):
        forces = RankForces(model, hardware, seed, ghosts, world)
        mine = domain(atoms, world.rank, world.size, forces.reach)
        return mine.tags[: mine.n_own] - 1, forces(mine, step=4).forces

    found = np.full((len(atoms), 3), np.nan)
    for rows, forces in Meeting(size).run(work):
        found[rows] = forces
    return found


def plain_forces(atoms: Atoms, model: RGNN, hardware: Hardware) -> np.ndarray:
    g = Graph.from_positions(
        atoms.numbers, atoms.get_positions(wrap=True), atoms.cell[:], atoms.pbc, model.settings.cutoff
    )
    with torch.no_grad():
        return model(g, model.read(hardware)).forces.numpy()


@pytest.fixture(scope="module")
def frame() -> Atoms:
    f = next(iter(sample_frames()))
    return Atoms(f.numbers, f.positions, cell=f.cell, pbc=f.pbc)


QUIET = Hardware(noise=None)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ranks_that_exchange_features_find_the_forces_of_the_whole(any_model, frame, size: int) -> None:
    whole = plain_forces(frame, any_model, QUIET)
    assert np.abs(whole).max() > 0.1
    np.testing.assert_allclose(shared_forces(frame, any_model, QUIET, size), whole, atol=1e-5)


def test_in_double_precision_they_agree_to_rounding(built, glass, frame) -> None:
    """Layers of both kinds, more of them than by default, no envelope: every edge counts."""
    shape = MessagePassingSettings(cutoff=3.0, n_features=4, reservoir_layers=2, trained_layers=2, envelope="none")
    g = Graph.from_positions(frame.numbers, frame.positions, frame.cell[:], frame.pbc, 3.0)
    model = built(shape, Hardware(), g).double()
    with use("plain"):
        whole = plain_forces(frame, model, QUIET)
        np.testing.assert_allclose(shared_forces(frame, model, QUIET, 3), whole, atol=1e-9 * np.abs(whole).max())


def test_without_the_exchange_forces_are_wrong(small_model, frame, monkeypatch) -> None:
    """What the tests above rest on: features of the halo matter."""
    monkeypatch.setattr("rgnn.md.lammps.halo.RankHalo.nodes", lambda self, n: n)
    wrong = shared_forces(frame, small_model, QUIET, 2) - plain_forces(frame, small_model, QUIET)
    assert np.abs(wrong).max() > 1e-2


def test_deep_ghosts_need_no_exchange(built, frame) -> None:
    config = MessagePassingSettings(cutoff=2.6, n_features=4, reservoir_layers=1, trained_layers=1)
    g = Graph.from_positions(frame.numbers, frame.positions, frame.cell[:], frame.pbc, 2.6)
    model = built(config, Hardware(), g)
    whole = plain_forces(frame, model, QUIET)
    np.testing.assert_allclose(shared_forces(frame, model, QUIET, 2, "deep"), whole, atol=1e-5)


def test_a_large_halo_is_worked_on_in_parts(any_model, frame, monkeypatch) -> None:
    monkeypatch.setattr("rgnn.graphs.topology.PART", 700)
    whole = plain_forces(frame, any_model, QUIET)
    np.testing.assert_allclose(shared_forces(frame, any_model, QUIET, 2), whole, atol=1e-5)


def test_a_rank_without_atoms_waits_for_nobody(small_model) -> None:
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True)
    atoms.set_cell([40, 4.03, 4.03])
    whole = plain_forces(atoms, small_model, QUIET)
    np.testing.assert_allclose(shared_forces(atoms, small_model, QUIET, 4), whole, atol=1e-5)


def test_read_noise_is_a_stream_of_each_rank(small_model, frame) -> None:
    noisy = Hardware(noise=0.1)
    one, again = (shared_forces(frame, small_model, noisy, 2, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - shared_forces(frame, small_model, noisy, 2, seed=2)).max() > 1e-3
    # Two halves with the same atoms in the same order would draw the same noise from one stream.
    half = frame.copy()
    pair = half.repeat((2, 1, 1))
    forces = shared_forces(pair, small_model, noisy, 2)
    assert np.abs(forces[:192] - forces[192:]).max() > 1e-3
    forces = shared_forces(pair, small_model, QUIET, 2)
    np.testing.assert_allclose(forces[:192], forces[192:], atol=1e-5)


def test_hardware_that_looks_at_all_rows_is_refused(small_model) -> None:
    for hardware in (Hardware(range="dynamic"), Hardware(noise=0.1, noise_sharing="plane")):
        with pytest.raises(InputError, match=r"cannot be shared by ranks.*without --engine lammps"):
            RankForces(small_model, hardware, 0, "exchange", Member(Meeting(1), 0))
    digital = RGNN(MessagePassingSettings(reservoir_layers=0), Hardware(range="dynamic"))
    assert RankForces(digital, digital.hardware, 0, "deep", Member(Meeting(1), 0)).reach == 3 * 3.8


def test_edges_are_in_the_order_of_the_neighbour_list() -> None:
    """In a skew cell smaller than the cutoff, where atoms have many images, after any permutation."""
    atoms = bulk("LiF", "rocksalt", a=4.03)
    atoms.rattle(0.05, seed=1)
    index, shift = neighbour_list(atoms.positions, atoms.cell[:], atoms.pbc, 6.0)
    vector = edge_vectors(atoms.positions, atoms.cell[:], index, shift)
    mixed = np.random.default_rng(0).permutation(len(vector))
    order = sorted_edges(index[0][mixed], index[1][mixed], vector[mixed], atoms.cell[:])
    np.testing.assert_array_equal(mixed[order], np.arange(len(vector)))


def test_a_row_is_the_same_among_any_others(small_model) -> None:
    """On which equal bits on all ranks rest."""
    x = torch.randn(1000, 36, generator=torch.Generator().manual_seed(0))
    e = torch.randn(1000, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for rows in (slice(0, 7), slice(1, 400), slice(13, 999)):
            assert torch.equal(gate(x[rows]), gate(x)[rows])
            assert torch.equal(small_model.head(e[rows]), small_model.head(e)[rows])


# LAMMPS itself


def skewed() -> Atoms:
    """A skew cell smaller than the cutoff, turned in space, with atoms outside of it."""
    atoms = bulk("LiF", "rocksalt", a=4.03).repeat((2, 1, 1))
    atoms.rattle(0.08, seed=2)
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    atoms.positions[1] += 2 * atoms.cell[1] - atoms.cell[0]
    return atoms


@pytest.fixture(scope="module")
def folder(small_model, frame, tmp_path_factory) -> Path:
    """What 1 and 2 ranks have left; made once for all processes of the suite."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "ranks"
    with (base / "ranks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            fill(folder, small_model, frame)
    return folder


def fill(folder: Path, model: RGNN, glass: Atoms) -> None:
    save_model(model, folder / "model")
    slab = bulk("LiF", "rocksalt", a=4.03, cubic=True).repeat((1, 1, 2))
    slab.rattle(0.1, seed=3)
    slab.pbc = (True, True, False)
    molecule = Atoms("LiFLi", [[0, 0, 0], [1.7, 0, 0], [2.2, 1.5, 0]])
    for name, atoms in {"glass": glass, "skewed": skewed(), "slab": slab, "molecule": molecule}.items():
        ase.io.write(folder / f"{name}.xyz", atoms, format="extxyz")
    for ranks in (1, 2):
        started(
            sys.executable, "-m", "mpi4py", Path(__file__).parents[1] / "helpers/lammps_ranks.py", folder, ranks=ranks
        )


@with_lammps
@pytest.mark.parametrize("ranks", [1, 2])
def test_forces_in_lammps_are_those_of_the_calculator(folder, small_model, ranks: int) -> None:
    found = np.load(folder / f"forces-{ranks}.npz")
    names = sorted(set(found) - {"kinetic"})
    assert len(names) == 6
    for name, forces in ((name, found[name]) for name in names):
        atoms = ase.io.read(folder / f"{name.split()[0]}.xyz")
        atoms.calc = RGNNCalculator(small_model, noise=0, remove_net_force=True, any_element=True)
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-5, err_msg=name)


def frames(run: Path):
    for f in Trajectory(run / "trajectory.traj"):
        yield f.positions, f.get_momenta(), f.get_forces()


def assert_same_run(one: Path, other: Path, atol: float) -> None:
    a, b = list(frames(one)), list(frames(other))
    assert len(a) == len(b) > 3
    for x, y in zip(a, b, strict=True):
        for u, v in zip(x, y, strict=True):
            np.testing.assert_allclose(u, v, atol=atol)


@with_lammps
def test_without_a_thermostat_lammps_and_ase_go_the_same_way(folder, small_model, frame, tmp_path) -> None:
    config = MDSettings(steps=30, temperature=400, write_every=3, seed=5, noise=0.0, any_element=True, ensemble="nve")
    run_atoms(frame, small_model, config, tmp_path / "ase")
    assert_same_run(tmp_path / "ase", folder / "nve-1", atol=2e-5)
    log, ours = read_log(tmp_path / "ase"), read_log(folder / "nve-1")
    assert list(log) == list(ours)
    for name, values in log.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


@with_lammps
@pytest.mark.parametrize("run", ["nve", "nvt"])
def test_two_ranks_go_the_way_of_one(folder, run: str) -> None:
    assert_same_run(folder / f"{run}-1", folder / f"{run}-2", atol=1e-7)


@with_lammps
def test_the_thermostat_gives_each_atom_its_share(folder) -> None:
    """3/2 kT (1 - m / M), where the centre of mass is at rest: 3 kT for three atoms, not 4.5."""
    masses = ase.io.read(folder / "molecule.xyz").get_masses()
    for ranks in (1, 2):
        kinetic = np.load(folder / f"forces-{ranks}.npz")["kinetic"]
        np.testing.assert_allclose(kinetic, 1.5 * (1 - masses / masses.sum()), rtol=0.06)
        assert kinetic.sum() == pytest.approx(3, rel=0.04)


@with_lammps
def test_a_stopped_and_resumed_run_goes_the_way_of_an_unbroken_one(folder) -> None:
    for ranks in (1, 2):
        assert_same_run(folder / f"nvt-{ranks}", folder / f"cut-{ranks}", atol=1e-7)
        assert read_log(folder / f"cut-{ranks}")["step"].tolist() == [0, 3, 6, 9, 12]


@with_lammps
def test_noise_differs_from_step_to_step(folder) -> None:
    a, b = read_log(folder / "noisy-2")["net_force"], read_log(folder / "nve-2")["net_force"]
    assert np.abs(np.diff(a)).min() > 0
    assert a[0] != b[0]


@with_lammps
def test_the_command_line_and_a_users_own_input(folder, tmp_path) -> None:
    rgnn = (Path(sys.executable).parent / "rgnn",)
    common = ("md", folder / "glass.xyz", "--model", folder / "model", "--any-element", "--engine", "lammps")
    said = started(*rgnn, *common, "--steps", 4, "--every", 2, "--out", "run", "--json", ranks=2, cwd=tmp_path)
    result = json.loads(said[said.index("{") :])
    assert (result["steps"], result["ranks"], len(result["memory_gb"])) == (4, 2, 2)
    names = {file.name for file in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "log.csv", "speed.csv", "trajectory.xyz", "trajectory.traj", "restart.safetensors",
                     "final.xyz", "summary.json", "dynamics.png"}  # fmt: skip
    hot = ("--timestep", 20, "--temperature", 20000, "--out", "hot", "--any-element", "--engine", "lammps")
    said = started(
        *rgnn, "md", folder / "molecule.xyz", "--model", folder / "model", *hot, ranks=2, cwd=tmp_path, code=4
    )
    assert said.count("Error:") == 1 and "lost its last neighbour" in said

    glass = ase.io.read(folder / "glass.xyz")
    ase.io.write(tmp_path / "glass.data", glass, format="lammps-data", specorder=["Li", "O", "P"], masses=True)
    (tmp_path / "in.lammps").write_text(
        "units metal\nread_data glass.data\nfix 1 all nve\ntimestep 0.001\ndump 1 all custom 1 dump id fx fy fz\n"
        "dump_modify 1 sort id format float %.10f\nvariable k loop 2\nlabel again\nrun 1\nnext k\njump SELF again\n"
    )
    own = ("md", "--input", "in.lammps", "--model", folder / "model", "--noise", 0, "--any-element")
    said = started(*rgnn, *own, "--elements", "Li,O,P", cwd=tmp_path)
    assert "Loop time" in said and "net force, removed" in said
    dumped = np.loadtxt((tmp_path / "dump").read_text().splitlines()[9 : 9 + len(glass)])[:, 1:]
    np.testing.assert_allclose(dumped, np.load(folder / "forces-1.npz")["glass exchange"], atol=1e-5)
