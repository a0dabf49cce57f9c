"""Agreement with official OpenL3 (0.4.2, and kapre 0.1.4 for the legacy frontend) on every recorded case."""

import numpy as np
import pytest
import torch

from nebula_tune.embedding.mel import mel_filters
from nebula_tune.embedding.openl3 import OpenL3
from nebula_tune.embedding.openl3.frontend import Frontend
from nebula_tune.embedding.openl3.resampling import resample
from tests.embedding.conftest import FIXTURES


def keys(file, kind):
    with np.load(FIXTURES / file) as arrays:
        return [key for key in arrays.files if key.startswith(kind)]


CASES = keys("expected_synthetic.npz", "emb/") + keys("expected_legacy.npz", "emb/")
IMAGES = keys("expected_meldb.npz", "db/") + keys("expected_legacy.npz", "db/")

# Largest difference and relative L2. The official kapre frontends compute in float32, whose rounding shows at the
# floor; the librosa one in float64, and that proves all the rest.
LIMITS = {
    ("librosa", "mel"): (2e-4, 1e-5),
    ("librosa", "linear"): (2e-4, 1e-5),
    ("kapre", "mel"): (5e-2, 2e-3),
    ("kapre", "linear"): (1e-1, 1e-2),
    ("legacy", "mel"): (1e-2, 1e-3),
    ("legacy", "linear"): (1e-1, 1e-2),
}


@pytest.mark.parametrize("key", CASES)
def test_vectors_agree_with_the_official_code(key, expected, sounds, openl3_weights):
    _, sound, representation, size, frontend, hop, centring = key.split("/")
    ear = OpenL3(
        representation=representation,
        size=int(size),
        frontend=frontend,
        hop=float(hop.removeprefix("hop")),
        center=centring == "center",
        weights=openl3_weights[representation],
    )
    vectors = ear.embed(sounds[sound], 44100)
    assert vectors.shape == expected[key].shape
    assert vectors.dtype == np.float32
    difference = vectors.astype(np.float64) - expected[key]
    largest, relative = LIMITS[frontend, representation[:3] if representation.startswith("mel") else representation]
    if sound == "silence":
        largest, relative = 2e-5, 2e-6
    assert np.abs(difference).max() <= largest
    assert np.linalg.norm(difference) <= relative * np.linalg.norm(expected[key])


@pytest.mark.parametrize("key", IMAGES)
def test_images_agree_with_the_official_code(key, expected, sounds):
    _, sound, representation, frontend, _, _ = key.split("/")
    # Window no. 2 of the sound, every second, centred: that is its second from 1.5 s.
    audio = resample(sounds[sound], 44100)[72000 : 72000 + 48000]
    image = Frontend(representation, frontend, torch.device("cpu"))(torch.from_numpy(audio)[None])[0].numpy()
    difference = np.abs(image - expected[key])
    if frontend == "librosa":
        assert difference.max() < 1e-4
    else:
        assert difference[expected[key] > -60].max() < 0.2
        assert difference.max() < 11


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 44056, 88200, 96000])
def test_resampling_agrees_with_resampy(rate):
    with np.load(FIXTURES / "expected_resampled.npz") as file:
        audio, official = file[f"{rate}/in"], file[f"{rate}/out"]
    resampled = resample(audio, rate)
    assert len(resampled) == len(official)
    # resampy adds up each output's time, and this error of its own grows with length.
    assert np.abs(resampled - official).max() < 5e-9


def test_a_whole_resampled_sound_agrees(expected, sounds):
    resampled = resample(sounds["short"], 44100)
    assert np.abs(resampled - expected["resampled48k/short"]).max() < 1e-10


@pytest.mark.parametrize("samples", [0, 1, 2, 127, 441])
@pytest.mark.parametrize("rate", [11025, 44100, 192000])
def test_very_short_sounds_resample_to_their_length(samples, rate):
    audio = np.ones(samples)
    assert len(resample(audio, rate)) == int(samples * (48000 / rate))


def test_512_is_the_largest_of_the_twelve_cells_of_6144(sounds, openl3_weights):
    small = OpenL3(hop=1.0, weights=openl3_weights["mel256"]).embed(sounds["noise"], 44100)
    large = OpenL3(hop=1.0, size=6144, weights=openl3_weights["mel256"]).embed(sounds["noise"], 44100)
    assert np.array_equal(small, large.reshape(-1, 12, 512).max(axis=1))


def test_mel_filters_have_one_area_and_two_empty_rows_in_the_htk_bank_of_256():
    slaney, htk = (mel_filters(48000, 2048, 256, htk=htk) for htk in (False, True))
    assert np.flatnonzero(slaney.sum(axis=1) == 0).size == 0
    assert np.count_nonzero((slaney > 0).sum(axis=1) == 1) == 47
    assert np.flatnonzero(htk.sum(axis=1) == 0).tolist() == [0, 7]
    assert htk[200:].sum(axis=1) * 48000 / 2048 == pytest.approx(np.ones(56), abs=0.01)
