"""Gradients through the reference voice, against finite differences."""

from __future__ import annotations

import pytest
import torch

from nebula_tune.synth import Voice


@pytest.fixture(scope="module")
def voice() -> Voice:
    return Voice(batch_size=1, sample_rate=4000, seconds=0.4, dtype=torch.float64)


def slow_low_note(voice: Voice) -> torch.Tensor:
    """Raw parameters (1, parameters) of a note around MIDI 33 that moves little."""
    human = voice.to_human(voice.draw(3, 1))
    values = {
        "keyboard.midi_f0": 33.0, "keyboard.duration": 0.25, "vco_1.tuning": 1.3, "vco_2.tuning": -2.1,
        "vco_1.mod_depth": 1.5, "vco_2.mod_depth": -0.7, "adsr_1.attack": 0.03, "adsr_1.decay": 0.1,
        "adsr_1.sustain": 0.6, "adsr_1.release": 0.2, "adsr_2.release": 0.3, "mixer.vco_1": 0.2, "mixer.vco_2": 0.2,
        "mixer.noise": 0.05,
    }  # fmt: skip
    for name, value in values.items():
        human[0, voice.panel.index[name]] = value
    return voice.to_raw(human)


def test_gradients_are_those_of_finite_differences(voice: Voice) -> None:
    raw = slow_low_note(voice).requires_grad_()
    weights = torch.from_numpy(voice._noise[5].numpy().copy())  # any direction
    audio = voice.render(raw)[0]
    (gradient,) = torch.autograd.grad((audio * weights).sum(), raw)
    assert torch.isfinite(gradient).all()
    step = 1e-7
    # each as sound 0, for its noise
    moved = raw.detach() + step * torch.eye(raw.shape[1], dtype=torch.float64)
    back = raw.detach() - step * torch.eye(raw.shape[1], dtype=torch.float64)
    differences = torch.stack(
        [
            ((voice.render(a[None]) - voice.render(b[None]))[0] @ weights) / (2 * step)
            for a, b in zip(moved, back, strict=True)
        ]
    )
    torch.testing.assert_close(gradient[0], differences, rtol=1e-3, atol=1e-3)
    assert (gradient != 0).sum() > 60


def test_gradients_are_finite_over_the_whole_panel(voice: Voice) -> None:
    raw = torch.cat([voice.draw(0, 64), torch.full((1, len(voice.panel)), 0.5)]).double().requires_grad_()
    voice.render(raw).square().sum().backward()
    assert raw.grad is not None and torch.isfinite(raw.grad).all()
