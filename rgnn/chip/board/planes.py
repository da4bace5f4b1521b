"""Input codes as bit planes, eight inputs to a byte: what travels to a board."""

import numpy as np


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Bit planes of codes, packed.

    Args:
        codes: [rows, inputs] whole numbers from 0 to 2^bits - 1.
        bits: planes of a code.

    Returns:
        [rows, bits, ceil(inputs / 8)] uint8. Plane b holds bit b of the codes, the lowest first; input k is bit k % 8
        of byte k // 8, counted from the lowest.
    """
    codes = np.ascontiguousarray(codes)
    kind = np.dtype(np.uint8 if bits <= 8 else np.uint16)
    masks = (1 << np.arange(bits)).astype(kind)
    planes = np.bitwise_and(codes.astype(kind)[:, None, :], masks[:, None]) != 0
    return np.packbits(planes, axis=-1, bitorder="little")


def unpacked(planes: np.ndarray, inputs: int) -> np.ndarray:
    """The bits [rows, bits, inputs] uint8 of packed planes."""
    return np.unpackbits(planes, axis=-1, count=inputs, bitorder="little")


def codes_of(planes: np.ndarray, inputs: int) -> np.ndarray:
    """The codes [rows, inputs] int64 of packed planes."""
    bits = unpacked(planes, inputs)
    powers = 1 << np.arange(bits.shape[1], dtype=np.int64)
    return np.asarray(np.einsum("rbk,b->rk", bits, powers))


def summed(sums: np.ndarray) -> np.ndarray:
    """[rows, bits, out] column sums of planes -> [rows, out]: plane b counts 2^b times."""
    return np.asarray(np.einsum("rbo,b->ro", sums.astype(np.float64), 2.0 ** np.arange(sums.shape[1])))
