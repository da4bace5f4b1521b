"""The processes that share a run, and how they talk: sums over all, and rows passed from each to each."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from rgnn.base.errors import FetchError

INSTALL = "pip install 'rgnn[lammps]'"


class World(Protocol):
    """What ranks ask of each other.

    Attributes:
        rank, size: number of this process, and of all.
    """

    rank: int
    size: int

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over all ranks, on each of them. All must call."""

    def all_to_all(self, sent: Sequence[np.ndarray], expected: Sequence[int] | None = None) -> list[np.ndarray]:
        """Rows from each rank for rows to each rank; all of one type and width.

        With `expected`, the numbers of rows to come, only ranks with rows for each other take part; without, all must.
        """


def peak_memory() -> float:
    """Peak memory of this process, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class MPIWorld:
    """All processes of one mpirun; alone without it.

    Making one is what joins MPI. From then on ASE's readers and writers work on each rank alone.

    Args:
        show: shows an error to the user and gives its exit code, where one rank has to end all.

    Raises:
        FetchError: mpi4py is not installed.
    """

    def __init__(self, show: Callable[[BaseException], int] = lambda error: 1) -> None:
        try:
            from mpi4py import MPI
        except ImportError:
            raise FetchError(f"running on many machines needs LAMMPS, MPI and mpi4py; {INSTALL} brings them.") from None
        import ase.parallel

        # ASE would share each file that it reads and writes out among the ranks; here each of them works alone.
        ase.parallel.world.comm = ase.parallel.DummyMPI()
        self._mpi, self.comm, self._show = MPI, MPI.COMM_WORLD, show
        self._aside = self.comm.Dup()  # what is said here meets nothing that other ranks may be waiting for
        self.rank, self.size = self.comm.rank, self.comm.size

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over all ranks, of the shape of the values. All must call."""
        total = np.empty_like(values)
        self.comm.Allreduce(values, total)
        return total

    def largest(self, value: float) -> float:
        """The largest of all ranks. All must call."""
        return float(self.comm.allreduce(value, self._mpi.MAX))

    def all_to_all(self, sent: Sequence[np.ndarray], expected: Sequence[int] | None = None) -> list[np.ndarray]:
        """What each rank has sent to this one. All must call.

        Args:
            sent: rows for each rank.
            expected: number of rows from each rank; None asks them.
        """
        if expected is None:
            counts = np.empty(self.size, np.int64)
            self.comm.Alltoall(np.array([len(rows) for rows in sent], np.int64), counts)
            expected = counts.tolist()
        received = [np.empty((n, *sent[0].shape[1:]), sent[0].dtype) for n in expected]
        received[self.rank] = sent[self.rank]
        others = [rank for rank in range(self.size) if rank != self.rank]
        waiting = [self.comm.Irecv(received[rank], rank) for rank in others if len(received[rank])]
        contiguous = [np.ascontiguousarray(rows) for rows in sent]
        waiting += [self.comm.Isend(contiguous[rank], rank) for rank in others if len(sent[rank])]
        self._mpi.Request.Waitall(waiting)
        return received

    def gather(self, values: np.ndarray) -> np.ndarray | None:
        """[all rows, ...] of the ranks one after the other, on rank 0; None on the others. All must call."""
        parts = self.all_to_all([values if rank == 0 else values[:0] for rank in range(self.size)])
        return np.concatenate(parts) if self.rank == 0 else None

    def broadcast_object(self, value: Any) -> Any:
        """What rank 0 has, on all of them."""
        return self.comm.bcast(value)

    def all_come_here(self) -> bool:
        """Whether all ranks call this within a second of each other, as they do with an error that all of them have."""
        request, end = self._aside.Ibarrier(), time.monotonic() + 1
        while not request.Test():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def fail(self, error: BaseException) -> None:
        """Show an error that this rank alone may have, and end all: the others would wait for it forever."""
        self.comm.Abort(self._show(error))
