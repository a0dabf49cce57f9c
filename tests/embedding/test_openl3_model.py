"""OpenL3 as an embedding: what it takes, what it skips, what it costs."""

import numpy as np
import pytest
import torch

from nebula_tune.embedding.openl3 import OpenL3
from nebula_tune.embedding.openl3.model import hop_samples
from nebula_tune.errors import EmbeddingError


@pytest.fixture(scope="module")
def make(openl3_weights):
    def made(**options):
        return OpenL3(**{"representation": "mel128", "weights": openl3_weights["mel128"], "hop": 0.5, **options})

    return made


@pytest.fixture(scope="module")
def drum():
    """A decaying noise of 0.3 s, 48 kHz."""
    noise = np.random.default_rng(0).standard_normal(14400)
    return noise * np.exp(-np.arange(14400) / 3000)


@pytest.mark.parametrize(
    ("hop", "center", "frames"),
    [
        (0.1, True, 36),
        (0.1, False, 31),
        (0.25, True, 15),
        (0.25, False, 13),
        (0.5, True, 8),
        (0.5, False, 7),
        (1.0, True, 5),
    ],
)
def test_frames_of_a_sound_of_4_s(make, hop, center, frames):
    assert make(hop=hop, center=center).frames(192000) == frames


def test_short_sounds_have_one_frame(make):
    assert make(center=False).frames(1) == make(center=False).frames(48000) == make().frames(24000) == 1


def test_stereo_is_averaged_and_whole_numbers_are_taken_as_they_are(make, drum):
    ear = make()
    stereo = np.stack([drum, drum[::-1]], axis=1)
    assert np.array_equal(ear.embed(stereo, 48000), ear.embed(stereo.mean(axis=1), 48000))
    whole = np.round(drum * 3000).astype(np.int16)
    assert np.allclose(ear.embed(whole, 48000), ear.embed(whole / 32768, 48000), atol=1e-4)


@pytest.mark.parametrize(
    ("audio", "rate", "said"),
    [
        (np.zeros(0), 48000, "audio is"),
        (np.zeros((2, 2, 2)), 48000, "audio is"),
        (np.array(["a"]), 48000, "audio is"),
        (np.array([0.0, np.nan]), 48000, "not finite"),
        (np.zeros(10), 0, "sample rate"),
        (np.zeros(10), 44100.5, "sample rate"),
        (np.zeros(1), 96000, "shorter"),
    ],
)
def test_bad_audio_is_one_clear_line(make, audio, rate, said):
    with pytest.raises(EmbeddingError, match=said):
        make().embed(audio, rate)


@pytest.mark.parametrize(
    "options",
    [
        {"representation": "mel64"},
        {"content": "speech"},
        {"size": 1024},
        {"frontend": "essentia"},
        {"hop": 0.0},
        {"hop": 1e-6},
        {"hop": float("nan")},
        {"precision": "float16"},
        {"active": "yes"},
        {"seconds": 0},
    ],
)
def test_bad_settings_are_one_clear_line(make, options):
    with pytest.raises(EmbeddingError) as caught:
        make(**options)
    assert "\n" not in str(caught.value)


def test_hop_is_rounded_down_to_samples():
    assert hop_samples(0.1) == 4800
    assert hop_samples(0.00003) == 1


def test_settings_tell_apart_all_that_changes_a_vector(make, openl3_weights):
    different = [{}, {"hop": 0.25}, {"frontend": "kapre"}, {"center": False}, {"active": True}, {"size": 6144}]
    different += [{"precision": "bfloat16"}, {"content": "env"}, {"seconds": 2.0}]
    different += [{"weights": openl3_weights["mel256"]}, {"representation": "linear"}]
    settings = [str(make(**options).settings) for options in different]
    assert len(set(settings)) == len(different)


def test_silent_windows_are_embedded_once(make, drum, monkeypatch):
    ear = make()
    audio = torch.zeros(3, 192000)
    audio[0, :14400] = torch.from_numpy(drum)
    audio[1, 60000:60010] = 1.0
    seen = []
    real = ear._vectors
    monkeypatch.setattr(ear, "_vectors", lambda windows: seen.append(len(windows)) or real(windows))
    vectors = ear.embed_batch(audio)
    # Of 3 x 8 windows: the drum is in 2, the click in 2, and one is the silence of all others.
    assert sum(seen) == 5
    assert torch.equal(vectors[2, 0], vectors[0, -1])
    ear.embed_batch(audio[2:])
    assert sum(seen) == 5


def test_reusing_silence_changes_nothing(make, drum):
    ear = make(frontend="librosa")
    audio = torch.zeros(1, 192000, dtype=torch.float64)
    audio[0, :14400] = torch.from_numpy(drum)
    padded = torch.nn.functional.pad(audio, (24000, 0))
    windows = torch.stack([padded[0, start : start + 48000] for start in range(0, 8 * 24000, 24000)])
    assert torch.equal(ear.embed_batch(audio)[0], ear._vectors(windows))


def test_active_takes_windows_in_which_no_sound_is_for_silence(make, drum):
    audio = torch.zeros(1, 192000)
    audio[0, :14400] = torch.from_numpy(drum)
    rustling = audio + 1e-5 * torch.from_numpy(np.random.default_rng(1).standard_normal(192000))
    paper, active = make(), make(active=True)
    clean = paper.embed_batch(audio)[0]
    assert torch.equal(active.embed_batch(audio)[0], clean)
    assert torch.equal(active.embed_batch(rustling)[0, 2:], clean[2:])
    # The paper's variant shows the inaudible rustling at full level: another picture than that of silence.
    assert ((paper.embed_batch(rustling)[0, 2:] - clean[2:]).abs().sum(dim=1) > 10).all()
    assert torch.equal(active.embed_batch(audio * 1e-4)[0, 2:], clean[2:])


def test_bfloat16_is_within_a_hundredth(make, sounds):
    for sound in ("sweep", "noise", "clicks"):
        exact = make(hop=1.0).embed(sounds[sound], 44100)
        fast = make(hop=1.0, precision="bfloat16").embed(sounds[sound], 44100)
        assert np.linalg.norm(fast - exact) < 1e-2 * np.linalg.norm(exact)


def test_cost_is_told(make):
    cost = make().cost(256)
    assert cost.windows == 256 * 8
    assert cost.tflop == pytest.approx(20.9, rel=0.01)
    assert cost.seconds > 0
