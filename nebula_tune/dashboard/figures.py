"""What the dashboard shows and plays: contact sheets, spectrograms, figures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from nebula_tune.corpus.source import Source
from nebula_tune.results import Row
from nebula_tune.synth import Synth

SAMPLE_RATE = 44100
SHEET_SOUNDS = 8
SECONDS = 1.5  # of each sound
FADE = 0.05  # seconds at its end
PEAK = 0.7
LOWEST_HZ, HIGHEST_HZ = 30.0, 16000.0
FLOOR_DB = 80.0
POINTS = 400  # of a curve in a figure

Audio = NDArray[np.float32]


def sheet(sounds: Sequence[Audio]) -> Audio:
    """Sounds in a row, each cut or padded to the same length, faded out, and at one peak level."""
    samples, fade = int(SECONDS * SAMPLE_RATE), int(FADE * SAMPLE_RATE)
    rows = np.zeros((len(sounds), samples), dtype=np.float32)
    for row, sound in zip(rows, sounds, strict=True):
        part = sound[:samples]
        row[: len(part)] = part
        row[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        row *= PEAK / max(float(np.abs(row).max()), 1e-6)
    return rows.reshape(-1)


def nebula_sheet(synth: Synth, first_index: int) -> Audio:
    """The contact sheet of a nebula's sounds; ``synth`` renders at SAMPLE_RATE."""
    audio = synth.render(synth.draw(first_index, SHEET_SOUNDS), first_index).cpu().numpy()
    return sheet(list(audio))


def source_sheet(source: Source, synth: type[Synth], first_index: int) -> Audio:
    """The contact sheet of a target, from all over it."""
    sounds = source.sounds(source.names(SHEET_SOUNDS, first_index), synth, SAMPLE_RATE, SECONDS)
    return sheet([sound.audio for sound in sounds[:SHEET_SOUNDS]])


def wav(audio: Audio) -> bytes:
    """16-bit wav at SAMPLE_RATE."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def spectrogram(audio: Audio) -> bytes:
    """A picture (PNG) of a contact sheet: time across, frequency up (logarithmic), level in dB as brightness."""
    from matplotlib.figure import Figure
    from scipy.signal import stft

    low_rate = soxr.resample(audio, SAMPLE_RATE, 2 * HIGHEST_HZ)
    frequencies, times, transform = stft(low_rate, 2 * HIGHEST_HZ, nperseg=2048, noverlap=1536)
    level = 20 * np.log10(np.maximum(np.abs(transform[1:, ::2]), 1e-9))
    figure = Figure(figsize=(9, 2.6), dpi=80, layout="constrained")
    axes: Any = figure.add_subplot()
    top = float(level.max())
    axes.pcolormesh(times[::2], frequencies[1:], level, vmin=top - FLOOR_DB, vmax=top, cmap="magma", rasterized=True)
    axes.set_yscale("log")
    axes.set(ylim=(LOWEST_HZ, HIGHEST_HZ), xlabel="seconds", ylabel="Hz")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def convergence(values: Sequence[tuple[str, float, bool]]) -> Any:
    """Figure of trials (phase, value, relaxed) in order: each trial, and the best so far."""
    from plotly.graph_objects import Figure, Scatter

    figure = Figure()
    step = max(1, len(values) // POINTS)
    for phase in dict.fromkeys(name for name, _, _ in values):
        points = [(i, value) for i, (name, value, _) in enumerate(values) if name == phase][::step]
        x, y = [i for i, _ in points], [round(value, 4) for _, value in points]
        figure.add_trace(Scatter(x=x, y=y, mode="markers", marker={"size": 4}, name=phase))
    decided = [np.inf if relaxed else value for _, value, relaxed in values]
    best = np.minimum.accumulate(decided) if decided else np.array([])
    corners = [i for i in range(len(best)) if np.isfinite(best[i]) and (i == 0 or best[i] < best[i - 1])]
    if corners:
        x, y = [*corners, len(best) - 1], [round(float(best[i]), 4) for i in [*corners, len(best) - 1]]
        figure.add_trace(Scatter(x=x, y=y, mode="lines", line={"shape": "hv"}, name="best so far"))
    figure.update_layout(title="Convergence", xaxis_title="trial", yaxis_title="distance to target", template=None)
    return figure


def heldout(rows: Mapping[str, Row]) -> Any:
    """Figure of a score card: each nebula's distance to the held-out sounds, with its interval."""
    from plotly.graph_objects import Bar, Figure

    names = list(rows)
    values = [rows[name].mmd_unbiased for name in names]
    above = [rows[name].ci95[1] - value for name, value in zip(names, values, strict=True)]
    below = [value - rows[name].ci95[0] for name, value in zip(names, values, strict=True)]
    error = {"type": "data", "array": above, "arrayminus": below}
    figure = Figure(Bar(x=names, y=values, error_y=error))
    figure.update_layout(title="Held-out sounds", yaxis_title="distance, unbiased, 95 %", template=None)
    return figure
