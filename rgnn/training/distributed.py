"""The processes that share a training run, as torchrun starts them; one alone without it.

All of them hold the same model and take the same steps; what they share are sums. Torch's DistributedDataParallel
would take means over processes where means over force components are wanted, knows nothing of ranges and
statistics, and imports torch's compiler, 900 modules and 150 MB; one sum of one flat gradient needs none of it.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, distributed

from rgnn.base.errors import BrokenRunError, InputError, first_line

Item = TypeVar("Item")


class LostProcessError(BrokenRunError):
    """Another process has ended before its time; what it had to say it has said itself, if it could."""


@dataclass(frozen=True)
class Processes:
    """One process among all of a run. What all must call, all must call in the same order.

    Attributes:
        rank, count: number of this process, and of all.
        local, here: the same among those of its machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    here: int = 1

    @classmethod
    def join(cls) -> Self:
        """Those that torchrun has started with this one; this one alone without torchrun.

        Raises:
            InputError: they do not find each other.
        """
        if "RANK" not in os.environ or os.environ.get("WORLD_SIZE") == "1":
            return cls()
        try:
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"RANK is {os.environ['RANK']}, but the processes do not find each other ({first_line(error)}); start "
                "them with torchrun, or unset RANK for one alone."
            ) from None
        local, here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return cls(distributed.get_rank(), distributed.get_world_size(), local, here)

    def leave(self) -> None:
        """End the communication between the processes."""
        if self.count > 1:
            distributed.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and shows."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Those of the items that are for this process: every `count`-th."""
        return items[self.rank :: self.count]

    def all_reduce_sum_(self, x: Tensor) -> Tensor:
        """The sum over all processes, the same bits on each, in place. All must call."""
        return self._together(x, distributed.all_reduce)

    def all_reduce_min_(self, x: Tensor) -> Tensor:
        """The smallest over all processes, element by element, in place. All must call."""
        return self._together(x, lambda x: distributed.all_reduce(x, distributed.ReduceOp.MIN))

    def any(self, mine: bool) -> bool:
        """Whether it is true on one of them. All must call."""
        return bool(self.all_reduce_sum_(torch.tensor(float(mine))))

    def barrier(self) -> None:
        """Wait for all of them, so that none ends while another still writes."""
        self.any(False)

    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Tensors as the first process has them, in place. All must call."""
        for x in tensors:
            self._together(x, lambda x: distributed.broadcast(x, 0))

    def broadcast_object(self, value: Any) -> Any:
        """Plain values as the first process has them; what the others give is not looked at. All must call."""
        if self.count == 1:
            return value
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        size = torch.tensor(len(text))
        self.broadcast_([size])
        text = text if self.first else torch.empty(int(size), dtype=torch.uint8)
        self.broadcast_([text])
        return json.loads(bytes(text.numpy()))

    def _together(self, x: Tensor, talk: Callable[[Tensor], Any]) -> Tensor:
        if self.count > 1:
            try:
                talk(x)
            except RuntimeError as error:
                raise LostProcessError(
                    f"another process of this run has ended or does not answer ({first_line(error)}); what was saved "
                    "before is whole, so resume the run once its error is found."
                ) from None
        return x


ALONE = Processes()
