"""Small audio files for the tests of corpora."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
}
MORE_FORMATS = {
    "opus": ("OGG", "OPUS"),
    "oga": ("OGG", "VORBIS"),
    "aifc": ("AIFF", "ULAW"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "svx": ("SVX", "PCM_16"),
    "voc": ("VOC", "PCM_16"),
    "nist": ("NIST", "PCM_16"),
    "avr": ("AVR", "PCM_16"),
}


def tone(hertz: float, seconds: float = 0.25, sample_rate: int = 8000) -> np.ndarray:
    """A sine at half of full scale."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * sample_rate)) / sample_rate)).astype(np.float32)


def burst(number: int, samples: int = 1000) -> np.ndarray:
    """A decaying noise, another for each number."""
    noise = np.random.default_rng(number).uniform(-0.8, 0.8, samples)
    return (noise * np.exp(-np.arange(samples) / 300)).astype(np.float32)


def write(path: Path, audio: np.ndarray, sample_rate: int = 8000, subtype: str | None = None) -> Path:
    """Write a file in the format its extension (in lower case) names; (samples,) or (samples, channels)."""
    extension = path.suffix[1:].lower()
    kind, usual = (FORMATS | MORE_FORMATS)["aiff" if extension == "aif" else extension]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, sample_rate, format=kind, subtype=subtype or usual)
    return path


def loudest_hertz(audio: np.ndarray, sample_rate: int) -> float:
    """Where the spectrum of a windowed sound peaks, to a fraction of a bin."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 8 * len(audio)))
    return float(np.argmax(spectrum) * sample_rate / (8 * len(audio)))
