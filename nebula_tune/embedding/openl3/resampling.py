"""Sample rate conversion to 48 kHz as the official code does it: resampy 0.2.2's ``kaiser_best``.

An output sample is the sum of its neighbours in the input, weighted by a Kaiser-windowed sinc read by linear
interpolation from a table. For integer rates the weights repeat after ``48000 / gcd`` outputs, so they are worked
out once for each such phase, and a signal is then a matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import numpy as np

TARGET = 48000  # Hz
CROSSINGS = 64  # of zero, on each side of the sinc
PRECISION = 512  # table entries a zero crossing
ROLLOFF = 0.9475937167399596
KAISER_BETA = 14.769656459379492
PHASES_AT_ONCE = 160


@lru_cache(maxsize=1)
def half_filter() -> np.ndarray:
    """The right half of the windowed sinc, 64 x 512 + 1 entries from its middle outwards."""
    entries = CROSSINGS * PRECISION
    sinc = ROLLOFF * np.sinc(ROLLOFF * np.arange(entries + 1) / PRECISION)
    return np.asarray(sinc * np.kaiser(2 * entries + 1, KAISER_BETA)[entries:])


@dataclass(frozen=True)
class Phases:
    """Weights of consecutive outputs: output ``p`` is ``weights[p] @ x[first : first + taps]`` (plus its block)."""

    first: int
    weights: np.ndarray  # (phases, taps)


def wing(start: np.ndarray, ratio: float) -> np.ndarray:
    """Weights (phases, taps) of inputs going away from outputs whose distance to the first is ``start`` (samples).

    Below a ratio of 1 the filter is widened, and read in steps rounded down to whole table entries.
    """
    scale = min(1.0, ratio)
    table = half_filter() * scale
    slope = np.append(np.diff(table), 0.0)
    step = int(scale * PRECISION)
    position = start * scale * PRECISION
    offset = position.astype(np.int64)
    taps = len(table) // step
    entry = offset[:, None] + step * np.arange(taps)
    # resampy reads (entries - offset) // step taps: the last whole step may be left out, never overrun.
    inside = np.arange(taps) < ((len(table) - offset) // step)[:, None]
    entry = np.where(inside, entry, 0)
    return np.where(inside, table[entry] + (position - offset)[:, None] * slope[entry], 0.0)


def group_of(whole: np.ndarray, rest: np.ndarray, ratio: float) -> Phases:
    """Weights of outputs that lie ``whole + rest`` input samples after their block's start."""
    left, right = wing(rest, ratio), wing(1.0 - rest, ratio)
    reach = left.shape[1]
    first = int(whole[0]) - reach + 1
    weights = np.zeros((len(whole), int(whole[-1]) + reach + 1 - first))
    for row, at in enumerate(whole - first):
        weights[row, at - reach + 1 : at + 1] = left[row, ::-1]
        weights[row, at + 1 : at + 1 + reach] = right[row]
    return Phases(first, weights)


@lru_cache(maxsize=8)
def phases(sample_rate: int) -> tuple[Phases, ...]:
    """All the weights from that rate, in groups of up to 160 consecutive outputs.

    After them comes the first phase again, as seen when rounding puts it just before its input sample.
    """
    outputs, inputs = TARGET // gcd(TARGET, sample_rate), sample_rate // gcd(TARGET, sample_rate)
    ratio = TARGET / sample_rate
    groups = []
    for begin in range(0, outputs, PHASES_AT_ONCE):
        number = np.arange(begin, min(begin + PHASES_AT_ONCE, outputs))
        groups.append(group_of(number * inputs // outputs, (number * inputs % outputs) / outputs, ratio))
    groups.append(group_of(np.array([-1]), np.array([1.0]), ratio))
    return tuple(groups)


def apply(group: Phases, audio: np.ndarray, blocks: int, inputs: int) -> np.ndarray:
    """The group's outputs of each block of ``inputs`` samples, (blocks, phases).

    ``audio`` is the whole signal (samples,), with zeros around it.
    """
    taps = group.weights.shape[1]
    before = max(0, -group.first)
    start = before + group.first
    padded = np.zeros(max(start + (blocks - 1) * inputs + taps, before + len(audio)))
    padded[before : before + len(audio)] = audio
    views = np.lib.stride_tricks.sliding_window_view(padded[start:], taps)[::inputs][:blocks]
    return np.asarray(views @ group.weights.T)


def resample(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """``audio`` (samples,) at 48 kHz, float64, ``int(samples * 48000 / sample_rate)`` samples.

    The signal is zero outside what is given; the gain is not normalised (a constant keeps its level to 3e-8).
    """
    audio = np.asarray(audio, dtype=np.float64)
    if sample_rate == TARGET:
        return audio
    length = int(len(audio) * (TARGET / sample_rate))
    divisor = gcd(TARGET, sample_rate)
    outputs, inputs = TARGET // divisor, sample_rate // divisor
    blocks = max(1, -(-length // outputs))
    *groups, before_first = phases(sample_rate)
    result = np.concatenate([apply(group, audio, blocks, inputs) for group in groups], axis=1)
    # The official code adds up the time of each output. Where the sum falls just short of an input sample, it takes
    # the filter from the sample before; that is another filter if the table is read in rounded-down steps.
    added_up = np.cumsum(np.full(blocks * outputs, sample_rate / TARGET))[outputs - 1 :: outputs]
    early = np.flatnonzero(np.floor(added_up[:-1]) < inputs * np.arange(1, blocks)) + 1
    if len(early):
        result[early, 0] = apply(before_first, audio, blocks, inputs)[early, 0]
    return result.reshape(-1)[:length]
