"""No number of diffusion from atoms that have fused, nor from a run that broke off."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2
from ase.data import covalent_radii
from springs import CONFIG, Springs, crystal

from rgnn import save_model
from rgnn.analysis import AnalysisSettings, analyse, compare, open_trajectory
from rgnn.base.errors import BrokenRunError, InputError
from rgnn.base.provenance import Closest, Provenance, TrainingDomain
from rgnn.base.settings import dump_yaml, read_yaml
from rgnn.md import RunOrigin, run_atoms
from rgnn.md.contacts import FUSED, STOP, ContactLimits, closest_within
from rgnn.plots.analysis import radial_figure
from rgnn.reports.analysis import analysis_tables

KEEP_ALL = AnalysisSettings(skip=0.0)
FRAMES = 100


def rattling(path: Path, fuse_at: int | None = None, distance: float = 0.1) -> Path:
    """A crystal of which two lithium atoms fuse at a frame, as a foreign trajectory."""
    rng = np.random.default_rng(0)
    rest, frames = bulk("LiF", "rocksalt", a=4.0, cubic=True).repeat(2), []
    for k in range(FRAMES):
        atoms = rest.copy()
        atoms.positions += rng.normal(0, 0.05, rest.positions.shape)
        if fuse_at is not None and k >= fuse_at:
            atoms.positions[2] = atoms.positions[0] + (distance, 0, 0)
        atoms.info["time_fs"] = 20.0 * k
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


def fitted(path: Path, **changes):
    return analyse(open_trajectory(path), KEEP_ALL.override(**changes), with_kinisi=False)


@pytest.mark.parametrize("fuse_at", [60, FRAMES - 1])
def test_fused_atoms_are_named_and_nothing_is_fitted_to_them(tmp_path, fuse_at: int) -> None:
    sound, fused = fitted(rattling(tmp_path / "a.traj")), fitted(rattling(tmp_path / "b.xyz", fuse_at))
    assert sound.displacements is not None and not sound.unsound
    assert fused.displacements is None
    assert fused.unsound.startswith(f"Li-Li are 0.1 Angstrom apart at {0.02 * fuse_at:.4g} ps")
    assert f"{FUSED:g} of the sum of their covalent radii, 2.56" in fused.unsound
    counted = fused.radial.of((3, 3))[fused.radial.r < 0.2]
    assert counted.sum() > 0 and not sound.radial.of((3, 3))[sound.radial.r < 0.2].any()
    (table,) = (t for t in analysis_tables([fused], None, {}) if t.title.startswith("Closest"))
    (row,) = (row for row in table.rows if row[0] == "Li-Li")
    assert row[1] == "0.10" and row[-1] == "too close" and row[2] == f"{0.02 * fuse_at:.4g} ps"
    assert radial_figure([fused], None, tmp_path / "rdf.png").stat().st_size > 1000


def test_the_sound_part_is_what_came_before(tmp_path) -> None:
    whole = rattling(tmp_path / "fused.traj", 60)
    part, cut = fitted(whole, sound_part=True), tmp_path / "cut.traj"
    ase.io.write(cut, ase.io.read(whole, ":60"))
    alone = fitted(cut)
    assert part.frames == 60 and not part.unsound and "the part before this: Li-Li are 0.1" in part.notes[0]
    for a, b in zip(part.displacements.elements, alone.displacements.elements, strict=True):
        assert a.coefficient == b.coefficient
    untouched = fitted(rattling(tmp_path / "sound.traj"), sound_part=True)
    assert untouched.frames == FRAMES and not any("before" in note for note in untouched.notes)
    with pytest.raises(InputError, match=r"no sound part: Li-Li are 0\.1"):
        fitted(rattling(tmp_path / "never.traj", 0), sound_part=True)


def test_no_activation_energy_of_fused_atoms(tmp_path) -> None:
    runs = [rattling(tmp_path / f"{k}.traj", 60) for k in range(2)]
    with pytest.raises(InputError, match=r"no activation energy: 0: Li-Li are 0.1 .*--sound-part"):
        compare(runs, KEEP_ALL, arrhenius=True)
    found = compare(runs, KEEP_ALL)
    assert len(found.warnings) == 2 and "--sound-part" in found.warnings[0]


def pulled(distance: float) -> Springs:
    """Springs whose training set had lithium and fluorine at this distance at least."""
    springs = Springs()
    closest = (Closest(first=3, second=9, distance=distance),)
    springs.provenance = Provenance(elements=(3, 9), seen=TrainingDomain(closest=closest, frames=1))
    return springs


HOT = CONFIG.override(steps=60, temperature=3000, timestep=2.0, friction=0.1, write_every=1)


@pytest.mark.parametrize("action", ["stop", "warn", "ignore"])
def test_a_run_is_compared_with_what_its_model_was_trained_on(tmp_path, action: str) -> None:
    """At 0.81 of the closest labelled distance from the start, so the first vibrations cross the limit."""
    out, settings = tmp_path / "run", HOT.override(close_contacts=action)
    try:
        run_atoms(crystal(), pulled(2.5), settings, out)
        assert action != "stop"
    except BrokenRunError:
        assert action == "stop"
    found = fitted(out)
    assert found.displacements is None and "where the training set has 2.5 at least" in found.unsound
    part = fitted(out, sound_part=True)
    assert 0 < part.frames < found.frames and len(part.trajectory.log["step"]) == part.frames
    limit = STOP * 2.5
    for atoms in part.trajectory.frames():
        assert closest_within(atoms, 3.0)[3, 9] >= limit


def test_a_run_of_before_is_compared_with_what_its_model_says(tmp_path, small_model, glass) -> None:
    """It has not recorded the distances; a model that is another one by now says nothing."""
    cluster = Atoms([3, 8, 15, 8], [[0, 0, 0], [2.0, 0, 0], [0, 2.0, 0], [2.0, 2.0, 0]])
    small_model.provenance = Provenance(
        elements=(3, 8, 15), seen=TrainingDomain(closest=(Closest(first=3, second=8, distance=3.0),), frames=1)
    )
    try:
        save_model(small_model, tmp_path / "model")
        settings = CONFIG.override(steps=3, write_every=1, close_contacts="ignore")
        run_atoms(cluster, small_model, settings, tmp_path / "run", origin=RunOrigin(model=str(tmp_path / "model")))
    finally:
        small_model.provenance = Provenance()
    assert "has 3 at least" in fitted(tmp_path / "run").unsound
    record = read_yaml(tmp_path / "run/config.yaml")
    del record["seen"]
    (tmp_path / "run/config.yaml").write_text(dump_yaml(record))
    assert "has 3 at least" in fitted(tmp_path / "run").unsound
    (tmp_path / "run/config.yaml").write_text(dump_yaml({**record, "model_fingerprint": "another"}))
    assert not fitted(tmp_path / "run").unsound


def test_a_run_that_broke_off_is_no_result(tmp_path) -> None:
    out = tmp_path / "run"
    run_atoms(crystal(), pulled(1.5), HOT.override(steps=100, temperature=200), out)
    assert fitted(out).displacements is not None
    broken = ase.io.read(out / "final.xyz")
    broken.info = {"step": 101, "time_fs": 202.0}
    ase.io.write(out / "broken.xyz", broken)
    found = fitted(out)
    assert found.displacements is None and found.unsound == "the run broke off at step 101, 0.202 ps"
    assert fitted(out, sound_part=True).frames == 101
    log = (out / "log.csv").read_text().splitlines()
    row = log[91].split(",")
    row[2] = "5000"
    (out / "log.csv").write_text("\n".join([*log[:91], ",".join(row), *log[92:]]) + "\n")
    part = fitted(out, sound_part=True)
    assert part.frames == 90 and "the temperature is 17 times its target" in part.notes[0]


@pytest.mark.parametrize("name", g2.names)
def test_no_molecule_is_fused(name: str) -> None:
    """Measured geometries of 162 molecules: all bonds are above the limit that knows no training set."""
    atoms = molecule(name)
    assert ContactLimits().too_close(closest_within(atoms, 3.0)) is None


def test_limits_without_training() -> None:
    limits = ContactLimits({(3, 8): 1.9})
    assert limits.limit((3, 8)) == pytest.approx(1.52)
    assert limits.limit((3, 3)) == pytest.approx(0.6 * 2 * covalent_radii[3])
    assert limits.too_close({(3, 8): 1.6, (3, 3): 1.6}) is None
    assert limits.too_close({(3, 8): 1.5, (3, 3): 0.1}) == (3, 3)
    assert ContactLimits().limit((24, 24)) < 1.68  # the quadruple bond of Cr2


def test_the_record_names_the_pair(tmp_path) -> None:
    from rgnn.analysis import to_mapping

    record = json.loads(json.dumps(to_mapping(fitted(rattling(tmp_path / "f.traj", 60)))))
    assert record["diffusion"] is None and record["unsound"].startswith("Li-Li")
    assert record["closest"]["Li-Li"]["angstrom"] == pytest.approx(0.1)
    assert record["closest"]["Li-Li"]["limit_angstrom"] == pytest.approx(0.6 * 2.56)
