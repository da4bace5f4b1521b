import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from rgnn import GraphStore, convert
from rgnn.data.store.writer import StoreWriter


def frames_of(trajectory):
    return ase.io.read(trajectory, ":")


def test_it_says_what_it_made_and_what_comes_next(cli, trajectory) -> None:
    out = cli("convert", trajectory, "--out", "data/a.zarr")
    assert "Li 240, O 240" in out and "300 K: 15, 600 K: 15" in out
    assert "Next: rgnn train --bits 4 --noise 0.05" in out
    report = json.loads(cli("convert", trajectory, "--out", "data/b.zarr", "--cutoff", 5, "--every", 4, "--json"))
    assert report["frames"] == 8
    assert GraphStore("data/b.zarr").cutoff == 5
    wide = cli("convert", trajectory, "--out", "data/d.zarr", "--cutoff", 5, "--every", 4)
    assert "Next: rgnn train --preset energy --minutes 10" in wide
    convert([trajectory], "data/b.zarr", append=True)  # which takes the cutoff of the store
    convert([trajectory], "data/c.zarr", workers=None)
    assert GraphStore("data/b.zarr").cutoff == 5 and GraphStore("data/c.zarr").cutoff == 3.8
    assert GraphStore("data/c.zarr").checksum == GraphStore("data/a.zarr").checksum


def test_parts_globs_and_append_give_the_whole(cli, trajectory) -> None:
    cli("convert", trajectory, "--out", "whole.zarr", "--quiet")
    Path("parts").mkdir()
    frames = frames_of(trajectory)
    ase.io.write("parts/1.xyz", frames[:10], format="extxyz")
    ase.io.write("parts/2.traj", frames[10:20])
    cli("convert", "parts/*", "--out", "made.zarr", "--quiet")
    cli("convert", trajectory, "--from", 20, "--to", 30, "--out", "made.zarr", "--append", "--quiet")
    whole, made = GraphStore("whole.zarr"), GraphStore("made.zarr")
    assert len(made) == len(whole) == 30
    for index in (0, 10, 29):
        np.testing.assert_allclose(made.frame(index).forces, whole.frame(index).forces, atol=1e-6)


def test_nothing_is_overwritten_by_accident(cli, refused, trajectory) -> None:
    cli("convert", trajectory, "--out", "a.zarr", "--quiet")
    assert "Already there" in cli("convert", trajectory, "--out", "a.zarr")
    assert "--overwrite" in refused(2, "convert", trajectory, "--every", 2, "--out", "a.zarr")
    cli("convert", trajectory, "--every", 10, "--out", "a.zarr", "--overwrite", "--quiet")
    assert len(GraphStore("a.zarr")) == 3
    assert "exclude each other" in refused(2, "convert", trajectory, "--out", "a.zarr", "--append", "--overwrite")


def spoil(kind: str, frames: list) -> list:
    """Make the sixth frame unusable."""
    atoms = frames[5]
    forces = atoms.get_forces().copy()
    if kind == "no forces":
        atoms.calc = None
        return frames
    if kind == "NaN":
        forces[3, 1] = np.nan
    elif kind == "absurd":
        forces[3, 1] = 4321.0
    elif kind == "no neighbours":
        atoms.set_cell(atoms.cell[:] * 20, scale_atoms=True)
    atoms.calc = SinglePointCalculator(atoms, forces=forces)
    return frames


@pytest.mark.parametrize(
    ("kind", "says"),
    [("no forces", "no forces"), ("NaN", "nan"), ("absurd", "4321 eV/Angstrom"), ("no neighbours", "neighbour")],
)
def test_a_bad_frame_is_named_and_left_out(cli, refused, trajectory, kind: str, says: str) -> None:
    ase.io.write("bad.traj", spoil(kind, frames_of(trajectory)))
    said = cli("convert", "bad.traj", "--out", "bad.zarr")
    assert "1 frame(s) left out" in said and "bad.traj: frame 5" in said and says in said
    assert len(GraphStore("bad.zarr")) == 29
    ase.io.write("worse.traj", spoil(kind, frames_of(trajectory))[5:6])
    before = GraphStore("bad.zarr").checksum
    assert "worse.traj: frame 0" in refused(2, "convert", "worse.traj", "--out", "worse.zarr")
    refused(2, "convert", "worse.traj", "--out", "bad.zarr", "--append")
    refused(2, "convert", "worse.traj", "--out", "bad.zarr", "--overwrite")
    assert GraphStore("bad.zarr").checksum == before
    GraphStore("bad.zarr").verify()
    assert sorted(p.name for p in Path().glob("*.zarr*")) == ["bad.zarr"]


def test_a_truncated_file_gives_its_whole_frames(cli, trajectory) -> None:
    data = Path(trajectory).read_bytes()
    Path("cut.xyz").write_bytes(data[: int(len(data) * 0.72)])
    assert "the file ends in the middle" in cli("convert", "cut.xyz", "--out", "a.zarr")
    assert len(GraphStore("a.zarr")) == 21


def test_duplicates_are_left_out(cli, trajectory) -> None:
    said = cli("convert", trajectory, trajectory, "--out", "a.zarr")
    assert "30 frame(s) left out: duplicate" in said
    assert "duplicate" in cli("convert", trajectory, "--out", "a.zarr", "--append")
    assert len(GraphStore("a.zarr")) == 30


def test_stores_are_merged(cli, trajectory) -> None:
    cli("convert", trajectory, "--out", "whole.zarr", "--quiet")
    cli("convert", trajectory, "--to", 12, "--out", "a.zarr", "--quiet")
    cli("convert", trajectory, "--from", 12, "--out", "b.zarr", "--quiet")
    cli("convert", "a.zarr", "b.zarr", "--out", "both.zarr", "--quiet")
    assert GraphStore("both.zarr").checksum == GraphStore("whole.zarr").checksum
    cli("convert", "both.zarr", "--cutoff", 5, "--out", "wide.zarr", "--quiet")
    assert GraphStore("wide.zarr").cutoff == 5


def test_units_are_checked_by_magnitude(cli, trajectory) -> None:
    frames = frames_of(trajectory)
    for atoms in frames:
        forces = atoms.get_forces() / 51.42
        atoms.set_cell(atoms.cell[:] * 1.89, scale_atoms=True)
        atoms.calc = SinglePointCalculator(atoms, forces=forces)
    ase.io.write("bohr.traj", frames)
    said = cli("convert", "bohr.traj", "--out", "a.zarr", "--cutoff", 7)
    assert "check that positions are in Angstrom" in said
    assert "in Angstrom" not in cli("convert", trajectory, "--out", "b.zarr")


def test_any_calculator_labels(cli, refused, workdir) -> None:
    """With a potential whose forces are known."""
    from ase.build import bulk
    from ase.calculators.emt import EMT

    copper = bulk("Cu", cubic=True).repeat(2)
    copper.rattle(0.1, seed=1)
    ase.io.write("cu.xyz", copper, format="extxyz")
    assert "--label" in refused(2, "convert", "cu.xyz", "--out", "cu.zarr")
    assert "ase.calculators.emt:EMT" in cli(
        "convert", "cu.xyz", "--out", "cu.zarr", "--label", "ase.calculators.emt:EMT"
    )
    copper.calc = EMT()
    np.testing.assert_allclose(GraphStore("cu.zarr").frame(0).forces, copper.get_forces(), atol=1e-6)
    Path("mine.py").write_text("from ase.calculators.emt import EMT\ndef made():\n    return EMT()\n")
    cli("convert", "cu.xyz", "--out", "mine.zarr", "--label", "mine:made")
    assert "names no calculator" in refused(2, "convert", "cu.xyz", "--out", "x.zarr", "--label", "EMT")
    assert "cannot be imported" in refused(2, "convert", "cu.xyz", "--out", "x.zarr", "--label", "no_such:Thing")


def test_sources_that_are_not_there(refused, workdir) -> None:
    assert "no file fits" in refused(2, "convert", "*.xyz", "--out", "a.zarr")
    assert "nowhere.xyz" in refused(2, "convert", "nowhere.xyz", "--out", "a.zarr")


def test_a_truncated_store_is_refused(cli, refused, trajectory) -> None:
    cli("convert", trajectory, "--out", "a.zarr", "--quiet")
    largest = max((p for p in Path("a.zarr").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    for command in (("train", "a.zarr"), ("info", "a.zarr", "--verify")):
        assert "a.zarr" in refused(2, *command)
    assert not Path("runs").exists() or not list(Path("runs").rglob("model.safetensors"))


def test_ctrl_c_says_what_became_of_it(refused, trajectory, monkeypatch) -> None:
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rgnn.data.store.writer.StoreWriter.commit", interrupted)
    assert "not written" in refused(130, "convert", trajectory, "--out", "a.zarr")
    assert list(Path().iterdir()) == []


def test_ctrl_c_keeps_the_whole_blocks(cli, refused, trajectory, monkeypatch) -> None:
    monkeypatch.setattr("rgnn.data.store.writer.BLOCK_FRAMES", 8)
    commit = StoreWriter.commit

    def interrupted(self, *written):
        if len(self.ledger.blocks) == 2:
            raise KeyboardInterrupt
        commit(self, *written)

    with monkeypatch.context() as patch:
        patch.setattr("rgnn.data.store.writer.StoreWriter.commit", interrupted)
        said = refused(130, "convert", trajectory, "--out", "a.zarr", "--workers", 1)
    assert "16 frames are kept" in said
    assert len(GraphStore("a.zarr.partial")) == 16
    assert "broke off" in refused(2, "convert", trajectory, "--every", 2, "--out", "a.zarr")
    cli("convert", trajectory, "--out", "a.zarr", "--workers", 1)
    cli("convert", trajectory, "--out", "b.zarr", "--workers", 2, "--quiet")
    assert GraphStore("a.zarr").checksum == GraphStore("b.zarr").checksum
    assert not Path("a.zarr.partial").exists()


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("OUTCAR_water_dimer_10_steps", 10),
        ("OUTCAR_Li5P2NO6_relax_79steps.gz", 79),
        ("vasprun_water_dimer_10_steps.xml", 10),
        ("vasprun_LGPS_AIMD_264steps.xml.gz", 264),
        ("quantum_espresso_md.pwo", 50),
        ("cp2k_*", 30),
    ],
)
def test_what_other_programs_wrote(cli, shared, name: str, frames: int) -> None:
    cli("convert", shared / "data/native" / name, "--out", "a.zarr", "--quiet")
    store = GraphStore("a.zarr")
    assert len(store) == frames
    with np.errstate(all="raise"):
        assert 0.01 < store.force_rms < 10
