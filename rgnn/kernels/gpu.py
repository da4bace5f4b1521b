"""The reservoir's three-body sum on NVIDIA GPUs: one Triton program for each edge i -> j, looping over its k.

Gather, add, ReLU, quantise, product, noise, gate and sum happen in registers: of the triplets nothing is written to
memory. Codes are exact in float16, and a weight is the sum of two float16, which holds it to 2^-22 of its row's
largest; the products accumulate in float32. Everything else is left to the plain kernels.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from rgnn.base.rng import quantiles
from rgnn.chip.noise import Noise
from rgnn.chip.product import AnalogProduct
from rgnn.graphs.triplets import TripletPlan
from rgnn.kernels.interface import Kernels
from rgnn.kernels.plain import PLAIN, PlainTriplets

# Triplets at a time, and columns of W5 at a time.
ROWS, COLUMNS = 32, 64


@triton.jit
def _bits(code, bit: tl.constexpr):
    return ((code >> bit) & 1) << (2 * bit)


@triton.jit
def _square(code, BY_PLANES: tl.constexpr):
    """V = sum_b 4^b x_b of an 8-bit code, or its square."""
    if BY_PLANES:
        low = _bits(code, 0) + _bits(code, 1) + _bits(code, 2) + _bits(code, 3)
        return low + _bits(code, 4) + _bits(code, 5) + _bits(code, 6) + _bits(code, 7)
    return code * code


@triton.jit
def _normal(key, number, column, words, quantiles):
    """The numbers of `rgnn.base.rng.normal` for rows [rows, 1] and columns [1, columns]."""
    word = column % words
    x = (number * words + word + 1).to(tl.uint64) * 0x9E3779B97F4A7C15 + key.to(tl.uint64)
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    x = x ^ (x >> 31)
    pick = (x >> (16 * (column // words)).to(tl.uint64)) & 0xFFFF
    return tl.load(quantiles + pick.to(tl.int32))


@triton.jit
def _exp(x):
    return tl.exp(tl.minimum(tl.maximum(x, -60.0), 60.0))


@triton.jit(do_not_specialize=["key"])
def three_body_kernel(
    p, q, in_edges, out_edges, out_first, n_out, number, fc, result,
    matrices, scales, first_offset, offset, ranges, quantiles, key,
    WEIGHTED: tl.constexpr, NOISY: tl.constexpr, BY_PLANES: tl.constexpr,
    MOST: tl.constexpr, K: tl.constexpr, KP: tl.constexpr, F: tl.constexpr, FP: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """result[edge] for the edge of this program; matrices [3, 2, KP, FP] are high, low and variance of both halves."""
    place = tl.program_id(0).to(tl.int64)
    edge = tl.load(in_edges + place)
    first, many, triplet = tl.load(out_first + place), tl.load(n_out + place), tl.load(number + place)
    first_levels, first_width = tl.load(ranges), tl.load(ranges + 1)
    low, divisor, levels, width = tl.load(ranges + 2), tl.load(ranges + 3), tl.load(ranges + 4), tl.load(ranges + 5)
    feature = tl.arange(0, FP)
    total = tl.zeros((FP,), tl.float32)
    for start in range(0, MOST, ROWS):
        k = start + tl.arange(0, ROWS)
        out = tl.load(out_edges + first + k, mask=k < many, other=0)
        a, b = tl.zeros((ROWS, FP), tl.float32), tl.zeros((ROWS, FP), tl.float32)
        va, vb = tl.zeros((ROWS, FP), tl.float32), tl.zeros((ROWS, FP), tl.float32)
        for column in range(0, KP, COLUMNS):
            c = column + tl.arange(0, COLUMNS)
            h = tl.load(p + edge * K + c, mask=c < K, other=0.0)[None, :]
            h = h + tl.load(q + out[:, None] * K + c[None, :], mask=(k < many)[:, None] & (c < K)[None, :], other=0.0)
            h = h / first_levels * first_width + tl.load(first_offset + c, mask=c < K, other=0.0)[None, :]
            x = (tl.maximum(h, 0.0) - low) / divisor * levels
            x = (x + 12582912.0) - 12582912.0  # to the nearest whole number: beyond 2^23 floats have no fraction
            x = tl.minimum(tl.maximum(x, 0.0), levels)
            code = x.to(tl.float16)
            at = matrices + c[:, None] * FP + feature[None, :]
            a = tl.dot(code, tl.load(at), tl.dot(code, tl.load(at + 2 * KP * FP), a))
            b = tl.dot(code, tl.load(at + KP * FP), tl.dot(code, tl.load(at + 3 * KP * FP), b))
            if NOISY:
                square = _square(x.to(tl.int32), BY_PLANES).to(tl.float16)
                va = tl.dot(square, tl.load(at + 4 * KP * FP), va)
                vb = tl.dot(square, tl.load(at + 5 * KP * FP), vb)
        a, b = a * tl.load(scales + feature)[None, :], b * tl.load(scales + FP + feature)[None, :]
        if NOISY:
            rows, words = (triplet + k)[:, None], (2 * F + 3) // 4
            da, db = tl.load(scales + 2 * FP + feature), tl.load(scales + 3 * FP + feature)
            column = tl.minimum(feature, F - 1)[None, :]
            a += tl.sqrt(va) * da[None, :] * _normal(key, rows, column, words, quantiles)
            b += tl.sqrt(vb) * db[None, :] * _normal(key, rows, column + F, words, quantiles)
        a = a / levels * width + tl.load(offset + feature, mask=feature < F, other=0.0)[None, :]
        b = b / levels * width + tl.load(offset + F + feature, mask=feature < F, other=0.0)[None, :]
        ea, eb = _exp(-a), _exp(-2.0 * b)
        message = (1.0 - eb) / ((1.0 + ea) * (1.0 + eb))
        weight = tl.where(k < many, 1.0, 0.0)
        if WEIGHTED:
            weight = tl.load(fc + out, mask=k < many, other=0.0)
        total += tl.sum(message * weight[:, None], axis=0)
    tl.store(result + edge * F + feature, total, mask=feature < F)


def triton_kernels() -> Kernels:
    """Triton's three-body sum of the reservoir, and plain kernels for the rest."""
    return Kernels("triton", PLAIN.products, TritonTriplets(), PLAIN.edges)


class TritonTriplets(PlainTriplets):
    """Plain sums over triplets, except the reservoir's three-body sum where it needs no gradient."""

    def three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, first: AnalogProduct, second: AnalogProduct
    ) -> Tensor:
        """See `TripletSums`."""
        converter, noise = second.converter, second.noise
        fits = converter.levels is not None and converter.levels <= 255 and first.converter.levels is not None
        # A floor would turn the last bit of a sum into another code, further on.
        fits = fits and second.counts is None and converter.nearest and p.dtype == torch.float32
        fits = fits and noise.has_closed_form and noise.fluctuations is None
        if not fits or second.passes_gradient(p, q):
            return super().three_body(plan, p, q, fc, first, second)
        features, inputs = len(noise.weight) // 2, noise.weight.shape[1]
        matrices, scales = _matrices(noise)
        p, q, device = p.contiguous(), q.contiguous(), p.device
        result = torch.zeros((len(p), features), device=device)
        out_first, n_out, number = plan.fans
        a, c = first.converter, converter
        three_body_kernel[(len(plan.in_edges),)](
            p, q, plan.in_edges, plan.out_edges, out_first, n_out, number, p if fc is None else fc.contiguous(), result,
            matrices, scales, first.offset.contiguous(), second.offset.contiguous(),
            torch.stack([torch.as_tensor(x, dtype=p.dtype, device=device) for x in
                         (a.levels, a.width, c.low, c.divisor, c.levels, c.width)]),
            _quantiles(device), second.key(),
            WEIGHTED=fc is not None, NOISY=noise.draws_rows, BY_PLANES=noise.bits is not None,
            MOST=triton.cdiv(max((b.d_out for b in plan.blocks), default=0), ROWS) * ROWS,
            K=inputs, KP=matrices.shape[2], F=features, FP=matrices.shape[3], ROWS=ROWS, COLUMNS=COLUMNS,
        )  # fmt: skip
        return result


@cache
def _quantiles(device: torch.device) -> Tensor:
    return quantiles().to(device)


def _matrices(noise: Noise) -> tuple[Tensor, Tensor]:
    """[3, 2, inputs, features] float16: high, low and variance of both halves; and [2, 2, features] their scales."""
    scale = noise.weight.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    weight = noise.weight / scale
    high = weight.half()
    parts, scales = [high, (weight - high).half()], [scale]
    variance = noise.variance
    if variance is not None:
        largest = variance.amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        parts.append((variance / largest).half())
        scales.append(noise.strength * largest.sqrt())
    outputs, inputs = noise.weight.shape
    features = outputs // 2
    padded_inputs, padded = triton.cdiv(inputs, COLUMNS) * COLUMNS, max(16, triton.next_power_of_2(features))
    matrices = noise.weight.new_zeros((3, 2, padded_inputs, padded), dtype=torch.float16)
    factors = noise.weight.new_zeros((2, 2, padded))
    for k, part in enumerate(parts):
        matrices[k, :, :inputs, :features] = part.view(2, features, inputs).transpose(1, 2)
    for k, factor in enumerate(scales):
        factors[k, :, :features] = factor.view(2, features)
    return matrices, factors
