"""kill -9 at random moments; most of it is some minutes long: pytest -m long tests/test_kills.py."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from servers import serving

from rgnn import RGNN, Chip, Graph, GraphStore, Hardware, save_model
from rgnn.data.conversion import convert
from rgnn.data.fetch import registry
from rgnn.models.settings import MessagePassingSettings

KILLS = 50
# Small blocks, so that there are many moments between two of them.
COMMAND = """
import sys
import rgnn.data.store.writer
from rgnn_cli.app import main

if __name__ == "__main__":
    rgnn.data.store.writer.BLOCK_FRAMES = 300
    sys.argv[0] = "rgnn"
    main()
"""


def start(folder: Path, code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.DEVNULL, cwd=folder)


def killed(process: subprocess.Popen, after: float) -> bool:
    """Whether the process was still at work after so many seconds, and was killed."""
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    assert process.returncode == 0
    return False


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Two trajectories of 6,000 small frames each, several blocks."""
    folder, rng = tmp_path_factory.mktemp("kills"), np.random.default_rng(0)
    made = []
    for name in ("a.xyz", "b.xyz"):
        frames = []
        for _ in range(6000):
            atoms = ase.Atoms("Li16O16", rng.uniform(0, 0.3, (32, 3)) + np.indices((4, 4, 2)).reshape(3, -1).T * 2.0)
            atoms.set_cell([8, 8, 4])
            atoms.pbc = True
            atoms.calc = SinglePointCalculator(atoms, forces=rng.normal(size=(32, 3)))
            frames.append(atoms)
        ase.io.write(folder / name, frames, format="extxyz")
        made.append(folder / name)
    return made


def frames_in(path: Path) -> int:
    """Frames of a store that may not be there yet; all that is there is whole."""
    if not (path / "zarr.json").exists():
        return 0
    store = GraphStore(path)
    store.verify()
    return len(store)


@pytest.mark.long
@pytest.mark.parametrize("append", [False, True], ids=["convert", "append"])
def test_a_killed_conversion_loses_nothing_and_goes_on(files, tmp_path, append: bool) -> None:
    whole = convert(files, tmp_path / "whole.zarr").store.checksum
    rng = np.random.default_rng(int(append))
    kills = rounds = 0
    out = tmp_path / "out.zarr"
    while kills < KILLS:
        out = tmp_path / f"out{rounds}.zarr"
        if append:
            convert(files[:1], out)
        arguments = ("convert", *files[append:], "--out", out, *["--append"] * append)
        seen = frames_in(out)
        while killed(start(tmp_path, COMMAND, *arguments), rng.uniform(0.3, 5.0)):
            kills += 1
            now = frames_in(out if out.exists() else Path(f"{out}.partial"))
            assert now >= seen, "frames that were written are lost"
            seen = now
        rounds += 1
        assert GraphStore(out).checksum == whole
        GraphStore(out).verify()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.long
def test_a_killed_download_goes_on(tmp_path) -> None:
    data = np.random.default_rng(0).bytes(20_000_000)
    rng = np.random.default_rng(2)
    kills = rounds = 0
    with serving() as server:
        server.files, server.piece_delay = {"d": data}, 0.01
        md5 = hashlib.md5(data).hexdigest()
        code = (
            "import sys; from rgnn_cli.app import main; from rgnn.data.fetch import registry; sys.argv[0] = 'rgnn';"
            f"file = registry.RemoteFile('d', ({server.address('d')!r},), {len(data)}, 'md5:{md5}');"
            "registry.DATASETS['conductance'] = registry.Dataset('conductance', '', '', '', files=(file,)); main()"
        )
        assert "conductance" in registry.DATASETS
        while kills < KILLS:
            folder = tmp_path / f"data{rounds}"
            part, seen = folder / "published" / "d.part", 0
            while killed(start(tmp_path, code, "fetch-data", "conductance", "--dir", folder), rng.uniform(0.2, 2.5)):
                kills += 1
                now = part.stat().st_size if part.exists() else 0
                if not (folder / "published" / "d").exists():
                    assert now >= seen, "bytes that were written are lost"
                    assert now == 0 or part.read_bytes() == data[:now]
                seen = now
                time.sleep(0.05)  # the system closes the connection of the process that is gone
            rounds += 1
            assert (folder / "published" / "d").read_bytes() == data
            assert {p.name for p in (folder / "published").iterdir()} == {"d"}


# Restart files so often that kills meet their writing, and steps of a model that cost next to nothing.
DYNAMICS = """
md:
  steps: {steps}
  write_every: 3
  restart_every: 7
  stages:
    - {{name: melt, steps: {part}, temperature: 600}}
    - {{name: quench, steps: {part}, temperature_from: 600, temperature_to: 100, ensemble: bussi}}
    - {{name: hold, steps: {part}, temperature: 100, ensemble: nose-hoover}}
"""


@pytest.mark.parametrize(("kills", "part"), [(2, 150), pytest.param(KILLS, 600, marks=pytest.mark.long)])
def test_killed_dynamics_go_on_to_the_same_end(tmp_path, kills: int, part: int) -> None:
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True)
    atoms.set_constraint(FixAtoms([3]))
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    config = MessagePassingSettings(cutoff=3.0, n_features=6, reservoir_layers=1, trained_layers=1)
    model = RGNN(config, Hardware(bits=4, noise=0.1), Chip.synthetic(0).matrices(RGNN.matrices(config)))
    model(Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, 3.0))
    save_model(model, tmp_path / "model")
    (tmp_path / "md.yaml").write_text(DYNAMICS.format(steps=3 * part, part=part))
    begin = ("md", "a.xyz", "--model", "model", "--config", "md.yaml", "--threads", 1, "--quiet", "--out")
    assert not killed(start(tmp_path, COMMAND, *begin, "whole"), 600)
    rng, done = np.random.default_rng(3), 0
    while done < kills:
        out = tmp_path / f"cut{done}"
        process = start(tmp_path, COMMAND, *begin, out)
        while not (out / "restart.safetensors").exists():
            time.sleep(0.01)
        while killed(process, rng.uniform(0.05, 1.0)):
            done += 1
            process = start(tmp_path, COMMAND, "md", "--resume", out, "--threads", 1, "--quiet")
            time.sleep(rng.uniform(1.5, 3.0))  # until it is at work again
            if done >= kills:
                assert not killed(process, 600)
                break
        for name in ("log.csv", "trajectory.xyz", "final.xyz"):
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
        assert not list(out.glob("*.partial"))
