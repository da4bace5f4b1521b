"""Random streams: one independent generator for each (seed, purpose, ...) key.

Streams are keyed, not advanced from one another: the draw of step 1000 is the same whether or not
steps 0 to 999 were computed in this process. That is what makes a resumed run equal to an unbroken
one, and what keeps chip, read noise, data order and velocities independent of each other.
"""

import hashlib

import numpy as np
import torch

Key = int | str


def stream_seed(seed: int, *key: Key) -> int:
    """A 63-bit seed from a user's seed and a key such as ("read noise", step)."""
    digest = hashlib.blake2b(repr((int(seed), *key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def torch_stream(seed: int, *key: Key, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device` for this key."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *key))


def numpy_stream(seed: int, *key: Key) -> np.random.Generator:
    """A NumPy generator for this key."""
    return np.random.default_rng(stream_seed(seed, *key))
