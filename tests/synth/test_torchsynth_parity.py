"""The Voice against the real torchsynth 1.0.2, both measured against this Voice in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.synth.sounds import Setting, ours, snr, theirs

SETTINGS = [
    Setting("default", 44100, 4.0),
    Setting("drum", 44100, 4.0),
    Setting("default", 48000, 1.5),
    Setting("random-0", 44100, 1.0),
    Setting("random-1", 22050, 2.0),
    Setting("drum", 16000, 0.3),
    Setting("random-2", 8000, 0.7303),
    Setting("tuned", 44100, 4.0),
    Setting("tuned", 48000, 0.5),
    Setting("extreme-0", 44100, 1.0),
    Setting("extreme-1", 16000, 10.0),
]
IDS = ["-".join(map(str, setting)) for setting in SETTINGS]

settings = pytest.mark.parametrize("setting", SETTINGS, ids=IDS)
backends = pytest.mark.parametrize("backend", ["reference", "fast"])


@settings
@backends
def test_same_shape_parameters_and_train_flags(setting: Setting, backend: str) -> None:
    mine, peer = ours(setting, backend), theirs(setting)
    assert mine.audio.shape == peer.audio.shape and mine.audio.dtype == peer.audio.dtype
    np.testing.assert_array_equal(mine.raw, peer.raw)
    np.testing.assert_array_equal(mine.train, peer.train)


def assert_as_close(mine: np.ndarray, peer: np.ndarray) -> None:
    assert np.median(mine) >= np.median(peer) - 1
    assert np.percentile(mine, 10) >= np.percentile(peer, 10) - 1


@settings
def test_the_exact_voice_is_torchsynths(setting: Setting) -> None:
    # What torchsynth's float32 phase leaves; extreme nebulae are all fast sweeps over long notes.
    least = 35 if setting.nebula.startswith("extreme") else 40
    assert np.median(snr(theirs(setting).audio, ours(setting, "reference", torch.float64).audio)) > least


@settings
def test_fast_is_as_close_to_the_exact_sound_as_torchsynth(setting: Setting) -> None:
    truth = ours(setting, "reference", torch.float64).audio
    assert_as_close(snr(ours(setting, "fast").audio, truth), snr(theirs(setting).audio, truth))


def test_reference_is_as_close_to_the_exact_sound_as_torchsynth() -> None:
    # Over all nebulae together: where one crowds the pitches, a float32 MIDI number is off alike in all its sounds.
    truths = [ours(setting, "reference", torch.float64).audio for setting in SETTINGS]
    mine = [snr(ours(s, "reference").audio, truth) for s, truth in zip(SETTINGS, truths, strict=True)]
    peer = [snr(theirs(s).audio, truth) for s, truth in zip(SETTINGS, truths, strict=True)]
    assert_as_close(np.concatenate(mine), np.concatenate(peer))


@settings
def test_fast_sounds_are_within_80_db_of_the_exact_ones(setting: Setting) -> None:
    truth = ours(setting, "reference", torch.float64).audio
    assert snr(ours(setting, "fast").audio, truth).min() > 80


@settings
def test_silence_after_the_last_release_is_exact(setting: Setting) -> None:
    smallest = np.finfo(np.float32).tiny  # below it both are silence, rounded in their own ways
    fast, reference = (
        np.abs(audio) >= smallest
        for audio in (ours(setting, "fast").audio, ours(setting, "reference", torch.float64).audio)
    )
    number = np.arange(1, fast.shape[1] + 1)
    assert np.abs((number * fast).max(axis=1) - (number * reference).max(axis=1)).max() <= 1
