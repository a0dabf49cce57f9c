"""The Voice for float32 on a GPU: four Triton kernels, from human values to normalised audio.

    trace      one program a sound: envelopes, LFOs and mod matrix at control rate (441 Hz), float64
    plan       three a sound: how each VCO's phase and each amplitude moves between two control frames, float64
    play       many a sound: all samples of a block at once, float32
    normalise  as many, and most of them have nothing to do

Between two control frames, some 100 samples, the control signals are straight lines, so an oscillator's frequency is
an exponential there, and its phase a geometric sum in closed form (with up to two constant pieces where the pitch
leaves the keyboard). ``plan`` sums the frames' advances in float64 turns; after that no sample waits for another. The
only temporaries are at control rate. The last block before silence is the last that is worked out.

A sound's bits depend on nothing but its own knobs and noise. Pointers are to rows of one sound where so named.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

from nebula_tune.synth import envelope, lfo
from nebula_tune.synth.gpu_math import (
    PI,
    STEEPEST,
    TINY,
    cos_half,
    cos_half_64,
    exp2_64,
    growth_series,
    log2_64,
    mean_growth_32,
    mean_growth_64,
    power,
    sin_half,
    tanh_32,
)
from nebula_tune.synth.voice import cpu_kernels
from nebula_tune.synth.voice import layout as at

RATE = tl.constexpr(at.RATE)
EPSILON = tl.constexpr(envelope.EPSILON)
SELECTOR_EXPONENT = tl.constexpr(lfo.SELECTOR_EXPONENT)
SEMITONE = tl.constexpr(cpu_kernels.SEMITONE)
LOG10_2 = tl.constexpr(math.log10(2))
FORWARD = tl.constexpr(65536)  # packs two numbers of samples into one integer
PLAIN = tl.constexpr(-1)  # in their place: the whole interval is one sweep, and not a steep one
LOWEST, HIGHEST = tl.constexpr(440 * 2 ** (-69 / 12)), tl.constexpr(440 * 2 ** (58 / 12))  # Hz of MIDI 0 and 127

DURATION, MIDI_F0 = tl.constexpr(at.DURATION), tl.constexpr(at.MIDI_F0)
MATRIX, MIXER = tl.constexpr(at.MATRIX), tl.constexpr(at.MIXER)
ADSR_1, ADSR_2, LFO_1_AMP, LFO_2_AMP, LFO_1_RATE, LFO_2_RATE = (tl.constexpr(int(k)) for k in at.ENVELOPES)
LFO_1, LFO_2 = (tl.constexpr(int(k)) for k in at.LFOS)
VCO_1, VCO_2 = (tl.constexpr(int(k)) for k in at.VCOS)
RELEASE, LEVELS = tl.constexpr(at.RELEASE), tl.constexpr(at.LEVELS)
TUNING, DEPTH, PHASE, SHAPE = (tl.constexpr(k) for k in (at.TUNING, at.DEPTH, at.PHASE, at.SHAPE))
DESTINATIONS = tl.constexpr(at.N_DESTINATIONS)
LINES, SWEEPS = tl.constexpr(6), tl.constexpr(6)  # rows a sound in what ``plan`` writes


# --- control rate, float64 -----------------------------------------------------------------------------------------


@triton.jit
def unfallen(span, alpha):
    """What a falling segment of ``span`` frames is before its beginning: not quite 1."""
    return tl.where(span > 0, power(tl.maximum(1 - (1 / tl.maximum(span, TINY) * EPSILON + EPSILON), 0.0), alpha), 1.0)


@triton.jit
def times(knobs, FIRST: tl.constexpr):
    """Attack, decay, release and the end of the note, in control frames; a short note squeezes the first two."""
    duration = tl.load(knobs + DURATION)
    attack = tl.minimum(tl.load(knobs + FIRST), duration)
    decay = tl.minimum(tl.maximum(duration - attack, 0.0), tl.load(knobs + FIRST + 1))
    return attack * RATE, decay * RATE, tl.load(knobs + FIRST + RELEASE) * RATE, duration * RATE


@triton.jit
def peaks_of(knobs, FIRST: tl.constexpr):
    """What an envelope's attack rises to, and what it decays from."""
    _attack, decay, release, _end = times(knobs, FIRST)
    sustain, alpha = tl.load(knobs + FIRST + 2), tl.load(knobs + FIRST + 4)
    unreleased = unfallen(release, alpha)
    return ((1 - sustain) * unfallen(decay, alpha) + sustain) * unreleased, unreleased


@triton.jit
def adsr(knobs, FIRST: tl.constexpr, frame, risen_to, decays_from):
    """The envelope whose knobs start at column FIRST. No two of its segments move at a time, so one power will do.

    ``frame`` are control frames; ``risen_to`` and ``decays_from`` are what :func:`peaks_of` gives.
    """
    attack, decay, release, end = times(knobs, FIRST)
    sustain, alpha = tl.load(knobs + FIRST + 2), tl.load(knobs + FIRST + 4)
    rising, held = frame < attack, frame < end
    start, span = tl.where(held, attack, end), tl.where(held, decay, release)
    start, span = tl.where(rising, 0.0, start), tl.where(rising, attack, span)
    gone = tl.minimum((frame - start + EPSILON) / tl.maximum(span, TINY) + EPSILON, 1.0)
    left = tl.where(span > 0, 1 - gone, 1.0)  # as in torchsynth, a segment of no length is no segment: nothing falls
    moving = power(tl.where(rising, gone, left), alpha)
    decaying = ((1 - sustain) * moving + sustain) * decays_from
    releasing = moving * tl.where(decay > 0, sustain, 1.0)
    return tl.where(rising, moving * risen_to, tl.where(held, decaying, releasing))


@triton.jit
def share(knobs, FIRST: tl.constexpr, SHAPE_NUMBER: tl.constexpr, highest):
    """The weight of an LFO's shape SHAPE_NUMBER, before all are made to sum to 1.

    The LFO's ``knobs`` start at column FIRST; ``highest`` is the largest of its levels.
    """
    level = tl.load(knobs + FIRST + LEVELS + SHAPE_NUMBER)
    return tl.where(highest > 0, power(level / tl.maximum(highest, 1e-300), SELECTOR_EXPONENT), 1.0)


@triton.jit
def lfo_steps(knobs, FIRST: tl.constexpr, rate_envelope):
    """Turns an LFO moves on in each frame."""
    return tl.maximum(tl.load(knobs + FIRST) + tl.load(knobs + FIRST + DEPTH) * rate_envelope, 0.0) / RATE


@triton.jit
def shares(knobs, FIRST: tl.constexpr):
    """What each shape of an LFO contributes; together 1."""
    first = knobs + FIRST + LEVELS
    highest = tl.maximum(tl.maximum(tl.load(first), tl.load(first + 1)), tl.load(first + 2))
    highest = tl.maximum(tl.maximum(highest, tl.load(first + 3)), tl.load(first + 4))
    sine, triangle = share(knobs, FIRST, 0, highest), share(knobs, FIRST, 1, highest)
    saw_up, saw_down = share(knobs, FIRST, 2, highest), share(knobs, FIRST, 3, highest)
    square = share(knobs, FIRST, 4, highest)
    part = 1 / (sine + triangle + saw_up + saw_down + square)
    return sine * part, triangle * part, saw_up * part, saw_down * part, square * part


@triton.jit
def lfo_wave(knobs, FIRST: tl.constexpr, turns, sine, triangle, saw_up, saw_down, square):
    """An LFO after so many ``turns`` from its initial phase; its ``knobs`` start at column FIRST.

    ``sine``, ``triangle``, ``saw_up``, ``saw_down`` and ``square`` are what each shape contributes (:func:`shares`).
    """
    saw = turns + tl.load(knobs + FIRST + PHASE) * (0.5 / PI)
    saw -= tl.floor(saw)
    cosine = cos_half_64(saw - 0.5)
    wave = sine * cosine * cosine + triangle * (1 - tl.abs(2 * saw - 1)) + saw_up * saw + saw_down * (1 - saw)
    return wave + tl.where(tl.abs(saw - 0.5) < 0.25, square, 0.0)


@triton.jit
def mixed(knobs, DESTINATION: tl.constexpr, s0, s1, s2, s3):
    """One output of the mod matrix from its four inputs.

    ``knobs`` hold the matrix, DESTINATION is the column; ``s0``, ``s1``, ``s2`` and ``s3`` are the inputs.
    """
    first = knobs + MATRIX + DESTINATION
    wet = tl.load(first) * s0 + tl.load(first + DESTINATIONS) * s1
    return wet + tl.load(first + 2 * DESTINATIONS) * s2 + tl.load(first + 3 * DESTINATIONS) * s3


@triton.jit
def midi(knobs, FIRST: tl.constexpr, pitch):
    return tl.load(knobs + MIDI_F0) + tl.load(knobs + FIRST + TUNING) + tl.load(knobs + FIRST + DEPTH) * pitch


@triton.jit
def hertz(midi_number):
    return 440 * exp2_64((midi_number - 69) / 12)


@triton.jit
def trace(human, controls, sounding, voicing, peaks, frames, PARAMETERS: tl.constexpr, CHUNK: tl.constexpr):
    """Per sound, at control rate: VCO 1's pitch (MIDI) and amplitude, VCO 2's, the noise's amplitude.

    ``controls`` is (sounds, 5, frames); ``sounding`` gets how many frames there are before exact silence; ``voicing``
    (sounds, 2) VCO 2's hardness and shape. ``peaks`` are set to zero. ``human`` is (sounds, PARAMETERS); CHUNK frames
    are worked out at a time.
    """
    sound = tl.program_id(0).to(tl.int64)
    knobs = human + sound * PARAMETERS
    rows = controls + sound * DESTINATIONS * frames
    r0, r1 = tl.load(knobs + ADSR_1 + RELEASE), tl.load(knobs + ADSR_2 + RELEASE)
    r2, r3 = tl.load(knobs + LFO_1_AMP + RELEASE), tl.load(knobs + LFO_2_AMP + RELEASE)
    longest = tl.maximum(tl.maximum(r0, r1), tl.maximum(r2, r3))
    shortest = tl.minimum(tl.minimum(r0, r1), tl.minimum(r2, r3))
    silent_from = ((tl.load(knobs + DURATION) + longest) * RATE).to(tl.int32) + 4
    traced = tl.where(shortest > 0, tl.minimum(silent_from, frames), frames)  # without a release nothing falls
    level_1, noise_level = tl.load(knobs + MIXER), tl.load(knobs + MIXER + 2)
    level_2 = tl.load(knobs + MIXER + 1) * (1 - tl.load(knobs + VCO_2 + SHAPE) / 2)  # a factor of its waveform

    top_1, from_1 = peaks_of(knobs, ADSR_1)
    top_2, from_2 = peaks_of(knobs, ADSR_2)
    amp_top_1, amp_from_1 = peaks_of(knobs, LFO_1_AMP)
    amp_top_2, amp_from_2 = peaks_of(knobs, LFO_2_AMP)
    rate_top_1, rate_from_1 = peaks_of(knobs, LFO_1_RATE)
    rate_top_2, rate_from_2 = peaks_of(knobs, LFO_2_RATE)
    sine_1, triangle_1, saw_up_1, saw_down_1, square_1 = shares(knobs, LFO_1)
    sine_2, triangle_2, saw_up_2, saw_down_2, square_2 = shares(knobs, LFO_2)
    turns_1 = tl.full([], 0, tl.float64)
    turns_2 = tl.full([], 0, tl.float64)
    last = tl.full([], 0, tl.int32)
    for base in range(0, traced, CHUNK):
        n = base + tl.arange(0, CHUNK)
        frame, inside = n.to(tl.float64), n < traced
        rate_1 = adsr(knobs, LFO_1_RATE, frame, rate_top_1, rate_from_1)
        rate_2 = adsr(knobs, LFO_2_RATE, frame, rate_top_2, rate_from_2)
        steps_1 = tl.where(inside, lfo_steps(knobs, LFO_1, rate_1), 0.0)
        steps_2 = tl.where(inside, lfo_steps(knobs, LFO_2, rate_2), 0.0)
        s0, s1 = adsr(knobs, ADSR_1, frame, top_1, from_1), adsr(knobs, ADSR_2, frame, top_2, from_2)
        at_1, at_2 = turns_1 + tl.cumsum(steps_1, 0), turns_2 + tl.cumsum(steps_2, 0)
        s2 = lfo_wave(knobs, LFO_1, at_1, sine_1, triangle_1, saw_up_1, saw_down_1, square_1)
        s3 = lfo_wave(knobs, LFO_2, at_2, sine_2, triangle_2, saw_up_2, saw_down_2, square_2)
        s2 *= adsr(knobs, LFO_1_AMP, frame, amp_top_1, amp_from_1)
        s3 *= adsr(knobs, LFO_2_AMP, frame, amp_top_2, amp_from_2)
        turns_1 += tl.sum(steps_1, 0)
        turns_2 += tl.sum(steps_2, 0)
        tl.store(rows + n, midi(knobs, VCO_1, mixed(knobs, 0, s0, s1, s2, s3)), mask=inside)
        tl.store(rows + 2 * frames + n, midi(knobs, VCO_2, mixed(knobs, 2, s0, s1, s2, s3)), mask=inside)
        amplitude_1 = mixed(knobs, 1, s0, s1, s2, s3) * level_1
        amplitude_2 = mixed(knobs, 3, s0, s1, s2, s3) * level_2
        noise = mixed(knobs, 4, s0, s1, s2, s3) * noise_level
        tl.store(rows + frames + n, amplitude_1, mask=inside)
        tl.store(rows + 3 * frames + n, amplitude_2, mask=inside)
        tl.store(rows + 4 * frames + n, noise, mask=inside)
        audible = inside & ((amplitude_1 != 0) | (amplitude_2 != 0) | (noise != 0))
        last = tl.maximum(last, tl.max(tl.where(audible, n + 1, 0), 0))
    tl.store(sounding + sound, last)
    tl.store(peaks + sound, 0.0)
    highest = hertz(midi(knobs, VCO_2, 0.0) + tl.maximum(tl.load(knobs + VCO_2 + DEPTH), 0.0))
    hardness = 1 / (highest * log2_64(highest)) * (PI * 12000 / LOG10_2)
    tl.store(voicing + 2 * sound, hardness.to(tl.float32))
    tl.store(voicing + 2 * sound + 1, tl.load(knobs + VCO_2 + SHAPE).to(tl.float32))


@triton.jit
def plan(
    human, controls, sounding, starts, lines, sweeps, pieces, frames, samples, sample_rate,
    PARAMETERS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Per interval between control frames: amplitudes as lines from its first sample, and how the phases move.

    Program 0 and 1 of a sound are for the VCOs, 2 for the noise. ``lines`` is (sounds, 3 x (start, slope), intervals).
    ``sweeps`` is (sounds, 2 x (turns, speed, bend), intervals). ``pieces`` (sounds, 2, intervals) tells after how many
    samples the pitch comes onto the keyboard and leaves it again; outside it stays at its end.

    ``human`` (sounds, PARAMETERS), ``controls`` and ``sounding`` are those of :func:`trace`; ``starts`` (frames,) has
    each interval's first sample, ``sample_rate`` is in Hz; CHUNK intervals are planned at a time.
    """
    sound, v = (tl.program_id(0) // 3).to(tl.int64), tl.program_id(0) % 3
    knobs = human + sound * PARAMETERS
    intervals = frames - 1
    to_plan = tl.minimum(tl.load(sounding + sound), intervals)
    ratio = intervals.to(tl.float64) / (samples - 1)  # control frames a sample
    row = controls + (sound * DESTINATIONS + tl.where(v == 2, 4, 2 * v + 1)) * frames
    line = lines + (sound * LINES + 2 * v) * intervals
    for base in range(0, to_plan, CHUNK):
        k = base + tl.arange(0, CHUNK)
        inside = k < to_plan
        here, there = tl.load(row + k, mask=inside), tl.load(row + k + 1, mask=inside)
        offset = tl.load(starts + k, mask=inside).to(tl.float64) * ratio - k
        tl.store(line + k, (here + (there - here) * offset).to(tl.float32), mask=inside)
        tl.store(line + intervals + k, ((there - here) * ratio).to(tl.float32), mask=inside)

    if v < 2:
        first = knobs + tl.where(v == 0, VCO_1, VCO_2)
        row = controls + (sound * DESTINATIONS + 2 * v) * frames
        sweep = sweeps + (sound * SWEEPS + 3 * v) * intervals
        per_hertz = 1.0 / sample_rate.to(tl.float64)
        turns = tl.load(first + PHASE) / (2 * PI)
        for base in range(0, to_plan, CHUNK):
            k = base + tl.arange(0, CHUNK)
            inside = k < to_plan
            here = tl.load(row + k, mask=inside, other=0.0)
            rise = tl.load(row + k + 1, mask=inside, other=0.0) - here
            start = tl.load(starts + k, mask=inside, other=0)
            length = (tl.load(starts + k + 1, mask=inside, other=1) - start).to(tl.float64)
            begin, slope = here + rise * (start.to(tl.float64) * ratio - k), rise * ratio
            flat = slope == 0
            near = tl.where(slope > 0, 0.0, 127.0).to(tl.float64)
            far = 127 - near
            steep = tl.where(flat, 1.0, slope)
            beyond = length + 2  # samples
            bend = slope * SEMITONE
            entry, leave = tl.ceil((near - begin) / steep), tl.ceil((far - begin) / steep)
            entry = tl.where(flat, 0.0, tl.minimum(tl.maximum(entry, 0.0), beyond))
            leave = tl.where(flat, beyond, tl.minimum(tl.maximum(leave, entry), beyond))
            plain = (entry == 0) & (leave == beyond) & (tl.abs(bend) * beyond < STEEPEST)
            first_midi = tl.minimum(tl.maximum(begin + slope * entry, 0.0), 127.0)
            speed = hertz(first_midi) * per_hertz / mean_growth_64(bend)
            swept = tl.minimum(tl.maximum(length - entry, 0.0), leave - entry)
            advance = speed * swept * mean_growth_64(bend * swept)
            head, tail = tl.minimum(length, entry), tl.maximum(length - leave, 0.0)
            at_lowest, at_highest = tl.where(slope > 0, head, tail), tl.where(slope > 0, tail, head)
            advance += (at_lowest * LOWEST + at_highest * HIGHEST) * per_hertz
            advance = tl.where(inside, advance - tl.floor(advance), 0.0)
            before = turns + tl.cumsum(advance, 0) - advance
            turns += tl.sum(advance, 0)
            turns -= tl.floor(turns)
            tl.store(sweep + k, (before - tl.floor(before)).to(tl.float32), mask=inside)
            tl.store(sweep + intervals + k, speed.to(tl.float32), mask=inside)
            tl.store(sweep + 2 * intervals + k, bend.to(tl.float32), mask=inside)
            tl.store(
                pieces + (sound * 2 + v) * intervals + k,
                tl.where(plain, PLAIN, (entry + leave * FORWARD).to(tl.int32)),
                mask=inside,
            )


# --- audio rate, float32 -------------------------------------------------------------------------------------------


@triton.jit
def phase(sweep, pieces, intervals, k, q, begin, planned, per_hertz, SPAN: tl.constexpr):
    """A VCO's phase in turns, -1/2 to 1/2, at the q-th sample (from 1) of its interval k.

    ``begin`` and the SPAN - 1 intervals after it are all that there may be; mostly they are all plain. ``sweep`` and
    ``pieces`` are the VCO's rows of what :func:`plan` wrote, (intervals,) each; ``planned`` tells how many intervals it
    planned, ``per_hertz`` is 1 / sample rate.
    """
    turns, speed = tl.load(sweep + k), tl.load(sweep + intervals + k)
    bend = tl.load(sweep + 2 * intervals + k)
    near = begin + tl.arange(0, SPAN)
    if tl.max(tl.load(pieces + near, mask=near < planned, other=PLAIN), 0) == PLAIN:
        turns += speed * q * growth_series(bend * q)
    else:
        both = tl.load(pieces + k)
        both = tl.where(both == PLAIN, 32767 * FORWARD, both)
        entry, leave = (both & (FORWARD - 1)).to(tl.float32), (both >> 16).to(tl.float32)
        swept = tl.minimum(tl.maximum(q - entry, 0.0), leave - entry)
        turns += speed * swept * mean_growth_32(bend * swept)
        head, tail = tl.minimum(q, entry), tl.maximum(q - leave, 0.0)
        rising = bend > 0
        turns += (tl.where(rising, head, tail) * LOWEST + tl.where(rising, tail, head) * HIGHEST) * per_hertz
    return turns - tl.floor(turns + 0.5)


@triton.jit
def line_at(line, intervals, k, q):
    """An amplitude at sample ``q`` (from 1) of interval ``k``: ``line`` has ``intervals`` starts, then slopes."""
    return tl.load(line + k) + tl.load(line + intervals + k) * (q - 1)


@triton.jit(do_not_specialize=["first_row"])
def play(
    noise, first_row, sounding, starts, block_frames, block_offsets, lines, sweeps, pieces, voicing, peaks, out,
    frames, samples, sample_rate, blocks, ROWS: tl.constexpr, SPAN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Block b of a sound, BLOCK samples: VCOs, noise, their mix, and its peak where that exceeds 1.

    The block's first sample lies ``block_offsets[b]`` after control frame ``block_frames[b]``. ``noise`` is (ROWS,
    samples), of which the first sound has row ``first_row``. ``sounding``, ``voicing`` and ``peaks`` are those of
    :func:`trace`; ``starts``, ``lines``, ``sweeps``, ``pieces`` and ``sample_rate`` those of :func:`plan`, which may
    touch SPAN of its intervals in a block. ``out`` is (sounds, samples), in ``blocks`` a sound; there are ``frames`` of
    control.
    """
    sound, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    j = tl.arange(0, BLOCK)
    i = block * BLOCK + j
    inside = i < samples
    intervals = frames - 1
    planned = tl.minimum(tl.load(sounding + sound), intervals)
    end = tl.load(starts + planned)
    place = out + sound * samples + i
    if block * BLOCK >= end:
        tl.store(place, tl.zeros([BLOCK], tl.float32), mask=inside)
    else:
        ratio = intervals.to(tl.float32) / (samples - 1).to(tl.float32)
        past = (tl.load(block_offsets + block) + j.to(tl.float32) * ratio).to(tl.int32)
        first = tl.load(block_frames + block)
        k = tl.minimum(first + past, planned - 1)
        q = (i - tl.load(starts + k) + 1).to(tl.float32)
        per_hertz = 1 / sample_rate.to(tl.float32)
        sweep, piece = sweeps + sound * SWEEPS * intervals, pieces + sound * 2 * intervals
        line = lines + sound * LINES * intervals
        s = sin_half(phase(sweep, piece, intervals, k, q, first, planned, per_hertz, SPAN))
        total = line_at(line, intervals, k, q) * (1 - 2 * s * s)
        y = phase(sweep + 3 * intervals, piece + intervals, intervals, k, q, first, planned, per_hertz, SPAN)
        sin_y, cos_y = sin_half(y), cos_half(y)
        square = tanh_32(tl.load(voicing + 2 * sound) * (sin_y * cos_y))
        wave = square * (1 + tl.load(voicing + 2 * sound + 1) * (1 - 2 * sin_y * sin_y))
        total += line_at(line + 2 * intervals, intervals, k, q) * wave
        row = noise + ((first_row + sound) % ROWS) * samples
        total += line_at(line + 4 * intervals, intervals, k, q) * tl.load(row + i, mask=inside, other=0.0)
        total = tl.where(i < end, total, 0.0)
        tl.store(place, total, mask=inside)
        peak = tl.max(tl.where(inside, tl.abs(total), 0.0), 0)
        tl.atomic_max(peaks + sound, peak, mask=peak > 1)


@triton.jit
def normalise(sounding, starts, peaks, out, frames, samples, blocks, BLOCK: tl.constexpr):
    """Divide a sound by its peak where that exceeds 1.

    ``sounding``, ``starts``, ``frames`` and ``samples`` are those of :func:`plan`, ``peaks`` and ``out`` what
    :func:`play` wrote; a sound has ``blocks`` of BLOCK samples.
    """
    sound, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    peak = tl.load(peaks + sound)
    if peak > 1:
        end = tl.load(starts + tl.minimum(tl.load(sounding + sound), frames - 1))
        i = block * BLOCK + tl.arange(0, BLOCK)
        if block * BLOCK < end:
            place = out + sound * samples + i
            tl.store(place, tl.div_rn(tl.load(place, mask=i < end), peak), mask=i < end)
