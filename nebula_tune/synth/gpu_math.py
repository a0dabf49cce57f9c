"""Elementary functions of the GPU's kernels; accuracies as in ``voice/cpu_kernels.py``."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from nebula_tune.synth import limits

STEEPEST = tl.constexpr(limits.STEEPEST)
CEILING = tl.constexpr(float(limits.CEILING))
PI = tl.constexpr(math.pi)
LOG2_E = tl.constexpr(1 / math.log(2))
TINY = tl.constexpr(1e-30)


@triton.jit
def exp2_64(x):
    whole = tl.floor(x + 0.5)
    f = (x - whole) * 0.6931471805599453
    series = 1 / 39916800 + f * (1 / 479001600)
    series = 1 / 40320 + f * (1 / 362880 + f * (1 / 3628800 + f * series))
    series = 1 / 120 + f * (1 / 720 + f * (1 / 5040 + f * series))
    series = 1 + f * (1 + f * (1 / 2 + f * (1 / 6 + f * (1 / 24 + f * series))))
    return series * ((whole.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)


@triton.jit
def log2_64(x):
    bits = x.to(tl.int64, bitcast=True)
    exponent = (bits - 0x3FE6A09E667F3BCD) >> 52
    m = (bits - (exponent << 52)).to(tl.float64, bitcast=True)
    s = (m - 1) / (m + 1)
    z = s * s
    series = 1 / 11 + z * (1 / 13 + z * (1 / 15 + z * (1 / 17)))
    series = 1 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * series))))
    return exponent.to(tl.float64) + s * series * 2.8853900817779268


@triton.jit
def power(base, exponent):
    """base^exponent for a base in 0..1; 0 where the base is 0."""
    return tl.where(base > 0, exp2_64(log2_64(tl.maximum(base, TINY)) * exponent), 0.0)


@triton.jit
def cos_half_64(x):
    """cos(pi x) for |x| <= 1/2."""
    z = -(x * PI) * (x * PI)
    tail = 1 / 40320 + z * (1 / 3628800 + z * (1 / 479001600 + z * (1 / 87178291200 + z * (1 / 20922789888000))))
    return 1 + z * (1 / 2 + z * (1 / 24 + z * (1 / 720 + z * tail)))


@triton.jit
def mean_growth_64(x):
    """(e^x - 1) / x."""
    series = 1 / 720 + x * (1 / 5040 + x * (1 / 40320 + x * (1 / 362880 + x * (1 / 3628800 + x * (1 / 39916800)))))
    series = 1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * series))))
    small = tl.abs(x) < STEEPEST
    return tl.where(small, series, (exp2_64(x * LOG2_E) - 1) / tl.where(small, 1.0, x))


@triton.jit
def growth_series(x):
    """(e^x - 1) / x for |x| up to STEEPEST."""
    series = 1 / 120 + x * (1 / 720 + x * (1 / 5040))
    return 1 + x * (0.5 + x * (1 / 6 + x * (1 / 24 + x * series)))


@triton.jit
def mean_growth_32(x):
    small = tl.abs(x) < STEEPEST
    return tl.where(small, growth_series(x), (tl.exp2(x * LOG2_E) - 1) / tl.where(small, 1.0, x))


@triton.jit
def sin_half(x):
    """sin(pi x) for |x| <= 1/2."""
    z = x * x
    series = 2.55003138 + z * (-0.59804519 + z * 0.07722015)
    return x * (3.14159258 + z * (-5.16770688 + z * series))


@triton.jit
def cos_half(x):
    """cos(pi x) for |x| <= 1/2."""
    z = x * x
    return 1 + z * (-4.93479287 + z * (4.05841206 + z * (-1.33188094 + z * 0.21969819)))


@triton.jit
def tanh_32(x):
    x = tl.minimum(tl.maximum(x, -CEILING), CEILING)
    z = x * x
    top = 0.99999986 + z * (0.12746522 + z * (2.7315163e-3 + z * (7.4317053e-6 + z * -6.6416318e-9)))
    bottom = 1 + z * (0.46079741 + z * (0.022998915 + z * 2.01295176e-4))
    return x * top / bottom
