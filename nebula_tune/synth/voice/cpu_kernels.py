"""The Voice for float32 on a CPU: one fused loop per sound, compiled by numba.

The same patch as :meth:`nebula_tune.synth.voice.patch.Voice.play`, without a single temporary as long as the audio. The
control signals (441 Hz) are worked out in float64. Between two control frames, some 100 samples, they are straight
lines, so an oscillator's frequency is an exponential there and its phase a geometric sum in closed form: no sample
waits for the one before, and the compiler vectorises. Phases are carried from frame to frame in float64 turns,
wrapped, so long notes do not drift. What comes after the last release is exactly zero and is not rendered.

A sound is always worked out alone, by one thread, by the same instructions: its bits depend neither on the batch
it is in nor on the number of threads. All compiled functions stay in this file, because numba's cache on disk is
renewed when this file changes, and not when another one does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nebula_tune.arrays import Array
from nebula_tune.synth.compiler import compiled
from nebula_tune.synth.envelope import EPSILON
from nebula_tune.synth.lfo import SELECTOR_EXPONENT
from nebula_tune.synth.limits import CEILING, STEEPEST
from nebula_tune.synth.voice import layout as at

PLANS = at.N_DESTINATIONS  # row of the scratch where the VCOs' plans are kept, once the envelopes have been used
LANES = 16  # blocks of samples are padded to a multiple of this, so that no vector loop has a remainder
SEMITONE = math.log(2) / 12
ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)


# --- elementary functions, branch-free so that loops over them vectorise -------------------------------------------


@compiled
def exp2_64(x: float) -> Any:
    """2^x in float64 to 1e-14, for |x| < 1000: Taylor series of the fraction, the whole part as an exponent."""
    whole = np.floor(x + 0.5)
    f = (x - whole) * 0.6931471805599453
    series = 1 / 39916800 + f * (1 / 479001600)
    series = 1 / 40320 + f * (1 / 362880 + f * (1 / 3628800 + f * series))
    series = 1 / 120 + f * (1 / 720 + f * (1 / 5040 + f * series))
    series = 1 + f * (1 + f * (1 / 2 + f * (1 / 6 + f * (1 / 24 + f * series))))
    return series * np.int64((np.int64(whole) + 1023) << 52).view(np.float64)


@compiled
def log2_64(x: float) -> float:
    """log2 of a normal float64 x > 0 to 1e-14: the series of artanh on [sqrt(1/2), sqrt(2))."""
    bits = np.float64(x).view(np.int64)
    exponent = (bits - 0x3FE6A09E667F3BCD) >> 52
    m = np.int64(bits - (exponent << 52)).view(np.float64)
    s = (m - 1) / (m + 1)
    z = s * s
    series = 1 / 11 + z * (1 / 13 + z * (1 / 15 + z * (1 / 17)))
    series = 1 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * series))))
    return exponent + s * series * 2.8853900817779268


@compiled
def power(base: float, exponent: float) -> float:
    """base^exponent for a base in 0..1; 0 where the base is 0."""
    result = exp2_64(exponent * log2_64(max(base, 1e-30)))
    return result if base > 0 else 0.0


@compiled
def cos_half_64(x: float) -> float:
    """cos(pi x) for |x| <= 1/2, to 1e-12."""
    z = -(math.pi * x) * (math.pi * x)
    tail = 1 / 40320 + z * (1 / 3628800 + z * (1 / 479001600 + z * (1 / 87178291200 + z * (1 / 20922789888000))))
    return 1 + z * (1 / 2 + z * (1 / 24 + z * (1 / 720 + z * tail)))


@compiled
def mean_growth(x: float) -> float:
    """(e^x - 1) / x for |x| up to STEEPEST, to 3e-14."""
    series = 1 / 720 + x * (1 / 5040 + x * (1 / 40320 + x * (1 / 362880 + x * (1 / 3628800 + x * (1 / 39916800)))))
    return 1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * series))))


@compiled
def mean_growth_32(x: np.float32) -> np.float32:
    """The same in float32, to 1e-8."""
    series = np.float32(1 / 120) + x * (np.float32(1 / 720) + x * np.float32(1 / 5040))
    return ONE + x * (HALF + x * (np.float32(1 / 6) + x * (np.float32(1 / 24) + x * series)))


@compiled
def sin_half(x: np.float32) -> np.float32:
    """sin(pi x) for |x| <= 1/2, minimax to 4e-9."""
    z = x * x
    series = np.float32(2.55003138) + z * (np.float32(-0.59804519) + z * np.float32(0.07722015))
    return x * (np.float32(3.14159258) + z * (np.float32(-5.16770688) + z * series))


@compiled
def cos_half(x: np.float32) -> np.float32:
    """cos(pi x) for |x| <= 1/2, minimax to 5e-8."""
    z = x * x
    series = np.float32(4.05841206) + z * (np.float32(-1.33188094) + z * np.float32(0.21969819))
    return ONE + z * (np.float32(-4.93479287) + z * series)


@compiled
def tanh_32(x: np.float32) -> np.float32:
    """tanh by a rational function in x^2, minimax to 2e-7 relative."""
    x = min(max(x, -CEILING), CEILING)
    z = x * x
    top = np.float32(2.7315163e-3) + z * (np.float32(7.4317053e-6) + z * np.float32(-6.6416318e-9))
    top = np.float32(0.99999986) + z * (np.float32(0.12746522) + z * top)
    bottom = ONE + z * (np.float32(0.46079741) + z * (np.float32(0.022998915) + z * np.float32(2.01295176e-4)))
    return x * top / bottom


# --- control rate, float64 -----------------------------------------------------------------------------------------


@compiled
def fall(start: float, span: float, alpha: float, floor: float, envelope: Array) -> None:
    """Multiply an envelope by a segment falling from 1 to ``floor`` over ``span`` frames from frame ``start`` on.

    ``alpha`` is the power that bends it; ``envelope`` is (frames,).
    """
    if span <= 0:
        return  # as in torchsynth, a segment of no length is no segment: nothing falls
    frames = len(envelope)
    begin = min(frames, int(start) + 1)
    end = max(begin, min(frames, int(start + span) + 2))
    held = (1 - floor) * power(max(1 - (EPSILON / span + EPSILON), 0.0), alpha) + floor
    for n in range(begin):
        envelope[n] *= held
    for n in range(begin, end):
        gone = min((n - start + EPSILON) / span + EPSILON, 1.0)
        envelope[n] *= (1 - floor) * power(1 - gone, alpha) + floor
    for n in range(end, frames):
        envelope[n] *= floor


@compiled
def trace_envelope(knobs: Array, first: int, envelope: Array) -> None:
    """Fill ``envelope`` (frames,) with the ADSR whose knobs start at column ``first``."""
    duration = knobs[at.DURATION]
    attack, decay = knobs[first], knobs[first + 1]
    sustain, release, alpha = knobs[first + 2], knobs[first + 3], knobs[first + 4]
    attack = min(attack, duration)
    decay = min(max(duration - attack, 0.0), decay)
    span = at.RATE * attack
    risen = min(len(envelope), int(span) + 2)
    for n in range(risen):
        envelope[n] = power(min((n + EPSILON) / span + EPSILON, 1.0), alpha)
    for n in range(risen, len(envelope)):
        envelope[n] = 1.0
    fall(at.RATE * attack, at.RATE * decay, alpha, sustain, envelope)
    fall(at.RATE * duration, at.RATE * release, alpha, 0.0, envelope)


@compiled
def trace_lfo(knobs: Array, first: int, signal: Array) -> None:
    """An LFO: ``signal`` (frames,) holds the envelope that moves its frequency, and gets its output."""
    highest = 1e-300
    for k in range(at.N_SHAPES):
        highest = max(highest, knobs[first + at.LEVELS + k])
    total = 0.0
    share = np.zeros(at.N_SHAPES)
    for k in range(at.N_SHAPES):
        share[k] = (knobs[first + at.LEVELS + k] / highest) ** SELECTOR_EXPONENT
        total += share[k]
    for k in range(at.N_SHAPES):
        share[k] = share[k] / total if total > 0 else 1 / at.N_SHAPES
    sine, triangle, saw_up, saw_down, square = share[0], share[1], share[2], share[3], share[4]

    start = knobs[first + at.PHASE] / (2 * math.pi)
    turns = 0.0
    for n in range(len(signal)):
        turns += max(knobs[first] + knobs[first + at.DEPTH] * signal[n], 0.0) / at.RATE
        signal[n] = turns
    for n in range(len(signal)):
        saw = signal[n] + start
        saw -= np.floor(saw)
        cosine = cos_half_64(saw - 0.5)
        wave = sine * cosine * cosine + triangle * (1 - abs(2 * saw - 1)) + saw_up * saw + saw_down * (1 - saw)
        signal[n] = wave + (square if abs(saw - 0.5) < 0.25 else 0.0)


@compiled
def trace_controls(knobs: Array, frames: int, work: Array) -> None:
    """Fill the first rows of ``work`` with the mod matrix's outputs, (destinations, frames); the others are scratch.

    Each function is called from one place, in a loop, so that it is compiled once.
    """
    base = at.N_DESTINATIONS
    for k in range(len(at.ENVELOPES)):
        trace_envelope(knobs, at.ENVELOPES[k], work[base + k, :frames])
    for k in range(len(at.LFOS)):
        lfo, amplitude = work[base + 4 + k, :frames], work[base + 2 + k, :frames]
        trace_lfo(knobs, at.LFOS[k], lfo)
        for n in range(frames):
            amplitude[n] *= lfo[n]
    for d in range(at.N_DESTINATIONS):
        mix_sources(knobs, d, work[base], work[base + 1], work[base + 2], work[base + 3], work[d, :frames])


@compiled
def mix_sources(knobs: Array, d: int, s0: Array, s1: Array, s2: Array, s3: Array, out: Array) -> None:
    """One output (frames,) of the mod matrix, column ``d``, from its four inputs.

    ``knobs`` (parameters,) hold the matrix; ``s0``, ``s1``, ``s2``, ``s3`` and ``out`` are (frames,) each.
    """
    m0, m1 = knobs[at.MATRIX + d], knobs[at.MATRIX + at.N_DESTINATIONS + d]
    m2, m3 = knobs[at.MATRIX + 2 * at.N_DESTINATIONS + d], knobs[at.MATRIX + 3 * at.N_DESTINATIONS + d]
    for n in range(len(out)):
        out[n] = m0 * s0[n] + m1 * s1[n] + m2 * s2[n] + m3 * s3[n]


@compiled
def frames_to_trace(knobs: Array, frames: int) -> int:
    """How many control frames there are to work out: up to two after the last envelope has fallen to exactly 0."""
    longest = 0.0
    for k in range(4):
        release = knobs[at.ENVELOPES[k] + at.RELEASE]
        if release <= 0:
            return frames  # without a release the envelope stays where it is
        longest = max(longest, release)
    return min(frames, int(at.RATE * (knobs[at.DURATION] + longest)) + 4)


# --- audio rate ----------------------------------------------------------------------------------------------------


@compiled
def plan_sweep(
    midi: Array, starts: Array, offsets: Array, sample_rate: int, speeds: Array, bends: Array, advances: Array
) -> None:
    """How a VCO's phase moves between control frames: ``speeds``, ``bends`` and ``advances``, (intervals,) each.

    From the interval's start, the phase of its q-th sample (from 1) is speed * q * mean_growth(bend * q) turns, and
    advance is that of its last. An advance below 0 marks an interval that is too steep for that, or partly clipped.

    ``midi`` (frames,) is the VCO's pitch; ``starts`` (frames,) the first sample of each interval, and ``offsets`` how
    far that lies after its control frame, in frames; ``sample_rate`` is in Hz.
    """
    per_sample = (len(offsets) - 1) / (starts[len(offsets) - 1] - 1)  # control frames
    for k in range(len(speeds)):
        rise = midi[k + 1] - midi[k]
        length = starts[k + 1] - starts[k]
        begin = midi[k] + rise * offsets[k]
        slope = rise * per_sample
        end = begin + slope * (length - 1)
        begin_in, end_in = min(max(begin, 0.0), 127.0), min(max(end, 0.0), 127.0)
        flat = begin_in == end_in
        bend = 0.0 if flat else slope * SEMITONE
        inside = (begin == begin_in) & (end == end_in) & (abs(bend * length) < STEEPEST)
        bend = bend if inside else 0.0
        speed = 440.0 / sample_rate * exp2_64((begin_in - 69) / 12) / mean_growth(bend)
        speeds[k] = speed
        bends[k] = bend
        advances[k] = speed * length * mean_growth(bend * length) if inside | flat else -1.0


@compiled
def sweep(turns: float, speed: float, bend: float, blocks: Array, v: int, samples: int) -> None:
    """Phases in turns of one interval's samples by the closed form; ``turns`` is the phase before it.

    ``speed`` and ``bend`` are those of :func:`plan_sweep`; row ``v`` of ``blocks`` gets the first ``samples``.
    """
    t, s, b = np.float32(turns), np.float32(speed), np.float32(bend)
    for j in range(samples):
        q = np.float32(j + 1)
        blocks[v, j] = t + s * q * mean_growth_32(b * q)


@compiled
def steep_sweep(turns: float, begin: float, slope: float, sample_rate: int, steps: Array, block: Array) -> float:
    """Phases of one interval's samples by summing, to ``block``; returns the last one. ``steps`` is scratch, as long.

    ``turns`` is the phase before it, ``begin`` the first pitch in MIDI, ``slope`` its rise a sample, ``sample_rate`` in
    Hz.
    """
    for j in range(len(steps)):
        midi = min(max(begin + slope * j, 0.0), 127.0)
        steps[j] = 440.0 / sample_rate * exp2_64((midi - 69) / 12)
    for j in range(len(steps)):
        turns += steps[j]
        block[j] = np.float32(turns)
    return turns


@compiled
def play_vcos(blocks: Array, samples: int, a1: Any, d1: Any, a2: Any, d2: Any, hardness: Any, shape: Any) -> None:
    """Turn both VCOs' phases (in turns) into their sum, in block 0; amplitudes are lines a + d * sample.

    VCO 1's line is ``a1`` and ``d1``, VCO 2's ``a2`` and ``d2``. VCO 2's ``hardness`` is that of :func:`drive`,
    its ``shape`` 0 (square) to 1 (saw). Of ``blocks`` the first ``samples`` count.
    """
    for j in range(samples):
        q = np.float32(j)
        x = blocks[0, j]
        x -= np.floor(x + HALF)
        s = sin_half(x)
        y = blocks[1, j]
        y -= np.floor(y + HALF)
        sin_y, cos_y = sin_half(y), cos_half(y)
        square = tanh_32(hardness * (sin_y * cos_y))
        wave = square * (ONE + shape * (ONE - TWO * sin_y * sin_y))
        blocks[0, j] = (a1 + d1 * q) * (ONE - TWO * s * s) + (a2 + d2 * q) * wave


@compiled
def add_noise(out: Array, blocks: Array, noise: Array, a: Any, d: Any) -> None:
    """Write the sum of the VCOs and the noise to ``out``.

    The VCOs' sum is in row 0 of ``blocks``; ``noise`` is as long as ``out``, and its amplitude the line ``a`` + ``d`` *
    sample.
    """
    for j in range(len(out)):
        out[j] = blocks[0, j] + noise[j] * (a + d * np.float32(j))


@compiled
def find_peak(out: Array) -> Any:
    """Largest magnitude, by the floats' bits: without a sign they sort like integers, whose maximum vectorises."""
    bits = out.view(np.int32)
    top = np.int32(0)
    for i in range(len(bits)):
        top = max(top, bits[i] & np.int32(0x7FFFFFFF))
    return np.int32(top).view(np.float32)


@compiled
def prepare(knobs: Array, all_frames: int, work: Array) -> int:
    """Control section of one sound; returns how many frames it sounds for.

    Rows of ``work`` get, at control rate: VCO 1's pitch (MIDI) and amplitude, VCO 2's, the noise's amplitude.
    """
    frames = frames_to_trace(knobs, all_frames)
    trace_controls(knobs, frames, work)
    for v in range(len(at.VCOS)):
        first = at.VCOS[v]
        midi, amplitude = work[2 * v, :frames], work[2 * v + 1, :frames]
        # VCO 2's waveform has a factor that depends on its shape only
        level = knobs[at.MIXER + v] * (1 - knobs[first + at.SHAPE] / 2 if v == 1 else 1.0)
        for n in range(frames):
            midi[n] = knobs[at.MIDI_F0] + knobs[first + at.TUNING] + knobs[first + at.DEPTH] * midi[n]
            amplitude[n] *= level
    noise = work[4]
    for n in range(frames):
        noise[n] *= knobs[at.MIXER + 2]
    while frames > 0 and work[1, frames - 1] == 0 and work[3, frames - 1] == 0 and noise[frames - 1] == 0:
        frames -= 1
    return frames


@compiled
def drive(knobs: Array) -> Any:
    """How hard VCO 2's sine is driven into tanh: by the highest pitch asked for, not clipped to the keyboard."""
    first = at.VCOS[1]
    midi = knobs[at.MIDI_F0] + knobs[first + at.TUNING] + max(knobs[first + at.DEPTH], 0.0)
    highest = 440 * 2 ** ((midi - 69) / 12)
    return math.pi * 12000 / (highest * math.log10(highest))


@compiled
def render_sound(
    knobs: Array, noise: Array, starts: Array, offsets: Array, sample_rate: int, work: Array, blocks: Array, out: Array
) -> None:
    """One sound: from human values ``knobs`` (parameters,) to ``out`` (samples,). ``work`` and ``blocks`` are scratch.

    ``noise`` is (samples,); ``starts``, ``offsets`` and ``sample_rate`` are as :func:`plan_sweep` has them.
    """
    frames = len(offsets)
    intervals = min(prepare(knobs, frames, work), frames - 1)
    per_sample = (frames - 1) / (len(out) - 1)  # control frames
    turns = np.empty(2)
    for v in range(len(at.VCOS)):
        turns[v] = knobs[at.VCOS[v] + at.PHASE] / (2 * math.pi)
        p = PLANS + 3 * v
        speeds, bends, advances = work[p, :intervals], work[p + 1, :intervals], work[p + 2, :intervals]
        plan_sweep(work[2 * v], starts, offsets, sample_rate, speeds, bends, advances)
    hardness, shape = np.float32(drive(knobs)), np.float32(knobs[at.VCOS[1] + at.SHAPE])

    steps = np.empty(blocks.shape[1])
    for k in range(intervals):
        begin, end, offset = starts[k], starts[k + 1], offsets[k]
        padded = (end - begin + LANES - 1) // LANES * LANES
        for v in range(len(at.VCOS)):
            p = PLANS + 3 * v
            speed, bend, advance = work[p, k], work[p + 1, k], work[p + 2, k]
            if advance >= 0:
                sweep(turns[v], speed, bend, blocks, v, padded)
                now = turns[v] + advance
            else:
                rise = work[2 * v, k + 1] - work[2 * v, k]
                midi, slope = work[2 * v, k] + rise * offset, rise * per_sample
                now = steep_sweep(turns[v], midi, slope, sample_rate, steps[: end - begin], blocks[v])
            turns[v] = now - np.floor(now)
        rise_1, rise_2 = work[1, k + 1] - work[1, k], work[3, k + 1] - work[3, k]
        a1, d1 = np.float32(work[1, k] + rise_1 * offset), np.float32(rise_1 * per_sample)
        a2, d2 = np.float32(work[3, k] + rise_2 * offset), np.float32(rise_2 * per_sample)
        play_vcos(blocks, padded, a1, d1, a2, d2, hardness, shape)
        rise_n = work[4, k + 1] - work[4, k]
        an, dn = np.float32(work[4, k] + rise_n * offset), np.float32(rise_n * per_sample)
        add_noise(out[begin:end], blocks, noise[begin:end], an, dn)
    end = starts[intervals]
    for i in range(end, len(out)):
        out[i] = 0
    peak = find_peak(out[:end])
    if peak > 1:
        for i in range(end):
            out[i] /= peak


@compiled
def render_sounds(
    human: Array, rows: Array, noise: Array, starts: Array, offsets: Array, sample_rate: int, out: Array
) -> None:
    """Sounds one after another: ``human`` (sounds, parameters) to ``out`` (sounds, samples) with noise ``rows``.

    ``noise`` is (rows, samples); ``starts``, ``offsets`` and ``sample_rate`` are as :func:`plan_sweep` has them.
    """
    longest = 0
    for k in range(len(starts) - 1):
        longest = max(longest, starts[k + 1] - starts[k])
    work = np.zeros((at.N_DESTINATIONS + len(at.ENVELOPES), len(starts)))
    blocks = np.zeros((2, longest + 2 * LANES), dtype=np.float32)
    for b in range(len(human)):
        render_sound(human[b], noise[rows[b]], starts, offsets, sample_rate, work, blocks, out[b])
