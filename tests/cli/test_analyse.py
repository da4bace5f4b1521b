import json
import re
import shutil
from itertools import product
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from rgnn.md import MDSettings, run_atoms
from rgnn.reports import text


@pytest.fixture(scope="module")
def made(quick_model, trajectory, tmp_path_factory) -> Path:
    """Two short runs of the tiny crystal, one of them hotter."""
    folder = tmp_path_factory.mktemp("runs")
    for name, kelvin in (("cold", 200.0), ("hot", 300.0)):
        config = MDSettings(steps=120, temperature=kelvin, write_every=1)
        run_atoms(ase.io.read(trajectory, 0), quick_model, config, folder / name)
    return folder


@pytest.fixture
def md_runs(made, workdir) -> None:
    """Copies of them in the working folder."""
    for name in ("cold", "hot"):
        shutil.copytree(made / name, name)


def walks(name: str, kelvin: float, energy: float, seed: int) -> Path:
    """Lithium that hops among heavy atoms, in a box, as a foreign file with velocities at this temperature.

    The box is so wide that no two atoms meet.
    """
    rng = np.random.default_rng(seed)
    places = 60.0 * np.array(list(product(range(3), repeat=3)))[:20]
    d = 20.0 * np.exp(-energy / (8.617333e-5 * kelvin))  # square Angstrom per ps
    moved = places + np.cumsum(rng.normal(0, np.sqrt(2 * d * 0.1), (250, 20, 3)), axis=0)
    heavy = places + 30 + rng.normal(0, 0.3, (250, 20, 3))
    frames = []
    for k in range(250):
        atoms = Atoms(
            numbers=[3] * 20 + [92] * 20, positions=np.concatenate([moved[k], heavy[k]]), cell=[180] * 3, pbc=True
        )
        atoms.set_momenta(rng.normal(size=(40, 3)) * np.sqrt(atoms.get_masses() * 8.617333e-5 * kelvin)[:, None])
        atoms.info["time_fs"] = 100.0 * k
        atoms.wrap()
        frames.append(atoms)
    ase.io.write(name, frames)
    return Path(name)


def test_a_run_alone(cli, md_runs) -> None:
    out = cli("analyse", "cold")
    for words in ("the first 20%", "bins of 0.02", "Coordination", "two halves", "Li-O", "work"):
        assert words in out
    folder = Path("analysis/cold-001")
    names = {p.name for p in folder.iterdir()}
    assert names >= {"config.yaml", "report.html", "analysis.json", "analysis.csv", "rdf.csv", "msd.csv"}
    assert names >= {"rdf.png", "msd.png", "temperature.png"}
    record = json.loads((folder / "analysis.json").read_text())
    (result,) = record["runs"]
    assert (result["frames"], result["skipped_frames"], result["target_K"]) == (97, 24, 200.0)
    log = np.genfromtxt("cold/log.csv", delimiter=",", names=True)
    kept = log["temperature_K"][log["time_fs"] >= 24]
    assert result["temperature_K"]["all"]["value"] == pytest.approx(kept.mean())
    assert set(result["temperature_K"]) == {"all", "Li", "O"}
    assert result["work_meV_per_atom_ps"]["95%"][0] < result["work_meV_per_atom_ps"]["value"]
    rows = (folder / "analysis.csv").read_text().splitlines()
    assert rows[0] == "run,quantity,of,unit,value,low_95,high_95" and len({len(r.split(",")) for r in rows}) == 1
    assert len((folder / "rdf.csv").read_text().splitlines()) == 1 + 300


def test_runs_are_compared_with_the_first(cli, md_runs) -> None:
    out = cli("analyse", "cold", "hot", "--skip", "0.02ps", "--out", "both", "--width", 0.05)
    assert "against cold" in out and "halves of cold" in out and "halves of hot" in out
    apart = json.loads(Path("both/analysis.json").read_text())["radial_difference"]
    assert apart["from"] == "cold" and set(apart["of"]) == {"hot"}
    assert 0 < apart["of"]["hot"]["all"] < 2
    page = Path("both/report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_a_run_against_frames_of_its_temperature(cli, refused, md_runs, trajectory) -> None:
    out = cli("analyse", "hot", "--reference", trajectory, "--reference-temperature", 600, "--out", "r")
    assert "15 frames at 600 K" in out and "(reference)" in out
    record = json.loads(Path("r/analysis.json").read_text())
    assert record["reference"]["frames"] == 15 and record["radial_difference"]["from"] == "tiny"
    assert set(record["radial_difference"]["of"]["hot"]) == {"all", "Li-Li", "Li-O", "O-O"}
    assert "temperature=450" in refused(2, "analyse", "hot", "--reference", trajectory, "--reference-temperature", 450)
    assert "name it too" in refused(2, "analyse", "hot", "--reference-temperature", 450)


def test_activation_energies_of_foreign_files(cli, shell, refused, workdir) -> None:
    files = [walks(f"{kelvin}K.traj", kelvin, 0.2, kelvin) for kelvin in (500, 700, 1000)]
    done = shell(f"rgnn analyse --arrhenius {' '.join(map(str, files))} --skip 0 --hop Li=1.5 --out a")
    assert done.code == 0, done.err
    assert "Activation energies" in done.out and "unwrapped" in done.out
    assert "no activation energy for U" in done.err
    fit = json.loads(Path("a/analysis.json").read_text())["arrhenius"]
    assert set(fit) == {"Li"} and Path("a/arrhenius.png").exists()
    low, high = fit["Li"]["energy_95_eV"]
    assert low < 0.2 < high and high - low < 0.1
    np.testing.assert_allclose(fit["Li"]["temperatures_K"], [500, 700, 1000], rtol=0.06)  # their centre of mass moves
    two = shell("rgnn analyse --arrhenius 500K.traj 1000K.traj --skip 0 --hop Li=1.5 --out b")
    assert two.code == 0 and "two temperatures always lie on a line" in two.err
    one = refused(2, "analyse", "--arrhenius", "500K.traj", "--hop", "Li=1.5", "--out", "c")
    assert "Li (diffuses in 1 of 1 runs)" in one
    assert not Path("c").exists()


def test_what_is_missing_for_diffusion_is_said(cli, workdir, monkeypatch) -> None:
    for place in ("rgnn.analysis", "rgnn.analysis.diffusion", "rgnn.reports.analysis"):
        monkeypatch.setattr(f"{place}.kinisi_is_here", lambda: False)
    file = walks("w.traj", 800, 0.2, 0)
    out = cli("analyse", file, "--skip", 0, "--hop", "Li=1.5")
    assert "plain Einstein slopes" in out and "rgnn[analysis]" in out
    assert "U: no diffusion seen: displacement stays at" in out
    found = json.loads(Path("analysis/w-001/analysis.json").read_text())["runs"][0]["diffusion"]["cm2_per_s"]
    assert (found["Li"]["verdict"], found["U"]["verdict"], found["U"]["value"]) == ("diffuses", "no hop", None)
    ase.io.write("bare.xyz", [Atoms(a.numbers, a.positions, cell=a.cell, pbc=True) for a in ase.io.read(file, ":")])
    assert "--interval gives it" in cli("analyse", "bare.xyz", "--skip", 0)
    timed = cli("analyse", "bare.xyz", "--skip", 0, "--interval", 100, "--hop", "Li=1.5", "--json")
    assert json.loads(timed)["runs"][0]["diffusion"]["cm2_per_s"]["Li"]["value"] > 0


def test_seeds_are_one_and_conduct(cli, workdir) -> None:
    """Three walks at one temperature: one coefficient, and with charges two conductivities, in 80 columns."""
    files = [walks(f"{seed}.traj", 800, 0.2, seed) for seed in range(3)]
    words = ["--skip", 0, "--hop", "Li=1.5", "--charge", "Li=1", "--out", "a"]
    out = cli("analyse", *files, files[0], *words)
    assert "3 runs at 8" in out and "are the same run, which counts once" in out
    assert "Nernst-Einstein" in out and "Haven ratio" in out and "Li +1 e" in out
    assert max(len(line) for line in out.splitlines() if set(line) & set("─━")) <= 80
    record = json.loads(Path("a/analysis.json").read_text())
    (joint,) = record["together"]
    assert joint["runs"] == ["0", "1", "2"] or len(joint["runs"]) == 3
    d = 20.0 * np.exp(-0.2 / (8.617333e-5 * 800)) * 1e-4
    low, high = joint["cm2_per_s"]["Li"]["95%"]
    assert low < d < high and joint["cm2_per_s"]["U"]["value"] is None and joint["cm2_per_s"]["U"]["below"] > 0
    one = joint["conductivity"]["nernst_einstein_mS_per_cm"]
    kelvin, volume = joint["temperature_K"], 180.0**3 * 1e-30
    expected = 10 * 20 * 1.602176634e-19**2 * joint["cm2_per_s"]["Li"]["value"] * 1e-4
    assert one["value"] == pytest.approx(expected / (volume * 1.380649e-23 * kelvin), rel=1e-6)
    low, high = joint["conductivity"]["haven_ratio"]["95%"]
    assert low < 1 < high


def test_charges_and_hops_are_checked(refused, workdir) -> None:
    walks("w.traj", 800, 0.2, 0)
    assert "write an element and a number, as Li=1" in refused(2, "analyse", "w.traj", "--charge", "Li")
    assert "symbol of an element" in refused(2, "analyse", "w.traj", "--charge", "Qq=1")
    assert "names Li twice" in refused(2, "analyse", "w.traj", "--charge", "Li=1,Li=2")
    assert "there is none in the run" in refused(2, "analyse", "w.traj", "--charge", "O=-2")
    assert "above 0" in refused(2, "analyse", "w.traj", "--hop", "Li=0")


def test_fused_atoms_are_said_and_the_sound_part_is_an_option(cli, refused, workdir) -> None:
    frames = ase.io.read(walks("w.traj", 800, 0.2, 0), ":")
    for atoms in frames[200:]:
        atoms.positions[1] = atoms.positions[0] + (0.1, 0, 0)
    ase.io.write("fused.traj", frames)
    out = cli("analyse", "fused.traj", "--skip", 0, "--out", "a")
    assert "Li-Li are 0.1 Angstrom apart at 20 ps" in out and "--sound-part" in out and "too close" in out
    assert "Diffusion coefficients" not in out and not Path("a/msd.png").exists()
    said = refused(2, "analyse", "fused.traj", "--skip", 0, "--arrhenius", "--out", "b")
    assert "no activation energy: fused: Li-Li are 0.1" in said and "--sound-part" in said
    part = cli("analyse", "fused.traj", "--skip", 0, "--sound-part", "--out", "c")
    assert "Diffusion coefficients" in part and "only the part before this: Li-Li" in part
    assert json.loads(Path("c/analysis.json").read_text())["runs"][0]["frames"] == 200


def test_bad_words_are_refused(refused, cli, md_runs) -> None:
    assert "--skip is 'much'" in refused(2, "analyse", "cold", "--skip", "much")
    assert "skip is 1.0" in refused(2, "analyse", "cold", "--skip", "100%")
    assert "nothing is left after 3 ps" in refused(2, "analyse", "cold", "--skip", "3ps")
    assert "no such file" in refused(2, "analyse", "nowhere.xyz")
    assert "no run of rgnn md" in refused(2, "analyse", ".")
    assert "width is 7" in refused(2, "analyse", "cold", "--width", 7)
    cli("analyse", "cold", "--out", "x", "--quiet")
    assert "--overwrite" in refused(2, "analyse", "cold", "--out", "x")
    cli("analyse", "cold", "--out", "x", "--overwrite", "--quiet")
    assert "holds what is read from" in refused(2, "analyse", "cold", "--out", "cold", "--overwrite")
    assert Path("cold/trajectory.traj").is_file()


def test_a_run_that_still_goes_on(cli, md_runs) -> None:
    log = Path("cold/log.csv")
    log.write_text(log.read_text()[:-15])  # the last row is half written
    assert json.loads(cli("analyse", "cold", "--json"))["runs"][0]["frames"] == 97


def test_intervals_in_words() -> None:
    from rgnn.evaluation import Estimate

    assert text.interval(Estimate(1.234e-5, 1e-5, 2e-5), 1e5) == "1.23 [1, 2]"
    assert text.interval(Estimate(3.0, -np.inf, np.inf)) == "3"
    assert text.percent(float("nan")) == ""
