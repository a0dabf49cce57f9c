"""From raw draws to human values and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nebula_tune.errors import NebulaError
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Voice
from nebula_tune.synth.parameters import to_unit
from tests.synth import torchsynth_peer
from tests.synth.sounds import nebula

PANEL = Voice.panel

# a draw is a multiple of 2^-24
draws = st.lists(st.integers(0, 2**24 - 1).map(lambda k: k / 2**24), min_size=78, max_size=78)
curves = st.lists(st.floats(-3, 3).map(np.exp2), min_size=78, max_size=78)
flags = st.lists(st.booleans(), min_size=78, max_size=78)


def tensors(raw: list[float], curves: list[float], flags: list[bool]) -> tuple[torch.Tensor, ...]:
    return torch.tensor([raw], dtype=torch.float32), torch.tensor(curves, dtype=torch.float64), torch.tensor(flags)


@settings(max_examples=60, deadline=None)
@given(draws, curves, flags)
def test_raw_survives_the_round_trip(raw: list[float], curves: list[float], flags: list[bool]) -> None:
    u, c, s = tensors(raw, curves, flags)
    back = PANEL.to_raw(PANEL.to_human(u, c, s), c, s)
    # A value is rounded to some 4e-15 of its range; |(x + e)^c - x^c| is at most e^c, or c e where c > 1.
    rounding = 4e-15
    assert ((back - u).abs() <= torch.where(c < 1, rounding**c, c * rounding)).all()


@settings(max_examples=60, deadline=None)
@given(draws, curves, flags)
def test_human_values_are_in_range_and_rise_with_the_draw(
    raw: list[float], curves: list[float], flags: list[bool]
) -> None:
    u, c, s = tensors(sorted(raw), curves, flags)
    human = PANEL.to_human(u, c, s)[0].numpy()
    minimum = np.array([p.minimum for p in PANEL.parameters])
    maximum = np.array([p.maximum for p in PANEL.parameters])
    assert (human >= minimum).all() and (human <= maximum).all()
    higher = PANEL.to_human((u + 2**-10).clamp(max=1), c, s)[0].numpy()
    assert (higher >= human).all()


@pytest.mark.parametrize("name", ["default", "drum", "random-5"])
def test_human_values_are_torchsynths(name: str) -> None:
    peer = torchsynth_peer.voice(seconds=0.1)
    curve, symmetric = PANEL.arrays(nebula(name))
    raw = Voice(seconds=0.1).draw(64, 32)
    human = PANEL.to_human(raw, torch.from_numpy(curve), torch.from_numpy(symmetric)).numpy()
    for k, parameter in enumerate(PANEL.parameters):
        scale = getattr(peer, parameter.module).get_parameter(parameter.name).parameter_range
        assert (scale.minimum, scale.maximum) == pytest.approx((parameter.minimum, parameter.maximum))
        scale.curve, scale.symmetric = curve[k], bool(symmetric[k])
        width = parameter.maximum - parameter.minimum
        np.testing.assert_allclose(human[:, k], scale.from_0to1(raw[:, k]).numpy(), atol=2e-6 * width)


def test_a_symmetric_curve_of_1_covers_the_whole_range() -> None:
    u = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0]], dtype=torch.float64)
    ones, yes = torch.ones(5, dtype=torch.float64), torch.ones(5, dtype=torch.bool)
    assert torch.equal(to_unit(u, ones, yes), u)


def test_a_short_release_vanishes_where_it_does_in_torchsynth() -> None:
    # 0.3 to the power of 100 is less than float32 can hold; 0.5 to the power of 100 is not
    u = torch.tensor([[0.3, 0.5]])
    unit = to_unit(u, torch.full((2,), 0.01, dtype=torch.float64), torch.zeros(2, dtype=torch.bool))
    assert unit[0, 0] == 0 and unit[0, 1] > 0


@pytest.mark.parametrize("each_its_own", [False, True])
def test_values_are_the_same_bits_in_every_batch(each_its_own: bool) -> None:
    curve, symmetric = PANEL.arrays(nebula("random-1"))
    raw = Voice(seconds=0.1).draw(0, 40)
    c, s = torch.from_numpy(curve), torch.from_numpy(symmetric)
    if each_its_own:
        c, s = c.expand(40, -1) * torch.linspace(0.5, 2, 40, dtype=torch.float64)[:, None], s.expand(40, -1)
    else:
        c, s = c.expand(40, -1), s.expand(40, -1)
    whole = PANEL.to_human(raw, c, s)
    for first, last in [(0, 1), (1, 4), (3, 40), (17, 18), (39, 40)]:
        part = PANEL.to_human(raw[first:last], c[first:last], s[first:last])
        assert torch.equal(part, whole[first:last])


def test_gradients_flow_to_the_curves() -> None:
    curve, symmetric = PANEL.arrays(nebula("drum"))
    c = torch.from_numpy(curve).requires_grad_()
    PANEL.to_human(Voice(seconds=0.1).draw(0, 8), c, torch.from_numpy(symmetric)).sum().backward()
    assert c.grad is not None and torch.isfinite(c.grad).all() and (c.grad != 0).all()


def test_a_nebula_for_another_synth_is_refused() -> None:
    with pytest.raises(NebulaError, match=r"fm\.index"):
        PANEL.complete(Nebula({"fm.index": 2.0}))


def test_a_partial_nebula_keeps_the_defaults_elsewhere() -> None:
    full = PANEL.complete(Nebula({"lfo_1.sin": 3.0}, {"mixer.noise": True}))
    assert list(full.curves) == list(PANEL.names) == list(full.symmetric)
    assert full.curves["lfo_1.sin"] == 3 and not full.symmetric["lfo_1.sin"]
    assert full.symmetric["mixer.noise"] and full.curves["mixer.noise"] == 0.025


def test_panel_agrees_with_the_shipped_default_nebula() -> None:
    assert PANEL.complete(Nebula.load("default")) == PANEL.default_nebula
