import csv
from importlib.util import find_spec
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import FixAtoms
from ase.data import chemical_symbols
from ase.io.trajectory import Trajectory as AseTrajectory
from ase.units import kB

from rgnn.analysis import AnalysisSettings, analyse, arrhenius, differences, displacements, distinct, open_trajectory
from rgnn.analysis.diffusion import squared_displacements
from rgnn.analysis.hops import Hop
from rgnn.analysis.tables import displacement_rows
from rgnn.analysis.trajectory import unwrapped
from rgnn.base.errors import InputError
from rgnn.base.estimate import block_error, mean_of_parts, rate
from rgnn.evaluation import Estimate
from rgnn.md import element_temperature

# Lithium walks far, and uranium stays.
HOPS = {3: Hop(1.0, "as given"), 92: Hop(3.0, "as given")}
needs_kinisi = pytest.mark.skipif(find_spec("kinisi") is None, reason="kinisi is optional")


def walk(seed: int, steps: int = 500, n: int = 24, d: float = 0.5, interval: float = 0.1) -> np.ndarray:
    """Brownian motion of n atoms, [steps, n, 3]; d in square Angstrom per ps."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(0, np.sqrt(2 * d * interval), (steps, n, 3)), axis=0)


def in_a_heavy_frame(moved: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Walking lithium beside atoms so heavy that the centre of mass stays: positions, numbers, masses."""
    rest = np.zeros((len(moved), 4, 3))
    numbers = np.array([3] * moved.shape[1] + [92] * 4)
    return np.concatenate([moved, rest], axis=1), numbers, np.where(numbers == 3, 7.0, 1e7)


def autoregressive(seed: int, n: int, memory: float) -> np.ndarray:
    """x_t = memory x_{t-1} + noise, of unit variance."""
    rng = np.random.default_rng(seed)
    x = np.zeros(n)
    x[0] = rng.normal()
    for t in range(1, n):
        x[t] = memory * x[t - 1] + np.sqrt(1 - memory**2) * rng.normal()
    return x


# Statistics


def test_block_errors_know_of_correlation() -> None:
    n, memory = 4096, 0.9
    known = np.sqrt((1 + memory) / (1 - memory) / n)  # of the mean of a long autoregressive series
    errors = [block_error(autoregressive(seed, n, memory)) for seed in range(20)]
    assert np.mean(errors) == pytest.approx(known, rel=0.15)
    assert block_error(np.random.default_rng(0).normal(size=n)) == pytest.approx(1 / np.sqrt(n), rel=0.25)
    assert np.isnan(block_error(np.array([1.0])))


def test_intervals_of_a_few_parts_cover() -> None:
    rng = np.random.default_rng(0)
    found = [mean_of_parts(rng.normal(3, 1, 5)) for _ in range(2000)]
    assert np.mean([e.low <= 3 <= e.high for e in found]) == pytest.approx(0.95, abs=0.015)
    assert np.isinf(mean_of_parts(np.array([1.0])).high)


def test_rates_are_those_of_the_whole() -> None:
    time = np.linspace(0, 20, 401)
    noise = np.random.default_rng(1).normal(0, 0.3, 401)
    e = rate(time, 2.5 * time + noise)
    assert e.value == pytest.approx(2.5, abs=0.05) and e.low < 2.5 < e.high
    assert np.isnan(rate(np.array([0.0]), np.array([0.0])).value)


# Diffusion


def test_a_random_walk_has_its_coefficient_in_the_interval_19_times_of_20() -> None:
    known = 0.5e-4
    systems = [in_a_heavy_frame(walk(seed)) for seed in range(120)]
    found = [displacements(*system, 0.1, with_kinisi=False, hops=HOPS).elements[0] for system in systems]
    values = np.array([d.coefficient.value for d in found])
    assert values.mean() == pytest.approx(known, rel=0.03)
    covered = np.mean([d.coefficient.low <= known <= d.coefficient.high for d in found])
    assert 0.90 <= covered <= 1.0
    assert np.mean([(d.coefficient.high - d.coefficient.low) / 2 for d in found]) < 0.3 * known
    assert found[0].exponent == pytest.approx(1, abs=0.15) and found[0].is_diffusive


@needs_kinisi
def test_kinisi_agrees_with_the_known_coefficient_and_is_narrower() -> None:
    system = in_a_heavy_frame(walk(3))
    both = (displacements(*system, 0.1, with_kinisi=k, hops=HOPS) for k in (True, False))
    with_it, without = (found.elements[0].coefficient for found in both)
    assert with_it.low < 0.5e-4 < with_it.high
    assert with_it.high - with_it.low < without.high - without.low
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    again = displacements(*system, 0.1, with_kinisi=True, hops=HOPS).elements[0].coefficient
    assert again == with_it
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_the_variance_that_kinisi_is_given() -> None:
    """Of a random walk: msd = 6 D t, and the squared length of a step has a variance of 2/3 of its mean squared."""
    mean, variance, independent = squared_displacements(walk(0, steps=2001, n=50, d=0.5, interval=0.1), [1, 10])
    np.testing.assert_allclose(mean, [0.3, 3.0], rtol=0.05)
    np.testing.assert_array_equal(independent, [50 * 2000, 50 * 200])
    np.testing.assert_allclose(variance, mean**2 * (2 / 3) / independent, rtol=0.1)


def test_what_rattles_or_flies_does_not_diffuse() -> None:
    rng = np.random.default_rng(0)
    rattling = rng.normal(0, 0.2, (400, 10, 3))
    flying = np.arange(400)[:, None, None] * rng.normal(0, 1, (10, 3))
    verdicts = []
    for moved in (rattling, flying):
        (d, _) = displacements(*in_a_heavy_frame(moved), 0.1, with_kinisi=False, hops=HOPS).elements
        verdicts.append((d.verdict, d.is_diffusive))
    assert verdicts == [("no hop", False), ("still ballistic", False)]


def test_short_runs_and_late_starts_are_refused() -> None:
    with pytest.raises(InputError, match="30 frames are too few"):
        displacements(*in_a_heavy_frame(walk(0, steps=30)), 0.1)
    with pytest.raises(InputError, match="fit from an earlier lag"):
        displacements(*in_a_heavy_frame(walk(0)), 0.1, start=9.9)


# Activation energies

E_A, D_0 = 0.35, 2e-3  # eV, square centimetres per second


def of_a_walk(temperature: float, seed: int) -> Estimate:
    d = D_0 * np.exp(-E_A / (kB * temperature)) / 1e-4
    system = in_a_heavy_frame(walk(seed, d=d))
    return displacements(*system, 0.1, with_kinisi=False, hops=HOPS).elements[0].coefficient


def test_the_activation_energy_of_walks_is_recovered() -> None:
    kelvin = (600, 800, 1000, 1500)
    found = []
    for repeat in range(30):
        fit = arrhenius(kelvin, [of_a_walk(t, 100 * repeat + k) for k, t in enumerate(kelvin)])
        found.append(fit.energy)
    assert np.mean([e.low <= E_A <= e.high for e in found]) >= 0.9
    assert np.mean([e.value for e in found]) == pytest.approx(E_A, abs=0.01)
    assert np.mean([(e.high - e.low) / 2 for e in found]) < 0.06
    assert fit.prefactor == pytest.approx(D_0, rel=0.5)


def test_the_fit_is_not_continued() -> None:
    exact = [Estimate(d, 0.95 * d, 1.05 * d) for d in D_0 * np.exp(-E_A / (kB * np.array([600, 900, 1200])))]
    fit = arrhenius([600, 900, 1200], exact)
    assert fit.energy.value == pytest.approx(E_A, abs=1e-9)
    assert fit.at(np.array([900.0]))[0] == pytest.approx(exact[1].value)
    with pytest.raises(InputError, match="600 to 1200 K and is not continued"):
        fit.at(np.array([300.0]))
    with pytest.raises(InputError, match="two temperatures"):
        arrhenius([600, 604], exact[:2])
    assert distinct([600, 900, 604, 893]) == 2 and distinct([]) == 0
    with pytest.raises(InputError, match="holds zero"):
        arrhenius([600, 900], [exact[0], Estimate(1e-6, -1e-7, 2e-6)])


def test_points_that_scatter_widen_the_interval() -> None:
    kelvin = [600, 800, 1000, 1200]
    d = D_0 * np.exp(-E_A / (kB * np.array(kelvin)))
    scattered = d * np.array([1.4, 0.7, 1.4, 0.7])
    calm, wild = (arrhenius(kelvin, [Estimate(x, 0.98 * x, 1.02 * x) for x in y]) for y in (d, scattered))
    assert wild.energy.high - wild.energy.low > 10 * (calm.energy.high - calm.energy.low)


# Trajectories


def gas(n_frames: int, seed: int = 0, wrapped: bool = True) -> tuple[list[Atoms], np.ndarray]:
    """Frames of walking atoms in a skewed box, and where they truly are."""
    cell = np.array([[9.0, 0, 0], [2.0, 8.0, 0], [-1.0, 1.0, 10.0]])
    start = np.random.default_rng(seed).random((20, 3)) @ cell
    true = start + walk(seed, n_frames, 20, d=1.0)
    true += start - true[0]
    frames = []
    for k, x in enumerate(true):
        atoms = Atoms(numbers=[3] * 8 + [8] * 12, positions=x, cell=cell, pbc=True, info={"time_fs": 100.0 * k})
        if wrapped:
            atoms.wrap()
        frames.append(atoms)
    return frames, true


def test_a_slab_whose_cell_has_no_third_vector_is_unwrapped_too() -> None:
    cell = np.array([[8.0, 0, 0], [2.0, 7.0, 0], [0, 0, 0]])
    moved = np.cumsum(np.full((30, 2, 3), [0.5, -0.4, 0.3]), axis=0) + np.array([[0, 0, 0], [3.0, 3.0, 1.0]])
    frames = [Atoms("Li2", x, cell=cell, pbc=(True, True, False)) for x in moved]
    for atoms in frames:
        atoms.wrap()
    found = np.array([atoms.positions for atoms in unwrapped(iter(frames))])
    np.testing.assert_allclose(found - found[0], moved - moved[0], atol=1e-9)


def test_wrapped_positions_are_unwrapped() -> None:
    frames, true = gas(200)
    assert max(np.abs(f.positions - x).max() for f, x in zip(frames, true, strict=True)) > 8
    offset = frames[0].positions - true[0]
    for atoms, x in zip(unwrapped(iter(frames)), true, strict=True):
        np.testing.assert_allclose(atoms.positions, x + offset, atol=1e-9)


@pytest.mark.parametrize("name", ["gas.xyz", "gas.traj", "gas.xyz.gz"])
def test_any_file_is_read_with_its_time(tmp_path: Path, name: str) -> None:
    frames, true = gas(60)
    ase.io.write(tmp_path / name, frames)
    opened = open_trajectory(tmp_path / name)
    assert (opened.length, opened.is_run) == (60, False)
    assert opened.interval == pytest.approx(0.1)
    some = list(opened.frames(10, 7))
    assert [a.info["time_fs"] for a in some] == [100.0 * k for k in range(10, 60, 7)]
    np.testing.assert_allclose(some[-1].positions - some[0].positions, true[59] - true[10], atol=1e-6)


def test_frames_of_one_temperature(tmp_path: Path) -> None:
    frames, _ = gas(12)
    for k, atoms in enumerate(frames):
        atoms.info = {"temperature": (300, 600, 900)[k % 3]}
    ase.io.write(tmp_path / "all.xyz", frames)
    opened = open_trajectory(tmp_path / "all.xyz", temperature=600)
    assert (opened.length, opened.interval) == (4, None)
    assert {a.info["temperature"] for a in opened.frames()} == {600}
    with pytest.raises(InputError, match="temperature=700"):
        open_trajectory(tmp_path / "all.xyz", temperature=700)


def test_a_file_that_is_still_written(tmp_path: Path) -> None:
    frames, _ = gas(5)
    file = tmp_path / "gas.xyz"
    ase.io.write(file, frames)
    file.write_bytes(file.read_bytes()[:-40])
    assert open_trajectory(file).length == 4
    assert len(list(open_trajectory(file).frames())) == 4


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_trajectory(tmp_path / "nothing.xyz")
    with pytest.raises(InputError, match="no run of rgnn md"):
        open_trajectory(tmp_path)
    frames, _ = gas(2)
    ase.io.write(tmp_path / "two.xyz", [frames[0], frames[1][:7]])
    with pytest.raises(InputError, match=r"7 atoms where the one before had 20|other atoms"):
        analyse(open_trajectory(tmp_path / "two.xyz"), AnalysisSettings(skip=0))


# One pass over everything


@pytest.fixture(scope="module")
def crystal_file(tmp_path_factory) -> Path:
    """A rattling crystal at a known temperature, as a foreign trajectory with velocities."""
    rng = np.random.default_rng(0)
    from ase.build import bulk

    rest = bulk("LiF", "rocksalt", a=4.0, cubic=True).repeat(2)
    file = tmp_path_factory.mktemp("crystal") / "crystal.traj"
    with AseTrajectory(file, "w") as out:
        for k in range(100):
            atoms = rest.copy()
            atoms.positions += rng.normal(0, 0.08, rest.positions.shape)
            momenta = rng.normal(size=(64, 3)) * np.sqrt(rest.get_masses() * kB * 700)[:, None]
            momenta -= rest.get_masses()[:, None] * momenta.sum(axis=0) / rest.get_masses().sum()
            atoms.set_momenta(momenta)
            atoms.info["time_fs"] = 20.0 * k
            out.write(atoms)
    return file


def test_a_crystal_is_what_it_is(crystal_file: Path) -> None:
    a = analyse(open_trajectory(crystal_file), AnalysisSettings(), with_kinisi=False)
    assert (a.frames, a.skipped, a.atoms) == (80, 20, 64)
    assert a.length == pytest.approx(79 * 0.02)
    shells = {s.name: s for s in a.shells}
    for name in ("Li-F", "F-Li"):
        assert shells[name].number.value == pytest.approx(6, abs=0.05)
        assert 2.2 < shells[name].distance < 3.0
    assert shells["Li-Li"].number.value == pytest.approx(12, abs=0.3)
    for name in ("all", "Li", "F"):
        assert a.temperature[name].low < 700 < a.temperature[name].high
    assert {d.verdict for d in a.displacements.elements} == {"no hop"}
    assert [d.hop.length for d in a.displacements.elements] == pytest.approx([2.83, 2.83], abs=0.05)
    assert a.vibrations is None and any("vibrational density of states" in note for note in a.notes)
    assert any("unwrapped" in note for note in a.notes)
    assert all(0 < x < 0.2 for x in a.floor.values())


def test_a_trajectory_against_itself_and_against_another(crystal_file: Path, tmp_path: Path) -> None:
    config = AnalysisSettings(skip=0)
    a = analyse(open_trajectory(crystal_file), config, with_kinisi=False)
    assert set(differences(a.radial, a.radial).values()) == {0.0}
    assert set(differences(a.radial, a.radial)) == {"all", "Li-Li", "Li-F", "F-F"}
    frames, _ = gas(6)
    ase.io.write(tmp_path / "gas.xyz", frames)
    other = analyse(open_trajectory(tmp_path / "gas.xyz"), config, with_kinisi=False)
    with pytest.raises(InputError, match="cannot be compared"):
        differences(a.radial, other.radial)
    finer = analyse(open_trajectory(crystal_file), config.override(width=0.05), with_kinisi=False)
    with pytest.raises(InputError, match="bins"):
        differences(a.radial, finer.radial)


def test_skips_and_what_they_leave(crystal_file: Path) -> None:
    opened = open_trajectory(crystal_file)
    assert analyse(opened, AnalysisSettings(skip_ps=1.0), with_kinisi=False).skipped == 50
    with pytest.raises(InputError, match="nothing is left after 5 ps"):
        analyse(opened, AnalysisSettings(skip_ps=5.0))
    with pytest.raises(InputError, match="skip is"):
        AnalysisSettings(skip=1.0)
    few = analyse(opened, AnalysisSettings(skip=0.7), with_kinisi=False)
    assert few.displacements is None and any("too few" in note for note in few.notes)


def test_long_runs_are_thinned_and_not_kept_whole(crystal_file: Path, monkeypatch) -> None:
    from rgnn.analysis import run

    monkeypatch.setattr(run, "KEPT", 64 * 50)
    monkeypatch.setattr(run, "RADIAL_FRAMES", 20)
    a = analyse(open_trajectory(crystal_file), AnalysisSettings(skip=0), with_kinisi=False)
    assert a.displacements.interval == pytest.approx(0.04)
    assert len(a.displacements.elements[0].msd) == 50
    assert a.radial.frames == 20 and len(a.parts) == 10
    assert len(list(a.temperature)) == 3


def test_columns_of_runs_with_other_elements_stand_under_their_own_names(tmp_path: Path) -> None:
    runs = []
    for name, symbols in (("water,hot", "OH"), ("salt", "LiF")):
        moved = walk(len(runs), 60, 2) + np.array([[0.0, 0, 0], [30.0, 0, 0]])
        frames = [Atoms(symbols, positions=x, info={"time_fs": 50.0 * k}) for k, x in enumerate(moved)]
        ase.io.write(tmp_path / f"{name}.xyz", frames)
        runs.append(analyse(open_trajectory(tmp_path / f"{name}.xyz"), AnalysisSettings(skip=0), with_kinisi=False))
    rows = list(csv.DictReader(displacement_rows(runs)))
    for a in runs:
        mine = [row for row in rows if row["run"] == a.name]
        for d in a.displacements.elements:
            found = [float(row.pop(f"{chemical_symbols[d.element]}_A2")) for row in mine]
            np.testing.assert_allclose(found, d.msd[: len(found)], rtol=1e-5)
        assert {value for row in mine for name, value in row.items() if name.endswith("_A2")} == {""}


def test_a_molecule_has_no_distribution_but_moves(tmp_path: Path) -> None:
    apart = walk(0, 60, 2) + np.array([[0.0, 0, 0], [30.0, 0, 0]])
    frames = [Atoms("OH", positions=x, info={"time_fs": 50.0 * k}) for k, x in enumerate(apart)]
    ase.io.write(tmp_path / "molecule.xyz", frames)
    a = analyse(open_trajectory(tmp_path / "molecule.xyz"), AnalysisSettings(skip=0), with_kinisi=False)
    assert a.radial is None and a.halves is None and a.floor == {}
    assert a.displacements is not None
    assert any("no g(r)" in note for note in a.notes)


def test_motion_beside_anchored_atoms_is_seen_from_the_cell(tmp_path: Path) -> None:
    """All lithium swings as one at 5 THz beside fluorine that is held: the centre of mass swings with it."""
    from ase.build import bulk

    rest, interval, reach = bulk("LiF", "rocksalt", a=4.0, cubic=True), 0.02, 0.1
    lithium, omega = rest.numbers == 3, 2 * np.pi * 5.0
    with AseTrajectory(tmp_path / "held.traj", "w") as out:
        for k in range(250):
            atoms = rest.copy()
            atoms.positions[lithium, 0] += reach * np.cos(omega * interval * k)
            velocities = np.zeros((8, 3))
            velocities[lithium, 0] = -reach * omega * np.sin(omega * interval * k) / (1000 * units.fs)
            atoms.set_velocities(velocities)
            atoms.set_constraint(FixAtoms(np.flatnonzero(~lithium)))
            atoms.info["time_fs"] = 1000 * interval * k
            out.write(atoms)
    a = analyse(open_trajectory(tmp_path / "held.traj"), AnalysisSettings(skip=0), with_kinisi=False)
    assert a.displacements.of(9).msd.max() == 0
    assert a.displacements.of(3).msd[:50].max() == pytest.approx(2 * reach**2, rel=0.02)
    assert list(a.vibrations.density) == [3] and a.vibrations.mean(3) == pytest.approx(5, abs=0.05)
    assert a.temperature["F"].value == 0


def test_a_mask_that_fixes_no_atom_is_no_anchor(tmp_path: Path) -> None:
    """Programs write one with every frame."""
    frames, rng = [], np.random.default_rng(0)
    for k in range(3):
        frames.append(Atoms("Li4", rng.normal(0, 1, (4, 3)), info={"time_fs": 10.0 * k}))
        frames[-1].set_momenta(rng.normal(size=(4, 3)))
        frames[-1].arrays["move_mask"] = np.full(4, True)
    ase.io.write(tmp_path / "free.xyz", frames)
    a = analyse(open_trajectory(tmp_path / "free.xyz"), AnalysisSettings(skip=0), with_kinisi=False)
    kinetic = np.mean([f.get_kinetic_energy() for f in frames])
    assert a.temperature["all"].value == pytest.approx(2 * kinetic / (9 * units.kB))


def test_temperatures_are_those_of_dynamics(crystal_file: Path) -> None:
    frames = ase.io.read(crystal_file, ":")
    a = analyse(open_trajectory(crystal_file), AnalysisSettings(skip=0), with_kinisi=False)
    assert a.temperature["Li"].value == pytest.approx(np.mean([element_temperature(f, 3) for f in frames]))
    kinetic = np.mean([f.get_kinetic_energy() for f in frames])
    assert a.temperature["all"].value == pytest.approx(2 * kinetic / (3 * 64 - 3) / units.kB)
