"""The one preparation of sounds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nebula_tune.corpus.prepare import LEVEL_RMS, Prepare, is_silent, prepare, without_offset

STYLES = pytest.mark.parametrize("style", list(Prepare))


def noise(sounds: int, samples: int, seed: int = 0) -> Tensor:
    return torch.rand(sounds, samples, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def rms(audio: Tensor) -> Tensor:
    return audio.double().square().mean(dim=1).sqrt()


@pytest.mark.parametrize("block", [1, 7, 20, 4096])
def test_the_sound_begins_where_it_first_comes_within_40_db_of_its_peak(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nebula_tune.corpus.prepare.BLOCK", block)
    audio = torch.zeros(3, 100)
    audio[0, 10], audio[0, 20], audio[0, 30] = 0.0099, -0.0101, 1.0
    audio[1, 40], audio[1, 41] = 0.25, 0.5
    audio[2, 99] = -1.0
    prepared = prepare(audio, 60)
    assert prepared[0].nonzero().flatten().tolist() == [0, 10]
    assert prepared[0, 0] / prepared[0, 10] == pytest.approx(-0.0101)
    assert prepared[1].nonzero().flatten().tolist() == [0, 1]
    assert prepared[1, 1] / prepared[1, 0] == pytest.approx(2)
    assert prepared[2].nonzero().flatten().tolist() == [0]


def test_rms_only_leaves_the_onset_where_it_is() -> None:
    audio = torch.zeros(1, 100)
    audio[0, 40:60] = 0.5
    assert prepare(audio, 100, Prepare.RMS_ONLY)[0].nonzero().flatten().tolist() == list(range(40, 60))
    assert prepare(audio, 100, Prepare.ONSET)[0].nonzero().flatten().tolist() == list(range(20))


@STYLES
@pytest.mark.parametrize("samples", [1, 50, 100, 101, 300])
def test_the_length_is_exact_and_the_level_the_same_for_all(style: Prepare, samples: int) -> None:
    audio = noise(4, 100) * torch.tensor([[1.0], [1e-3], [3.0], [0.02]])
    prepared = prepare(audio, samples, style)
    assert prepared.shape == (4, samples) and prepared.dtype == torch.float32
    assert rms(prepared).tolist() == pytest.approx([LEVEL_RMS] * 4, rel=1e-5)
    assert torch.equal(prepared[:, 100:], torch.zeros(4, max(0, samples - 100)))
    unlevelled = prepared / prepared[:, :1] * audio[:, :1]
    if style is Prepare.RMS_ONLY:
        torch.testing.assert_close(unlevelled[:, :100], audio[:, :samples], rtol=1e-5, atol=0)


@STYLES
def test_silence_stays_zeros_among_other_sounds(style: Prepare) -> None:
    audio = torch.stack([torch.zeros(50), noise(1, 50)[0], torch.full((50,), 9e-5)])
    prepared = prepare(audio, 60, style)
    assert torch.equal(prepared[[0, 2]], torch.zeros(2, 60))
    assert prepared[1].abs().max() > 0
    assert is_silent(audio).tolist() == [True, False, True]


def test_a_sound_whose_kept_part_is_silent_is_zeros() -> None:
    audio = torch.zeros(1, 100)
    audio[0, 80] = 1.0
    assert torch.equal(prepare(audio, 50, Prepare.RMS_ONLY), torch.zeros(1, 50))
    assert prepare(audio, 50, Prepare.ONSET)[0, 0] > 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    delay=st.integers(0, 40),
    gain=st.floats(1e-2, 50),
    samples=st.integers(1, 150),
)
def test_a_sound_and_its_delayed_and_scaled_copy_prepare_alike(
    seed: int, delay: int, gain: float, samples: int
) -> None:
    audio = noise(1, 100, seed)
    copy = torch.nn.functional.pad(gain * audio, (delay, 7))
    # a sample within rounding of the threshold could fall on either side of it: keep clear of it
    near = (audio.abs() / audio.abs().max() - 0.01).abs() < 1e-6
    assert not near.any()
    torch.testing.assert_close(prepare(copy, samples), prepare(audio, samples), rtol=1e-4, atol=1e-6)


@STYLES
def test_a_sound_is_prepared_alike_in_every_batch(style: Prepare) -> None:
    audio = noise(9, 200)
    prepared = prepare(audio, 150, style)
    assert torch.equal(prepare(audio[4:6], 150, style), prepared[4:6])
    torch.testing.assert_close(prepare(prepared, 150, style), prepared, msg="what is prepared stays as it is")


def test_a_synth_renders_as_much_more_as_an_onset_may_take() -> None:
    assert Prepare.ONSET.render_seconds(2) == 2.5
    assert Prepare.RMS_ONLY.render_seconds(2) == 2


RATE = 22050
TIME = torch.arange(RATE, dtype=torch.float64) / RATE


def sounds_without_offset() -> dict[str, Tensor]:
    """A second each, at RATE Hz, of what might be taken for one with an offset."""
    sweep = 2 * torch.pi * (50 * TIME + 150 / 40 * (1 - torch.exp(-40 * TIME)))
    lead = 800
    kick = torch.sin(sweep) * torch.exp(-8 * TIME)
    hum = torch.sin(2 * torch.pi * 31.7 * TIME)
    thump = torch.exp(-30 * TIME)
    return {
        "kick": kick,
        "kick after silence": torch.cat([torch.zeros(lead), kick[:-lead]]),
        "kick cut short": torch.cat([kick[: RATE // 3], torch.zeros(RATE - RATE // 3)]),
        "low note": hum,
        "pulses below hearing": torch.sign(torch.sin(2 * torch.pi * 1.3 * TIME)),
        "thump that swings one way": thump,
        "noise": noise(1, RATE)[0],
        "click": torch.cat([torch.tensor([0.9, -0.3]), torch.zeros(RATE - 2)]),
    }


@pytest.mark.parametrize("name", sounds_without_offset())
def test_a_sound_without_offset_is_what_version_1_made_of_it(name: str) -> None:
    audio = sounds_without_offset()[name].float()[None]
    assert torch.equal(prepare(audio, RATE // 2), prepare(audio, RATE // 2, Prepare.ONSET_1))


@pytest.mark.parametrize("offset", [0.2, -0.2, 0.01, 5.0])
@pytest.mark.parametrize("name", ["kick", "kick after silence", "low note", "thump that swings one way"])
def test_an_offset_changes_neither_onset_nor_sound(name: str, offset: float) -> None:
    audio = sounds_without_offset()[name].float()[None]
    expected = prepare(audio, RATE // 2)
    difference = prepare(audio + offset, RATE // 2) - expected
    # A sound's own mean may go with the offset: what can be heard is what counts.
    assert difference.sub(difference.mean()).norm() < 1e-3 * expected.norm()
    assert difference.norm() < 0.02 * expected.norm()


def test_an_offset_leaves_no_energy_before_the_onset() -> None:
    audio = sounds_without_offset()["kick after silence"].float()[None] + 0.2
    assert without_offset(audio)[0, :800].abs().max() < 1e-5


def test_a_constant_is_silence_and_the_papers_preparation_keeps_offsets() -> None:
    audio = torch.full((1, RATE), 0.2)
    assert torch.equal(prepare(audio, 100), torch.zeros(1, 100))
    assert prepare(audio, 100, Prepare.RMS_ONLY).tolist()[0] == pytest.approx([LEVEL_RMS] * 100)
    assert torch.equal(prepare(audio, 100, Prepare.ONSET_1), prepare(audio, 100, Prepare.RMS_ONLY))


def test_users_mean_the_newest_version_and_stored_studies_the_first() -> None:
    assert Prepare.named("onset") is Prepare.ONSET
    assert Prepare("onset") is Prepare.named("onset-1") is Prepare.ONSET_1
    with pytest.raises(ValueError, match="nonsense"):
        Prepare.named("nonsense")
