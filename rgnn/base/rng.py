"""Random streams: one independent generator for each (seed, purpose, ...) key.

Streams are keyed, not advanced from one another: the draw of step 1000 is the same whether or not
steps 0 to 999 were computed in this process. That is what makes a resumed run equal to an unbroken
one, and what keeps chip, read noise, data order and velocities independent of each other.
"""

import hashlib
from functools import cache

import numpy as np
import torch
from torch import Tensor

Key = int | str


def stream_seed(seed: int, *key: Key) -> int:
    """A 63-bit seed from a user's seed and a key such as ("read noise", step)."""
    digest = hashlib.blake2b(repr((int(seed), *key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def torch_stream(seed: int, *key: Key) -> torch.Generator:
    """A torch generator on the CPU for a seed and a key, see `stream_seed`."""
    return torch.Generator().manual_seed(stream_seed(seed, *key))


def numpy_stream(seed: int, *key: Key) -> np.random.Generator:
    """A NumPy generator for a seed and a key, see `stream_seed`."""
    return np.random.default_rng(stream_seed(seed, *key))


def draw_key(generator: torch.Generator) -> int:
    """A 64-bit key for `normal`, drawn from a generator."""
    return int(torch.empty((), dtype=torch.int64).random_(-(2**63), None, generator=generator))


def normal(key: int, rows: Tensor, columns: int) -> Tensor:
    """Standard normal numbers that depend on the key and on their place only: [len(rows), columns] float32.

    A row is the same whatever rows are asked for with it, on any device, so that a sum over rows may be taken
    in any order and in any blocks. Four numbers come from one 64-bit word of SplitMix64 (Steele, Lea & Flood,
    OOPSLA 2014) in counter form: each picks one of the 65,536 quantiles of the normal distribution by 16 bits,
    of mean 0 and variance 1, cut at 4.2 standard deviations.
    """
    words = (columns + 3) // 4
    counter = rows[:, None] * words + torch.arange(words, device=rows.device)
    x = (counter + 1) * _signed(0x9E3779B97F4A7C15) + key
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    x = x ^ _shifted(x, 31)
    picks = torch.cat([x >> b & 0xFFFF for b in (0, 16, 32, 48)], dim=1)[:, :columns]
    drawn: Tensor = quantiles().to(rows.device)[picks]
    return drawn


def _signed(word: int) -> int:
    """The int64 with the bits of this 64-bit word; torch's int64 products and sums wrap around as unsigned ones do."""
    return word - (word >> 63 << 64)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """The logical shift to the right."""
    return x >> bits & (1 << (64 - bits)) - 1


@cache
def quantiles() -> Tensor:
    """[65536] float32 quantiles of the normal distribution, of unit variance."""
    probability = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    z = torch.special.ndtri(probability)
    scaled: Tensor = z / z.square().mean().sqrt()
    return scaled.float()
