"""What every synth promises: a test class for each inherits this and says its ``name``."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from nebula_tune.errors import NebulaError, UserInputError
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Synth, architecture

RATE, SECONDS, SOUNDS = 16000, 0.3, 6


class SynthContract:
    """Tests of one synth; ``name`` is what it is found by."""

    name: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def kind(cls) -> type[Synth]:
        """The class under test."""
        return architecture(cls.name)

    @pytest.fixture(scope="class")
    @classmethod
    def synth(cls, kind: type[Synth]) -> Synth:
        """Of a few short sounds."""
        return kind(batch_size=SOUNDS, sample_rate=RATE, seconds=SECONDS)

    @pytest.fixture(scope="class")
    @classmethod
    def raw(cls, synth: Synth) -> Tensor:
        """Draws of its first sounds."""
        return synth.draw(0, SOUNDS)

    @pytest.fixture(scope="class")
    @classmethod
    def audio(cls, synth: Synth, raw: Tensor) -> Tensor:
        """These sounds."""
        return synth.render(raw)

    def test_is_found_by_its_name(self, kind: type[Synth]) -> None:
        assert issubclass(kind, Synth)
        assert issubclass(kind, architecture(self.name))

    def test_a_draw_follows_from_its_index_alone(self, synth: Synth, raw: Tensor) -> None:
        assert raw.dtype == torch.float32 and tuple(raw.shape) == (SOUNDS, len(synth.panel))
        assert torch.equal(synth.draw(2, 3), raw[2:5])
        assert ((raw >= 0) & (raw < 1)).all() and len(np.unique(raw.numpy(), axis=0)) == SOUNDS

    def test_coins_follow_the_draw(self, synth: Synth, raw: Tensor) -> None:
        draws, coins = synth.draw_with_coins(0, SOUNDS)
        assert torch.equal(draws, raw) and coins.shape == raw.shape and not torch.equal(draws, coins)

    def test_human_values_lead_back_to_raw_ones(self, synth: Synth, raw: Tensor) -> None:
        human = synth.to_human(raw)
        assert human.dtype == torch.float64
        low, high = synth.panel.ends(human.device)
        assert ((human >= low) & (human <= high)).all()
        torch.testing.assert_close(synth.to_human(synth.to_raw(human)), human, rtol=1e-9, atol=1e-9)

    def test_audio_is_finite_and_within_full_scale(self, audio: Tensor) -> None:
        assert audio.dtype == torch.float32 and tuple(audio.shape) == (SOUNDS, round(RATE * SECONDS))
        assert audio.isfinite().all() and audio.abs().max() <= 1
        assert (audio.abs().amax(dim=1) > 1e-3).any()

    def test_the_same_sounds_have_the_same_bits(
        self, kind: type[Synth], synth: Synth, raw: Tensor, audio: Tensor
    ) -> None:
        """A synth of this kind renders the same audio from the same raw draws."""
        assert torch.equal(synth.render(raw), audio)
        again = kind(batch_size=SOUNDS, sample_rate=RATE, seconds=SECONDS)
        assert torch.equal(again(0)[0], audio)

    def test_a_sound_is_the_same_in_another_batch(self, synth: Synth, raw: Tensor, audio: Tensor) -> None:
        torch.testing.assert_close(synth.render(raw[3:], 3), audio[3:], rtol=0, atol=1e-3)

    def test_no_sounds_are_no_audio(self, synth: Synth, raw: Tensor) -> None:
        assert tuple(synth.render(raw[:0]).shape) == (0, round(RATE * SECONDS))

    def test_oscillators_share_the_level(self, kind: type[Synth], synth: Synth, raw: Tensor) -> None:
        sounding = kind.sounding(synth.to_human(raw))
        assert sounding.share.shape == sounding.pitch.shape == sounding.sweep.shape and len(sounding.share) == SOUNDS
        assert (sounding.share >= 0).all() and (sounding.share.sum(dim=1) <= 1 + 1e-9).all()
        assert (sounding.sweep >= 0).all()

    def test_its_default_nebula_is_complete_and_another_synths_parameter_is_refused(self, kind: type[Synth]) -> None:
        assert set(kind.resolve("default").curves) == set(kind.panel.names)
        stranger = Nebula.from_entries([{"name": ["nobody", "knows", "curve"], "value": 1.0}])
        with pytest.raises(NebulaError):
            kind.resolve(stranger)

    def test_gradients_are_finite(self, kind: type[Synth]) -> None:
        if not kind.differentiable:
            synth = kind(batch_size=2, sample_rate=RATE, seconds=0.1)
            with pytest.raises(UserInputError, match="no gradients"):
                synth.render_human(synth.to_human(synth.draw(0, 2)).requires_grad_())
            return
        exact = kind(batch_size=2, sample_rate=RATE, seconds=0.1, dtype=torch.float64)
        human = exact.to_human(exact.draw(0, 2)).requires_grad_()
        (gradient,) = torch.autograd.grad(exact.render_human(human).square().sum(), human)
        assert gradient.isfinite().all() and gradient.any()
