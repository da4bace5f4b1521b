"""Speed and memory: python benchmarks/speed.py [--threads N] [--rounds N] [--sizes N,N] [--json FILE]

One frame of the packaged sample (192 atoms, 8 bits, 5% read noise where nothing else is said), and supercells of it.
Medians of rounds in which every case runs twice and is timed the second time, so that a busy machine disturbs all
alike, with the quickest and the slowest tenth. The floor of a case is its largest products alone, measured in the
same rounds; memory is the peak of a process that does only this case, imports included.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from cases import BY_NAME, CASES, FLOORS, LARGE, WITH_MEMORY, Case, graph_of

from rgnn.doctor import Environment

Times = dict[str, list[float]]


def measure(cases: Sequence[Case], rounds: int) -> Times:
    """Seconds of each case in each round."""
    works = {case.name: case.make() for case in cases}
    times: Times = {name: [] for name in works}
    for number in range(-1, rounds):
        for name, work in works.items():
            work()  # whoever came before has left the caches cold
            began = time.perf_counter()
            work()
            if number >= 0:
                times[name].append(time.perf_counter() - began)
    return times


def peak_memory(name: str, threads: int) -> float:
    """GB of a fresh process that does this case a few times."""
    command = [sys.executable, __file__, "--only", name, "--threads", str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def only(name: str) -> None:
    work = BY_NAME[name].make()
    for _ in range(3):
        work()
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the memory of the parent before exec
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        print(int(line.split()[1]) / 1e6)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9)


def table(cases: Sequence[Case], times: Times, memory: dict[str, float]) -> list[dict[str, float | str | None]]:
    """Print the rows, and return them for the JSON."""
    median = {name: float(np.median(values)) for name, values in times.items()}
    print(f"{'':36}{'ms':>9}{'10% to 90%':>18}{'x floor':>9}{'x published':>13}{'rate':>17}{'GB':>7}")
    rows = []
    for case in cases:
        low, high = np.quantile(times[case.name], [0.1, 0.9])
        t = median[case.name]
        row = {
            "name": case.name, "seconds": t, "low": float(low), "high": float(high), "runs": len(times[case.name]),
            "floor_seconds": median[FLOORS[case.floor].name] if case.floor else None,
            "published_seconds": case.published,
            "rate": case.units / t if case.unit else None, "unit": case.unit, "peak_gb": memory.get(case.name),
        }  # fmt: skip
        rows.append(row)
        floor = f"{t / row['floor_seconds']:.1f}" if row["floor_seconds"] else ""
        published = f"{case.published / t:.0f} faster" if case.published else ""
        rate = f"{row['rate']:.1f} {case.unit}" if case.unit else ""
        spread, gb = f"{1e3 * low:.1f} to {1e3 * high:.1f}", memory.get(case.name)
        peak = f"{gb:.2f}" if gb else ""
        print(f"{case.name:36}{1e3 * t:9.1f}{spread:>18}{floor:>9}{published:>13}{rate:>17}{peak:>7}")
    return rows


def scaling(sizes: Sequence[int], threads: int) -> list[dict[str, float | int]]:
    """Forces of supercells: time per atom against the size, in rounds of one call each."""
    cases = [case for case in LARGE if case.units in sizes]
    times = measure(cases, rounds=3)
    rows = []
    reference = next((float(np.median(times[c.name])) / c.units for c in cases if c.units == 1536), None)
    print(f"\n{'atoms':>8}{'s':>9}{'us per atom':>13}{'x 1,536':>9}{'GB':>7}")
    for case in cases:
        t, gb = float(np.median(times[case.name])), peak_memory(case.name, threads)
        rows.append({"atoms": case.units, "seconds": t, "microseconds_per_atom": 1e6 * t / case.units, "peak_gb": gb})
        ratio = f"{t / case.units / reference:.2f}" if reference else ""
        print(f"{case.units:8,}{t:9.2f}{1e6 * t / case.units:13.1f}{ratio:>9}{gb:7.2f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", default="192,1536,12288,98304", help="atoms of the supercells; empty for none")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.only:
        return only(options.only)
    threads, g = torch.get_num_threads(), graph_of()
    print(f"{g.n_atoms} atoms, {g.n_edges} edges, {g.whole.plan.n_triplets} triplets; {threads} threads")
    times = measure([*FLOORS.values(), *CASES], options.rounds)
    memory = {name: peak_memory(name, threads) for name in WITH_MEMORY}
    rows = table([*FLOORS.values(), *CASES], times, memory)
    sizes = [int(size) for size in options.sizes.split(",") if size]
    large = scaling(sizes, threads) if sizes else []
    if options.json:
        facts = {**Environment.here().to_mapping(), "processor": platform.processor() or platform.machine()}
        result = {"environment": facts, "threads": threads, "cases": rows, "scaling": large}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
