"""What comes before the GPU's renderer, as Triton kernels: random draws, and from raw to human values."""

from __future__ import annotations

import triton
import triton.language as tl

from nebula_tune.synth import parameters
from nebula_tune.synth.gpu_math import TINY, exp2_64, log2_64

VANISHING = tl.constexpr(parameters.VANISHING)


@triton.jit(do_not_specialize=["sounds"])
def draw(first, order, states, out, sounds, COUNT: tl.constexpr, LANES: tl.constexpr):
    """The first COUNT numbers of each sound's MT19937, seeded with its index; ``out`` is (sounds, COUNT) float32.

    ``order`` tells which column takes the k-th. Up to 227 words the generator needs no more of its state than the words
    0 .. COUNT and 397 .. 396 + COUNT; the former are kept in ``states`` (COUNT + 1, sounds). Sounds count from
    the one number in ``first`` on, int64, which a recording can be given anew; a program draws LANES of them.
    """
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    inside = lane < sounds
    state = (tl.load(first) + lane).to(tl.uint32)
    tl.store(states + lane, state, mask=inside)
    for n in range(1, 397 + COUNT):
        state = ((state ^ (state >> 30)) * 1812433253 + n).to(tl.uint32)
        if n <= COUNT:
            tl.store(states + n * sounds + lane, state, mask=inside)
        if n >= 397:
            k = n - 397
            here = tl.load(states + k * sounds + lane, mask=inside, other=0).to(tl.uint32)
            there = tl.load(states + (k + 1) * sounds + lane, mask=inside, other=0).to(tl.uint32)
            both = (here & 0x80000000) | (there & 0x7FFFFFFF)
            y = state ^ (both >> 1) ^ tl.where((both & 1) != 0, 0x9908B0DF, 0).to(tl.uint32)
            y ^= y >> 11
            y ^= (y << 7) & 0x9D2C5680
            y ^= (y << 15) & 0xEFC60000
            y ^= y >> 18
            number = (y & 0xFFFFFF).to(tl.float32) * 5.9604644775390625e-8
            tl.store(out + lane.to(tl.int64) * COUNT + tl.load(order + k), number, mask=inside)


@triton.jit
def to_human(
    raw, minimum, maximum, curves, symmetric, human, numbers, PARAMETERS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Human values of raw ones, as Panel.to_human has it; ``raw`` and ``human`` (float64) are (sounds, PARAMETERS).

    ``minimum``, ``maximum``, ``curves`` and ``symmetric`` are (PARAMETERS,). Of the ``numbers`` that there are in all a
    program takes BLOCK.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, p = i < numbers, i % PARAMETERS
    u = tl.load(raw + i, mask=inside, other=0.5).to(tl.float64)
    both = tl.load(symmetric + p) != 0
    deviation = 2 * u - 1
    base = tl.where(both, tl.abs(deviation), u)
    radius = exp2_64(tl.maximum(log2_64(tl.maximum(base, TINY)) / tl.load(curves + p), -1000.0))
    radius = tl.where((base > 0) & (radius >= VANISHING), radius, 0.0)
    unit = tl.where(both, (1 + tl.where(deviation < 0, -radius, radius)) / 2, radius)
    low, high = tl.load(minimum + p), tl.load(maximum + p)
    tl.store(human + i, low + (high - low) * unit, mask=inside)
