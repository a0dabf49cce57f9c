"""synth1B1's numbers: seeds, splits, noise; against torch's own generator and the real torchsynth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nebula_tune.errors import UserInputError
from nebula_tune.synth import Voice, synth1b1
from nebula_tune.synth.noise import noise_rows
from tests.synth import torchsynth_peer


@pytest.mark.parametrize("first", [0, 1, 1023, 12345, 2**31 - 2, 2**32 - 4])
def test_draws_are_those_of_torchs_generator(first: int) -> None:
    expected = [torch.rand(78, generator=torch.Generator().manual_seed(first + i)).numpy() for i in range(3)]
    np.testing.assert_array_equal(synth1b1.draw(first, 3, 78), expected)


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    np.testing.assert_array_equal(synth1b1.draw(40, 5, 156)[:, :78], synth1b1.draw(40, 5, 78))
    voice = Voice(batch_size=4, seconds=0.1)
    torch.testing.assert_close(voice.draw_with_coins(8, 4)[0], voice.draw(8, 4), rtol=0, atol=0)


@pytest.mark.parametrize(("first", "sounds"), [(-1, 1), (2**32, 1), (2**32 - 3, 4)])
def test_indices_outside_the_data_set_are_refused(first: int, sounds: int) -> None:
    with pytest.raises(UserInputError, match="sound indices run from 0"):
        synth1b1.draw(first, sounds, 78)


def test_the_last_tenth_of_every_10240_sounds_is_for_testing() -> None:
    flags = synth1b1.is_train(0, 3 * 10240)
    g = np.arange(3 * 10240)
    np.testing.assert_array_equal(flags, (g // 1024) % 10 != 9)
    np.testing.assert_array_equal(synth1b1.is_train(9000, 500), flags[9000:9500])


@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_batches_of_32_and_128_give_the_same_sounds(backend: str) -> None:
    small, large = (Voice("drum", size, 16000, 0.5, backend=backend) for size in (32, 128))
    audio, raw, train = large(1)
    parts = [small(4 + k) for k in range(4)]
    assert torch.equal(raw, torch.cat([part[1] for part in parts]))
    assert torch.equal(train, torch.cat([part[2] for part in parts]))
    tolerance = 0 if backend == "fast" else 1e-4
    torch.testing.assert_close(audio, torch.cat([part[0] for part in parts]), rtol=0, atol=tolerance)


def test_noise_is_torchsynths() -> None:
    peer = torchsynth_peer.voice(batch_size=64, sample_rate=16000, seconds=0.5)
    rows = noise_rows(8000)
    np.testing.assert_array_equal(np.tile(rows, (2, 1)), peer.noise.noise.numpy())


@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_sound_g_plays_noise_row_g_mod_32(backend: str) -> None:
    voice = Voice(batch_size=40, sample_rate=16000, seconds=0.5, backend=backend)
    at = voice.panel.index
    human = torch.zeros(40, len(voice.panel), dtype=torch.float64)
    for name, value in {
        "keyboard.duration": 4.0,
        "adsr_1.sustain": 1.0,
        "adsr_1.alpha": 1.0,
        "lfo_1.sin": 1.0,
        "lfo_2.sin": 1.0,
        "mod_matrix.adsr_1->noise_amp": 1.0,
        "mixer.noise": 0.75,
    }.items():
        human[:, at[name]] = value
    audio = voice.render_human(human, first_index=77).numpy()
    expected = 0.75 * noise_rows(8000)[(77 + np.arange(40)) % 32]
    np.testing.assert_allclose(audio, expected, atol=1e-6)
