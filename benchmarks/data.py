"""Data at full size: python benchmarks/data.py [--frames 60000] [--folder DIR] [--json FILE]

Writes synthetic frames of 192 atoms (those of the packaged sample, each shaken anew) as extended XYZ and as a pickle of
the published shape, converts both with the command line, and reads the store as training does. Memory is the sum of the
peaks of all processes of a conversion. Needs about 20 GB of disk for 60,000 frames, 2 GB without the pickle.
"""

import argparse
import itertools
import json
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from ase.neighborlist import primitive_neighbor_list

from rgnn.data.frames import Frame
from rgnn.data.loader import epoch_order, prefetched
from rgnn.data.sample import sample_frames
from rgnn.data.store.reader import GraphStore
from rgnn.graphs.graph import Graph
from rgnn.graphs.neighbours import neighbour_list

# The tests know the shape of the published graphs.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from graphpickles import published_graph

CUTOFF = 3.8


def frames(n: int) -> Iterator[Frame]:
    rng = np.random.default_rng(0)
    for frame in itertools.islice(itertools.cycle(list(sample_frames())), n):
        shake = rng.normal(0, 0.02, frame.positions.shape)
        yield replace(frame, positions=frame.positions + shake, forces=frame.forces + 10 * shake)


def write_xyz(path: Path, n: int) -> None:
    with path.open("w") as file:
        for frame in frames(n):
            lattice = " ".join(f"{x:.8f}" for x in frame.cell.ravel())
            file.write(f'{len(frame.numbers)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3')
            file.write(f' energy={frame.energy} temperature={frame.temperature} pbc="T T T"\n')
            table = np.hstack([frame.positions, frame.forces]).tolist()
            symbols = [chemical_symbols[z] for z in frame.numbers]
            file.writelines(
                f"{s} %.8f %.8f %.8f %.8f %.8f %.8f\n" % tuple(r) for s, r in zip(symbols, table, strict=True)
            )


def write_pickle(path: Path, n: int) -> None:
    """A list, as pickle writes it in parts of a thousand items, without ever having it."""
    with path.open("wb") as file:
        file.write(pickle.PROTO + b"\3" + pickle.EMPTY_LIST)
        for index, frame in enumerate(frames(n)):
            if index % 1000 == 0:
                file.write(pickle.MARK if index == 0 else pickle.APPENDS + pickle.MARK)
            file.write(pickle.dumps(published_graph(frame, index), protocol=3)[2:-1])
        file.write(pickle.APPENDS + pickle.STOP)


def tree_peaks(pid: int, peaks: dict[int, int]) -> None:
    """Update the peak resident memory, in bytes, of a process and its descendants."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        peaks[pid] = 1024 * int(status.split("VmHWM:")[1].split()[0])
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            tree_peaks(int(child), peaks)
    except (OSError, IndexError):
        pass  # it has ended


def run(folder: Path, *command: object) -> tuple[float, float]:
    """Seconds of a command of rgnn in a folder, and GB of memory."""
    began, peaks = time.perf_counter(), dict[int, int]()
    code = "from rgnn_cli.app import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, command), "--quiet"], cwd=folder)
    while process.poll() is None:
        tree_peaks(process.pid, peaks)
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - began, sum(peaks.values()) / 1e9


def median_ms(function: Callable[[], object], repeats: int = 200) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def size_of(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def conversion(name: str, source: Path, folder: Path, results: dict[str, float]) -> GraphStore:
    out = folder / f"{name}.zarr"
    results[f"{name}: file, GB"] = source.stat().st_size / 1e9
    results[f"{name}: conversion, s"], results[f"{name}: memory, GB"] = run(folder, "convert", source, "--out", out)
    store = GraphStore(out)
    edges = sum(block.edges for block in store.ledger.blocks)
    results[f"{name}: frames"], results[f"{name}: edges, million"] = len(store), edges / 1e6
    results[f"{name}: frames/s"] = len(store) / results[f"{name}: conversion, s"]
    results[f"{name}: file, bytes/edge"] = source.stat().st_size / edges
    results[f"{name}: store, bytes/edge"] = size_of(out) / edges
    return store


def loading(store: GraphStore, results: dict[str, float], most: int = 20_000) -> None:
    """Frames a second as training asks for them, from a store that does not stay in memory."""
    store._kept = 10
    order = epoch_order(store, range(len(store)), 0, 0)[:most]
    for workers in (1, 2):
        began = time.perf_counter()
        for _ in prefetched(lambda k: Graph.batch([store.graph(k)]), order, workers):
            pass
        results[f"loader, {workers} thread(s): frames/s"] = len(order) / (time.perf_counter() - began)


def neighbours(results: dict[str, float]) -> None:
    frame = next(iter(sample_frames()))
    place = frame.positions, frame.cell, frame.pbc
    ours = median_ms(lambda: neighbour_list(*place, CUTOFF))
    theirs = median_ms(lambda: primitive_neighbor_list("ijS", frame.pbc, frame.cell, frame.positions, CUTOFF), 50)
    results |= {"neighbours, ms": ours, "ase.neighborlist, ms": theirs, "neighbours: times as fast": theirs / ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60_000)
    parser.add_argument("--graphs", type=int, help="graphs in the pickle; default: as many as frames")
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results: dict[str, float] = {}
    folder = Path(tempfile.mkdtemp(prefix="rgnn-data-", dir=given.folder)).resolve()
    try:
        neighbours(results)
        write_xyz(folder / "xyz", given.frames)
        (folder / "xyz").rename(folder / "frames.xyz")
        loading(conversion("extended XYZ", folder / "frames.xyz", folder, results), results)
        write_pickle(folder / "graphs.pkl", given.graphs or given.frames)
        conversion("pickle", folder / "graphs.pkl", folder, results)
    finally:
        shutil.rmtree(folder)
    for name, value in results.items():
        print(f"{name:36s} {value:12,.3f}" if value < 1000 else f"{name:36s} {value:12,.0f}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
