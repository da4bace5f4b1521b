"""The example of docs/hardware.md: a map that is not perfect, and three commands to accuracy and energy."""

import json
from pathlib import Path

import numpy as np


def test_from_a_map_in_kilohm_to_accuracy_and_energy(cli, run) -> None:
    """Labels, 0.2% negative readings, and a column without contact."""
    rng = np.random.default_rng(0)
    r = 1e3 / rng.normal(14.25, 2.46, (256, 256)).clip(5)
    r.ravel()[rng.choice(r.size, 131, replace=False)] *= -1
    r[:, 77] = 9.9e37
    heading = "R (kOhm)," + ",".join(f"BL{k}" for k in range(256))
    rows = [f"WL{k}," + ",".join(f"{x:.5g}" for x in row) for k, row in enumerate(r)]
    Path("map.csv").write_text("\n".join([heading, *rows]))
    chip = json.loads(cli("import-conductance", "map.csv", "--out", "chip", "--json"))
    assert (chip["unit"], chip["signed"], chip["dead_columns"]) == ("kOhm", False, [77])
    # A pair has no weight where a cell is dead (256) or negative (129 of 131 are not in the dead column).
    assert 32_768 - 256 - 129 <= chip["weights"] <= 32_768 - 256 - 129 + 2
    assert abs(chip["cell_mean_siemens"] - 14.25e-6) < 0.1e-6
    cli("train", "--chip", "chip", "--preset", "ridge", "--narrow", "--out", "r")
    assert "picked one by one" in cli("chip", "export", "r", "--out", "x")
    assert not Path("x/target.npy").exists()
    asked = json.loads(cli("chip", "export", "r", "--program", "--out", "y", "--json"))
    used = np.load("y/target.npy")[np.load("y/mask.npy")]
    assert asked["programmed"] and len(used) == asked["cells"]
    assert abs(used.mean() - chip["cell_mean_siemens"]) < 0.1e-6
    cli("eval", "r", "--bits", "4,8", "--noise", "0,0.02", "--frames", 2, "--repeats", 1, "--out", "e")
    costs = json.loads(Path("e/eval.json").read_text())["costs"]
    energy = {c["hardware"]["bits"]: c["energy_joule"] for c in costs}
    assert 0 < energy[4]["nominal"] < energy[8]["nominal"]
    assert all(e["low"] <= e["nominal"] <= e["high"] for e in energy.values())
    assert any(c["beaten_by_none"] for c in costs)
    page = Path("e/report.html").read_text()
    assert "Error beside costs of a frame" in page and "Error against energy" in page
