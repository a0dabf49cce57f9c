"""A small spectrogram as a PNG with a palette: time across, frequency upwards (logarithmic), level as brightness."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nebula_tune.corpus.source import Sound

LOWEST_HZ, HIGHEST_HZ = 40.0, 16000.0
RANGE_DB = 70.0
COLUMNS, ROWS, SHADES = 120, 56, 64
WINDOW = 2048  # samples
# From black over violet and orange to a light yellow: growing lightness, so it reads in grey as well.
ANCHORS = ((4, 5, 20), (70, 20, 110), (165, 45, 95), (235, 105, 40), (250, 190, 60), (252, 252, 190))


def spectrogram(sound: Sound, rate: int) -> bytes:
    """The picture of one sound (samples,)."""
    padded = np.concatenate([np.zeros(WINDOW // 2, np.float32), sound, np.zeros(WINDOW, np.float32)])
    starts = np.linspace(0, len(sound), COLUMNS).astype(int)
    frames = np.stack([padded[start : start + WINDOW] for start in starts]) * np.hanning(WINDOW).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    edges = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, rate / 2), ROWS + 1) * WINDOW / rate
    levels = np.stack([_band(power, low, high) for low, high in pairwise(edges)])
    decibels = 10 * np.log10(np.maximum(levels, 1e-12))
    shade = (decibels - decibels.max()) / RANGE_DB + 1
    return _png((np.clip(shade, 0, 1) * (SHADES - 1)).round().astype(np.uint8)[::-1])


def _band(power: NDArray[np.floating], low: float, high: float) -> NDArray[np.floating]:
    """Mean power between two places of the spectrum, in bins; between neighbouring bins it is interpolated."""
    first, last = int(np.ceil(low)), int(np.floor(high))
    if last > first:
        return np.asarray(power[:, first : last + 1].mean(axis=1))
    middle = (low + high) / 2
    below = int(middle)
    share = middle - below
    return np.asarray((1 - share) * power[:, below] + share * power[:, below + 1])


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """An indexed PNG (ISO 15948) of shades (rows, columns)."""
    place = np.linspace(0, len(ANCHORS) - 1, SHADES)
    colours = np.stack(
        [np.interp(place, range(len(ANCHORS)), channel) for channel in zip(*ANCHORS, strict=True)], axis=1
    )
    lines = np.concatenate([np.zeros((len(pixels), 1), np.uint8), pixels], axis=1)  # each line unfiltered

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 3, 0, 0, 0)
    palette = colours.round().astype(np.uint8).tobytes()
    data = zlib.compress(lines.tobytes(), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", palette)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )
