"""Sounds made ready for a listener: trimmed, faded, at one level, and encoded for browsers."""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soundfile
import torch

from nebula_tune.corpus.prepare import prepare
from nebula_tune.corpus.source import Sound
from nebula_tune.embedding.embed import one_thread
from nebula_tune.machine import cores

FADE_IN, FADE_OUT = 0.002, 0.1  # seconds
FRAME, HOP = 0.02, 0.001  # seconds: a sound's level is looked at in such pieces, so far apart
LEVEL_DB = -26.0  # RMS of the active part, of full scale: room for peaks 25 dB above it
PEAK = 0.9
ENCODERS_GAIN = 0.95  # of LAME, by default
NEAR_DB, ROUNDS = 0.05, 8  # of the level after decoding, and encodings to get there


def ready(audio: Sound, rate: int, seconds: float) -> Sound:
    """One sound trimmed to its onset, cut or padded, faded in and out, its active part at one level, (samples,).

    The level is :func:`active_level`. A sound whose peak would pass full scale
    stays as far below that level as it must; a silent sound is zeros.
    """
    samples = round(seconds * rate)
    with one_thread():  # many short operations: threads that wait for each other cost more than they save
        sound: Sound = prepare(torch.from_numpy(audio)[None], samples)[0].numpy()
    begin, end = round(FADE_IN * rate), round(FADE_OUT * rate)
    sound[:begin] *= np.linspace(0, 1, begin, dtype=np.float32)
    sound[-end:] *= np.linspace(1, 0, end, dtype=np.float32)
    level = active_level(sound, rate)
    peak = float(np.abs(sound).max())
    return sound * np.float32(min(10 ** (LEVEL_DB / 20) / level, PEAK / peak)) if level > 0 else sound


def active_level(sound: Sound, rate: int) -> float:
    """RMS of the active part of a sound (samples,); 0 for silence.

    The mean energy of its 20 ms frames, each weighted by that energy itself: tails and silence count for little, and no
    threshold makes the level jump.
    """
    frame = round(FRAME * rate)
    total = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])[:: round(HOP * rate)]
    places = round(frame / round(HOP * rate))
    energy = (total[places:] - total[:-places]) / frame
    return float(np.sqrt(np.square(energy).sum() / energy.sum())) if energy.any() else 0.0


def encode(sounds: Iterable[Sound], rate: int, compression: float) -> list[bytes]:
    """Mono MP3 of each sound, of constant bit rate, on all cores."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(lambda sound: _mp3(sound, rate, compression), sounds))


def encode_alike(sounds: Iterable[Sound], rate: int, compression: float) -> list[bytes]:
    """Mono MP3 of each sound, such that nothing but what is heard differs, on all cores.

    Constant bit rate, so that sounds of one length have one number of bytes; without the encoder's own remarks; and at
    the sound's level once decoded: an encoder changes it, that of clicks by up to a decibel or two, so the gain is
    corrected until it fits to 0.05 dB, or for some rounds.
    """
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(lambda sound: _at_level(sound, rate, compression), sounds))


def _at_level(sound: Sound, rate: int, compression: float) -> bytes:
    wanted = active_level(sound, rate)
    gain, nearest, best = 1 / ENCODERS_GAIN, np.inf, b""
    for _ in range(ROUNDS):
        mp3 = without_tag(_mp3(sound * np.float32(gain), rate, compression))
        decoded, _ = soundfile.read(io.BytesIO(mp3), dtype="float32")
        level = active_level(decoded, rate)
        if not (wanted and level):  # silence, or too faint to be encoded
            return mp3
        off = 20 * float(np.log10(level / wanted))
        if abs(off) < nearest:
            nearest, best = abs(off), mp3
        if nearest < NEAR_DB:
            break
        gain *= 10 ** (-off / 20)
    return best


def _mp3(sound: Sound, rate: int, compression: float) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, 1, "MPEG_LAYER_III", format="MP3", bitrate_mode="CONSTANT", compression_level=compression
    ) as file:
        file.write(sound)
    return buffer.getvalue()


# Layer III of MPEG 1 and 2: bit rates in kbit/s and sample rates in Hz by their codes (ISO 11172-3, 13818-3).
RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
HERTZ = (44100, 48000, 32000)


def without_tag(mp3: bytes) -> bytes:
    """An MP3 without the encoder's own first frame: version, checksum and such say nothing to a listener."""
    is_1 = mp3[1] >> 3 & 1
    kilobits = (RATES_1 if is_1 else RATES_2)[mp3[2] >> 4]
    hertz = HERTZ[mp3[2] >> 2 & 3] // (1 if is_1 else 2)
    length = (144 if is_1 else 72) * 1000 * kilobits // hertz + (mp3[2] >> 1 & 1)
    first = mp3[:length]
    return mp3[length:] if b"Info" in first[:64] or b"Xing" in first[:64] else mp3
