"""Spectro-temporal modulation: how a sound's spectrogram moves in time and along frequency, without any weights.

A log-frequency spectrogram is filtered by bands of modulation rate (Hz) and of scale (cycles an octave), upward and
downward, and the moduli are averaged: after the auditory model of Chi, Ru and Shamma ("Multiresolution spectrotemporal
analysis of complex sounds", 2005); joint time-frequency scattering is its cousin. It tells a choir of swept pulses from
a drum where a spectrogram averaged over wide stretches of time does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nebula_tune.arrays import Floats
from nebula_tune.embedding.base import Embedding, library
from nebula_tune.embedding.convolution import in_equal_batches
from nebula_tune.embedding.mel import triangles

FFT_SIZE, HOP, FRAMES = 512, 110, 256  # at 22,050 Hz: windows of 23 ms, 200.45 frames a second, 1.3 s
LEAD = 256  # zeros before the sound, so that its onset has frames of its own
BANDS, LOWEST_HZ, HIGHEST_HZ = 48, 60.0, 10_500.0
FLOOR, DECIBELS = 1e-5, 50.0  # added to the power, relative to the largest; what its logarithm is divided by
ROWS, COLUMNS = 64, 320  # bands and frames, with zeros behind them: filters are circular
RATES = (2.5, 5.0, 10.0, 20.0, 40.0, 80.0)  # Hz
SCALES = (0.25, 0.5, 1.0, 2.0)  # cycles an octave, upward and downward each
OCTAVES = 0.5  # width of a filter: standard deviation of its Gaussian over log2
STILL = 0.12  # standard deviation of the filter about 0 cycles an octave
REGIONS = 4  # of 12 bands each
TIME_EDGES = (0, 8, 24, 64, 256)  # frames
KNEE = 0.02  # moduli well under it count in proportion, those above by their logarithm

# Moduli vary slowly: how many of them are worked out over COLUMNS frames for each rate, and every how many bands for
# the still filter and each scale. Between them they are interpolated (tests/embedding/test_modulation.py: how near).
POINTS = (32, 64, 96, 128, 192, 240)
STEPS = (4, 4, 2, 2, 1)


class Modulation(Embedding):
    """Mean moduli of 6 rates x 9 scales (none, and 4 in both directions) in 4 ranges of frequency and 4 bins of time.

    The spectrogram is in decibels against its own largest value, 50 of them, so the level of the audio does not matter.
    A silent sound is 0 everywhere. One frame of 864 dimensions a sound.
    """

    name: ClassVar[str] = "modulation"
    sample_rate = 22050
    seconds = 1.4

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1}

    def embed_batch(self, audio: Tensor) -> Tensor:
        audio = audio.to(self.device, torch.float32)
        # On a CPU sound by sound: transforms of several at once may differ in their last bits.
        return in_equal_batches(self._forward, audio, 64 if self.device.type == "cuda" else 1)[:, None]

    def _forward(self, audio: Tensor) -> Tensor:
        """Vectors (sounds, 864) of audio (sounds, samples)."""
        in_time = self._rate_bands(self.spectrogram(audio))
        return torch.log1p(self._moduli(in_time) / KNEE).flatten(1)

    def spectrogram(self, audio: Tensor) -> Tensor:
        """Decibels over 50, 0 to 1, (sounds, bands, frames), of audio (sounds, samples)."""
        behind = max(FFT_SIZE, (FRAMES - 1) * HOP + FFT_SIZE - LEAD - audio.shape[1])
        frames = functional.pad(audio, (LEAD, behind)).unfold(1, FFT_SIZE, HOP)[:, :FRAMES]
        spectrum = torch.fft.rfft(frames * self._window)
        power = (spectrum.real.square() + spectrum.imag.square()) @ self._filters
        largest = power.amax(dim=(1, 2), keepdim=True)
        relative = torch.log10(power / torch.where(largest > 0, largest, 1.0) + FLOOR)
        return torch.where(largest > 0, relative * (10 / DECIBELS) + 1, 0.0).transpose(1, 2)

    def _rate_bands(self, spectrogram: Tensor) -> Tensor:
        """Each rate's analytic signals, real and imaginary parts as columns: (sounds, bands, 2, points of all rates).

        Of a transform only the bins of the band are transformed back, as if they began at 0: that moves the phase, not
        the modulus, and gives as few points as the band needs.
        """
        spectrum = torch.fft.rfft(spectrogram, n=COLUMNS)
        parts = []
        for response, points in zip(self._rates, POINTS, strict=True):
            size = min(points, len(response))
            band = spectrum[..., :size] * response[:size]
            part = torch.fft.ifft(band, n=points) * (points / COLUMNS)
            parts.append(part[..., : kept(FRAMES, COLUMNS / points)])
        return torch.view_as_real(torch.cat(parts, dim=2)).transpose(2, 3).contiguous()

    def _moduli(self, in_time: Tensor) -> Tensor:
        """Mean moduli (sounds, scales, regions, rates, time bins)."""
        sounds, bands, _, points = in_time.shape
        both = (self._scales @ in_time.reshape(sounds, bands, 2 * points)).view(sounds, 2, -1, 2, points)
        (p, q), (r, s) = ((part[:, :, 0], part[:, :, 1]) for part in (both[:, 0], both[:, 1]))
        upward, downward = torch.hypot(p - s, q + r), torch.hypot(p + s, q - r)
        rows = torch.cat([upward, downward[:, kept(BANDS, STEPS[0]) :]], dim=1)  # the still filter has one direction
        pooled = self._pool_rows @ (rows @ self._pool_points)
        return pooled.view(sounds, 1 + 2 * len(SCALES), REGIONS, len(RATES), len(TIME_EDGES) - 1)

    @cached_property
    def _window(self) -> Tensor:
        return torch.hann_window(FFT_SIZE, dtype=torch.float32, device=self.device)

    @cached_property
    def _filters(self) -> Tensor:
        return self._float(band_filters(self.sample_rate))

    @cached_property
    def _rates(self) -> list[Tensor]:
        """Response of each rate's filter at the bins below Nyquist."""
        frequencies = np.arange(COLUMNS // 2, dtype=np.float64) * (self.sample_rate / HOP / COLUMNS)
        return [self._float(response(frequencies, rate)) for rate in RATES]

    @cached_property
    def _scales(self) -> Tensor:
        """Real parts, then imaginary parts, of all scales' filters as a matrix: (2 x rows, bands)."""
        rows = [scale_matrix(k)[::step][: kept(BANDS, step)] for k, step in enumerate(STEPS)]
        matrix = np.concatenate(rows)
        return self._float(np.concatenate([matrix.real, matrix.imag]))

    @cached_property
    def _pool_rows(self) -> Tensor:
        """Means over each scale's rows in each region: (scales x regions, rows)."""
        edges = [k * BANDS // REGIONS for k in range(REGIONS + 1)]
        means = [interpolated_means(BANDS, step, edges) for step in STEPS]
        return self._float(block_diagonal([*means, *means[1:]]))

    @cached_property
    def _pool_points(self) -> Tensor:
        """Means over each rate's points in each time bin: (points, rates x time bins)."""
        means = [interpolated_means(FRAMES, COLUMNS / n, TIME_EDGES) for n in POINTS]
        return self._float(block_diagonal(means).T)

    def _float(self, array: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, torch.float32)


def band_filters(sample_rate: float) -> Floats:
    """Triangles of area 1 over the bins of a power spectrum, their edges geometric but half a bin apart at least:
    (bins, BANDS). A band that no bin falls in takes the one nearest its centre."""
    width = sample_rate / FFT_SIZE
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 2)
    for k in range(1, len(edges)):
        edges[k] = max(edges[k], edges[k - 1] + width / 2)
    bins = np.arange(FFT_SIZE // 2 + 1) * width
    filters = triangles(edges, bins)
    empty = filters.sum(axis=0) == 0
    nearest = np.abs(bins[:, None] - edges[None, 1:-1]).argmin(axis=0)
    filters[nearest[empty], np.flatnonzero(empty)] = 1
    filters /= filters.sum(axis=0)
    return filters


def response(x: Floats, centre: float) -> Floats:
    """A filter's response at x (Hz, or cycles an octave): a Gaussian over log2(x / centre); 0 unless x is above 0."""
    positive = np.where(x > 0, x, 1.0)
    return np.where(x > 0, np.exp(-0.5 * (np.log2(positive / centre) / OCTAVES) ** 2), 0.0)


def scale_responses() -> list[Floats]:
    """Responses (ROWS,) of the still filter and of each scale, upward, at the bins of a transform along frequency."""
    spacing = np.log2(HIGHEST_HZ / LOWEST_HZ) / (BANDS + 1)  # octaves from band to band
    cycles = np.fft.fftfreq(ROWS, spacing)
    return [np.exp(-0.5 * (cycles / STILL) ** 2), *(response(cycles, scale) for scale in SCALES)]


def scale_matrix(number: int) -> NDArray[np.complex128]:
    """A scale's circular filter as a matrix from the bands to all rows: (ROWS, BANDS)."""
    spectrum = np.fft.fft(np.eye(ROWS, BANDS), axis=0)
    return np.fft.ifft(spectrum * scale_responses()[number][:, None], axis=0)


def kept(length: int, spacing: float) -> int:
    """How many points ``spacing`` apart, from 0 on, reach the last of 0 .. length - 1."""
    return int(np.ceil((length - 1) / spacing)) + 1


def interpolated_means(length: int, spacing: float, edges: Sequence[int]) -> Floats:
    """Means between edges of the values at 0 .. length - 1, interpolated by cubic splines from points ``spacing``
    apart, as a matrix (bins, points)."""
    points = np.arange(kept(length, spacing))
    spline = library("scipy.interpolate", "modulation").CubicSpline
    values = spline(points * spacing, np.eye(len(points)))(np.arange(length))
    return np.stack([values[first:last].mean(axis=0) for first, last in pairwise(edges)])


def block_diagonal(blocks: list[Floats]) -> Floats:
    """Matrices put along the diagonal of one."""
    joined: Floats = library("scipy.linalg", "modulation").block_diag(*blocks)
    return joined
