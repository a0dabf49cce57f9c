"""`modulation` against the definition at full rate, and what it hears."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nebula_tune.corpus.folder import find_audio, read_audio
from nebula_tune.corpus.prepare import prepare
from nebula_tune.embedding.modulation import Modulation
from nebula_tune.nebula import Nebula
from nebula_tune.synth.voice import Voice

RATE = 22050
DRUMS = Path(__file__).parents[2] / "examples" / "drums"


def gaussian(x, centre):
    positive = np.where(x > 0, x, 1.0)
    return np.where(x > 0, np.exp(-0.5 * (np.log2(positive / centre) / 0.5) ** 2), 0.0)


def by_definition(sound):
    """The vector (864,) of a sound (samples,): every filter at full rate, in double precision, by numpy alone."""
    padded = np.concatenate([np.zeros(256), sound, np.zeros(512)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    frames = np.stack([padded[110 * t : 110 * t + 512] * window for t in range(256)])
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.geomspace(60, 10500, 50)
    for k in range(1, 50):
        edges[k] = max(edges[k], edges[k - 1] + 21.5)
    hertz = np.arange(257) * RATE / 512
    bands = []
    for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
        triangle = np.where(hertz <= centre, (hertz - low) / (centre - low), (high - hertz) / (high - centre)).clip(0)
        if not triangle.any():
            triangle[np.abs(hertz - centre).argmin()] = 1
        bands.append(power @ (triangle / triangle.sum()))
    energy = np.stack(bands)
    plane = np.zeros((64, 320))
    if energy.max() > 0:
        plane[:48, :256] = 10 * np.log10(energy / energy.max() + 1e-5) / 50 + 1
    spectrum = np.fft.fft2(plane)
    rates, scales = np.fft.fftfreq(320, 110 / RATE), np.fft.fftfreq(64, np.log2(10500 / 60) / 49)
    along_frequency = [np.exp(-0.5 * (scales / 0.12) ** 2)]
    along_frequency += [gaussian(sign * scales, centre) for sign in (1, -1) for centre in (0.25, 0.5, 1, 2)]
    means = [
        np.abs(np.fft.ifft2(spectrum * rows[:, None] * gaussian(rates, rate)))[region : region + 12, first:last].mean()
        for rows in along_frequency
        for region in range(0, 48, 12)
        for rate in (2.5, 5, 10, 20, 40, 80)
        for first, last in ((0, 8), (8, 24), (24, 64), (64, 256))
    ]
    return np.log1p(np.array(means) / 0.02)


@pytest.fixture(scope="module")
def ear():
    return Modulation()


def test_it_is_its_definition_at_full_rate_but_for_little(ear):
    drums = [prepare(torch.from_numpy(read_audio(path, RATE))[None], ear.samples) for path in find_audio(DRUMS)[::5]]
    voice = Voice(Nebula(), 24, RATE, 1.9)
    sounds = torch.cat([*drums, prepare(voice.render(voice.draw(1000, 24), 1000), ear.samples)])
    expected = np.stack([by_definition(sound) for sound in sounds.double().numpy()])
    error = np.abs(ear.embed_batch(sounds)[:, 0].numpy() - expected)
    real = expected[: len(drums)]
    between = np.abs(real[:, None] - real).sum(axis=2)[np.triu_indices(len(real), 1)].mean()
    assert error.sum(axis=1).mean() < 0.005 * between
    assert error.max() < 0.03


def test_silence_is_zeros(ear):
    assert not ear.embed_batch(torch.zeros(1, ear.samples)).any()


def test_it_hears_the_rate_of_pulses_that_have_one_spectrum_on_average(ear):
    noise = torch.randn(ear.samples, generator=torch.Generator().manual_seed(0))
    time = torch.arange(ear.samples) / RATE
    pulsed = torch.stack([noise * (torch.sin(2 * torch.pi * rate * time) > 0) for rate in (10, 40)])
    vectors = ear.embed_batch(pulsed).view(2, 9, 4, 6, 4)[:, 0, :, :, 3].mean(dim=1)  # no scale, late: (sounds, rates)
    assert vectors.argmax(dim=1).tolist() == [2, 4]


def test_a_rising_glide_and_its_reverse_differ_in_direction(ear):
    time = torch.arange(ear.samples) / RATE
    glide = torch.sin(2 * torch.pi * 200 / 1.5 * torch.exp2(1.5 * time * 2) / np.log(2) / 2)
    rising, falling = ear.embed_batch(torch.stack([glide, glide.flip(0)])).view(2, 9, 4, 6, 4).sum(dim=(2, 3, 4))
    assert (rising[1:5].sum() > rising[5:].sum()) != (falling[1:5].sum() > falling[5:].sum())
