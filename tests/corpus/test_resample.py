"""Files and a synth's sounds go from rate to rate alike."""

import numpy as np
import pytest
import soundfile
import torch

from nebula_tune.corpus.folder import read_audio
from nebula_tune.corpus.prepare import Prepare, as_read
from nebula_tune.corpus.resample import by_transform, resampled
from nebula_tune.nebula import Nebula
from nebula_tune.synth.voice import Voice

RATES = pytest.mark.parametrize("to", [8000, 22050, 32000, 48000])


@pytest.fixture(scope="module")
def sounds():
    voice = Voice(Nebula(), 8, 44100, 0.7)
    return voice.render(voice.draw(0, 8), 0)


@RATES
def test_a_gpus_way_gives_what_soxr_gives(sounds, to):
    expected, found = resampled(sounds, 44100, to), by_transform(sounds, 44100, to)
    length = min(expected.shape[1], found.shape[1])
    assert abs(expected.shape[1] - found.shape[1]) <= 1
    inner = slice(to // 100, length - to // 100)  # what lies outside a file is unknown to the one, zeros to the other
    assert (expected[:, inner] - found[:, inner]).norm() < 1e-2 * expected.norm()


@RATES
def test_a_sound_does_not_depend_on_the_batch(sounds, to):
    assert torch.equal(resampled(sounds[3:5].clone(), 44100, to), resampled(sounds, 44100, to)[3:5])


@RATES
def test_a_synths_sound_is_what_a_file_of_it_would_be(sounds, to, tmp_path):
    heard = as_read(sounds, 44100, to, Prepare.ONSET)
    for number in (1, 4):
        soundfile.write(tmp_path / "sound.wav", sounds[number].numpy(), 44100, subtype="FLOAT")
        read = read_audio(tmp_path / "sound.wav", to)
        np.testing.assert_array_equal(read, heard[number].numpy())


def test_nothing_is_left_of_what_lies_above_the_new_nyquist_frequency():
    # Faded in and out: a tone that breaks off is heard below 11 kHz too.
    tone = torch.sin(2 * torch.pi * 15000 * torch.arange(44100).double() / 44100).float() * torch.hann_window(44100)
    for way in (resampled, by_transform):
        assert way(tone[None], 44100, 22050).abs().max() < 1e-4
