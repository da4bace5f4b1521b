"""rgnn chip fit: from files of readings to hardware that trains and evaluates."""

import json
from pathlib import Path

import numpy as np
import pytest

from rgnn.chip.presets import load_hardware


@pytest.fixture
def measured(workdir) -> Path:
    """Thirty cells that are read 600 times each, and 200 that relax."""
    rng = np.random.default_rng(1)
    g = rng.uniform(6, 25, 30)
    clock = np.arange(600) / 100
    reads = g + 0.02 * g * rng.standard_normal((600, 30))
    heading = ",".join(["time_s", *(f"c{k} (uS)" for k in range(30))])
    np.savetxt("reads.csv", np.column_stack([clock, reads]), delimiter=",", header=heading, comments="")
    start = rng.uniform(6, 25, 200)
    lines = ["device;t (s);R (kOhm)"]
    for t in (0.0, 1.0, 60.0, 3600.0):
        now = start if t == 0 else start - 0.1 * np.log10(1 + t) + 0.2 * rng.standard_normal(200)
        lines += [f"{k};{t};{1e3 / now[k]}" for k in range(200)]
    Path("relax.csv").write_text("\n".join(lines))
    return Path()


def test_laws_become_hardware(cli, measured) -> None:
    found = json.loads(cli("chip", "fit", "reads.csv", "relax.csv", "--out", "laws", "--json"))
    low, high = found["read_noise"]["intervals"]["exponent"]
    assert low < 1.0 < high
    assert found["relaxation"]["time_seconds"] == [1.0, 3600.0]
    shares = [c["inside"] / c["total"] for c in found["relaxation"]["held_out"]]
    assert shares[0] == pytest.approx(0.95, abs=0.03)
    assert {p.name for p in Path("laws").iterdir()} == {
        "hardware.yaml", "laws.json", "report.html", "read-noise.png", "spectrum.png", "relaxation.png",
    }  # fmt: skip
    hardware = load_hardware("laws")
    assert hardware.noise_reference == "law" and hardware.retention_law is not None
    page = Path("laws/report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 3
    for words in (
        "Formulas",
        "P1(log t)",
        "bins of the data beside the law",
        "by chance at least",
        "reads.csv, relax.csv",
    ):
        assert words in page


def test_the_screen_says_what_is_certain_and_what_comes_next(cli, refused, measured) -> None:
    screen = cli("chip", "fit", "reads.csv", "relax.csv")
    assert "exponent p of the read noise" in screen and "single cells of the other half" in screen
    assert "--hardware laws/hardware.yaml" in screen
    assert "laws" in refused(2, "chip", "fit", "reads.csv")  # is there already


def test_two_files_of_one_law_are_refused(refused, measured) -> None:
    said = refused(2, "chip", "fit", "reads.csv", "reads.csv", "--out", "two")
    assert "second file for the law of read noise" in said
    assert not Path("two").exists()


def test_repeated_reads_in_a_list_and_in_a_folder_of_maps(cli, workdir) -> None:
    rng = np.random.default_rng(4)
    g = rng.uniform(6, 25, (6, 8))
    reads = g * (1 + 0.03 * rng.standard_normal((40, 6, 8)))
    lines = [f"{k},{x}" for read in reads for k, x in enumerate(read.ravel())]
    Path("list.csv").write_text("\n".join(["cell,G (uS)", *lines]))
    Path("maps").mkdir()
    for k, read in enumerate(reads):
        np.savetxt(f"maps/{k:02d}.csv", read, delimiter=",")
    found = [json.loads(cli("chip", "fit", name, "--out", f"o{name}", "--json")) for name in ("list.csv", "maps")]
    laws = [f["read_noise"] for f in found]
    assert laws[0]["exponent"] == pytest.approx(laws[1]["exponent"], rel=1e-3)
    low, high = laws[0]["intervals"]["exponent"]
    assert low < 1.0 < high
    assert laws[0]["held_out"][0]["total"] == 24
