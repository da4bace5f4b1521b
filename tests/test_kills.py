"""kill -9 at random moments, some minutes long: pytest -m long tests/test_kills.py."""

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
from ase.calculators.singlepoint import SinglePointCalculator
from servers import serving

from rgnn import GraphStore, registry
from rgnn.conversion import convert

pytestmark = pytest.mark.long

KILLS = 50
# Small blocks, so that there are many moments between two of them.
COMMAND = """
import sys
import rgnn.store
from rgnn_cli.app import main

if __name__ == "__main__":
    rgnn.store.BLOCK_FRAMES = 300
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


def test_a_killed_download_goes_on(tmp_path) -> None:
    data = np.random.default_rng(0).bytes(20_000_000)
    rng = np.random.default_rng(2)
    kills = rounds = 0
    with serving() as server:
        server.files, server.piece_delay = {"d": data}, 0.01
        md5 = hashlib.md5(data).hexdigest()
        code = (
            "import sys; from rgnn_cli.app import main; from rgnn import registry; sys.argv[0] = 'rgnn';"
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
