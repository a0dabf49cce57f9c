"""The FM synth: what its knobs do, and that it is a synth like any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nebula_tune.synth import FM, architecture
from nebula_tune.synth.fm import ALGORITHMS, DEPTH

RATE, SECONDS = 16000, 0.5


@pytest.fixture(scope="module")
def fm() -> FM:
    return FM(batch_size=8, sample_rate=RATE, seconds=SECONDS, dtype=torch.float64)


def patch(fm: FM, **knobs: float) -> torch.Tensor:
    """A note of A4 held all through, nothing else sounding but what ``knobs`` (module__knob) say."""
    human = torch.zeros(1, len(fm.panel), dtype=torch.float64)
    values = {"keyboard__midi_f0": 69.0, "keyboard__duration": 4.0}
    for number in (1, 2, 3, 4):
        values |= {f"operator_{number}__{k}": v for k, v in {"ratio": 1, "sustain": 1, "alpha": 1}.items()}
    for name, value in (values | knobs).items():
        human[0, fm.panel.index[name.replace("__", ".")]] = value
    return fm.render_human(human)[0]


def sine(turns_a_second: float, modulation: np.ndarray | float = 0.0) -> np.ndarray:
    n = np.arange(1, round(RATE * SECONDS) + 1)
    return np.sin(2 * np.pi * turns_a_second * n / RATE + modulation)


def test_one_operator_is_a_sine(fm: FM) -> None:
    audio = patch(fm, operator_1__level=0.5, algorithm__stack=1)
    np.testing.assert_allclose(audio, 0.5 * sine(440), atol=1e-9)


def test_a_modulator_moves_the_phase_of_the_next(fm: FM) -> None:
    audio = patch(fm, operator_1__level=1, operator_2__level=0.5, operator_2__ratio=2, algorithm__stack=1)
    np.testing.assert_allclose(audio, sine(440, DEPTH * 0.5 * sine(880)), atol=1e-9)


def test_additive_carriers_share_the_loudness(fm: FM) -> None:
    levels = {f"operator_{n}__level": 1.0 for n in (1, 2, 3, 4)}
    audio = patch(fm, operator_3__ratio=3, algorithm__additive=1, **levels)
    np.testing.assert_allclose(audio, 0.75 * sine(440) + 0.25 * sine(1320), atol=1e-9)


def test_a_large_weight_leaves_the_other_algorithms_little(fm: FM) -> None:
    settings = {"operator_1__level": 1.0, "operator_2__level": 0.5}
    hard = patch(fm, algorithm__stack=1, **settings)
    soft = patch(fm, algorithm__stack=1, algorithm__additive=0.4, **settings)
    assert 0 < (hard - soft).abs().max() < 0.05


def test_feedback_adds_partials(fm: FM) -> None:
    plain, fed = (patch(fm, operator_4__level=1, algorithm__additive=1, feedback__amount=a) for a in (0, 1))
    partials = torch.fft.rfft(fed).abs()[:: round(440 * SECONDS)]
    assert (fed - plain).abs().max() > 0.05
    assert partials[1] > partials[2] > 0.05 * partials[1] and partials[3] > 0.01 * partials[1]


def test_an_operator_above_half_the_sample_rate_is_silent(fm: FM) -> None:
    assert not patch(fm, keyboard__midi_f0=120, operator_1__level=1, operator_1__ratio=1, algorithm__stack=1).any()


def test_wirings_name_operators_that_can_be_wired() -> None:
    for wires, carriers in ALGORITHMS.values():
        assert carriers and all(1 <= low < high <= 4 for high, low in wires)
        for operator in (1, 2, 3, 4):  # nobody plays for nothing
            assert operator in carriers or any(high == operator for high, _ in wires)


def test_it_is_a_synth_with_a_nebula_of_its_own() -> None:
    assert architecture("fm") is FM
    small, large = FM(batch_size=4, sample_rate=RATE, seconds=0.3), FM(batch_size=8, sample_rate=RATE, seconds=0.3)
    assert small.nebula == FM.panel.default_nebula and small.backend == "reference"
    audio, raw, _ = large(0)
    assert audio.shape == (8, 4800) and raw.shape == (8, len(FM.panel)) and audio.dtype == torch.float32
    assert torch.isfinite(audio).all() and audio.abs().max() <= 1 and (audio.abs().amax(dim=1) > 1e-3).sum() >= 6
    parts = torch.cat([small(0)[0], small(1)[0]])
    torch.testing.assert_close(parts, audio, rtol=0, atol=1e-3)


def test_gradients_reach_every_knob_that_is_heard() -> None:
    fm = FM(batch_size=4, sample_rate=RATE, seconds=0.2, dtype=torch.float64)
    human = fm.to_human(fm.draw(0, 4)).requires_grad_()
    fm.render_human(human).square().sum().backward()
    assert human.grad is not None and torch.isfinite(human.grad).all()
    assert (human.grad.abs().sum(dim=0) > 0).float().mean() > 0.9
