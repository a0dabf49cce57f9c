"""What guards count, from knobs and audio of known sounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nebula_tune.cli import console
from nebula_tune.penalties import SHARES, penalties
from nebula_tune.study.settings import GuardSettings
from nebula_tune.synth import FM, Synth, Voice

pytestmark = pytest.mark.usefixtures("one_thread")


def human(synth: type[Synth], **knobs: float) -> torch.Tensor:
    """One sound: knobs as given (``module__name``), matrix and mixer shut, all else in the middle."""
    values = torch.tensor([[(p.minimum + p.maximum) / 2 for p in synth.panel.parameters]], dtype=torch.float64)
    for k, parameter in enumerate(synth.panel.parameters):
        if parameter.module in ("mod_matrix", "mixer") or parameter.name == "mod_depth":
            values[0, k] = 0
        name = parameter.full_name.replace(".", "__").replace("->", "_to_")
        values[0, k] = knobs.pop(name, values[0, k])
    assert not knobs
    return values


def counted(synth: type[Synth], audio: torch.Tensor, **knobs: float) -> dict[str, float]:
    found = penalties(synth, audio, human(synth, **knobs))
    assert found.shape == (1, len(SHARES)) and found.dtype == np.float64
    return dict(zip(SHARES, found[0].tolist(), strict=True))


QUIET = torch.full((1, 100), 0.5)
ONE_VCO = {"mixer__vco_1": 1.0, "mod_matrix__adsr_1_to_vco_1_amp": 1.0}


@pytest.mark.parametrize(
    ("level", "silent", "clipped"), [(0.0, 1, 0), (9e-5, 1, 0), (0.1, 0, 0), (0.999, 0, 0), (1.0, 0, 1)]
)
def test_silent_and_clipped_are_heard(level: float, silent: int, clipped: int) -> None:
    found = counted(Voice, torch.tensor([[0.0, -level, level / 2]]))
    assert (found["silent"], found["clipped"]) == (silent, clipped)


@pytest.mark.parametrize(
    ("f0", "tuning", "low", "high"), [(60, 0, 0, 0), (24, 0, 0, 0), (30, -7, 1, 0), (100, 9, 0, 1), (20, 5, 0, 0)]
)
def test_pitch_is_the_oscillators_after_keyboard_and_tuning(f0: float, tuning: float, low: int, high: int) -> None:
    found = counted(Voice, QUIET, keyboard__midi_f0=f0, vco_1__tuning=tuning, vco_2__tuning=0, **ONE_VCO)
    assert (found["under_midi_24"], found["over_midi_108"]) == (low, high)


def test_an_oscillator_counts_by_its_share_of_the_level() -> None:
    knobs = {"keyboard__midi_f0": 10.0, "vco_1__tuning": 0.0, "vco_2__tuning": 24.0, "mixer__vco_1": 0.5}
    knobs |= {"mod_matrix__adsr_1_to_vco_1_amp": 0.5, "mod_matrix__lfo_2_to_vco_1_amp": 0.5}
    assert counted(Voice, QUIET, **knobs)["under_midi_24"] == 1
    with_other = knobs | {"mixer__vco_2": 1.0, "mod_matrix__adsr_2_to_vco_2_amp": 0.5}
    assert counted(Voice, QUIET, **with_other)["under_midi_24"] == pytest.approx(0.5)
    with_noise = with_other | {"mixer__noise": 1.0, "mod_matrix__adsr_1_to_noise_amp": 1.0}
    assert counted(Voice, QUIET, **with_noise)["under_midi_24"] == pytest.approx(0.25)
    assert counted(Voice, QUIET, keyboard__midi_f0=10.0)["under_midi_24"] == 0, "a sound whose channels are all shut"


@pytest.mark.parametrize(
    ("depth", "way", "f0", "wide"),
    [(96, 0.5, 40, 1), (-96, 0.3, 60, 1), (96, 0.2, 40, 0), (96, 0, 40, 0), (24, 1, 40, 0), (96, 1, 110, 0)],
)
def test_a_sweep_is_how_far_the_pitch_can_move(depth: float, way: float, f0: float, wide: int) -> None:
    knobs = ONE_VCO | {"keyboard__midi_f0": f0, "vco_1__tuning": 0.0, "vco_1__mod_depth": depth}
    assert counted(Voice, QUIET, **knobs, mod_matrix__lfo_1_to_vco_1_pitch=way)["wide_sweep"] == wide


def test_tables_tell_every_share() -> None:
    assert tuple(console.SHARES) == SHARES
    assert set(GuardSettings().shares) == set(SHARES)


def test_the_other_synth_tells_its_pitches_too() -> None:
    knobs = {f"operator_{k}__detune": 0.0 for k in (1, 2, 3, 4)} | {"operator_1__ratio": 1.0, "pitch__depth": -30.0}
    shut = dict.fromkeys(("pair_on_stack", "branches", "two_stacks", "one_on_three", "additive"), 0.0)
    knobs |= {"algorithm__stack": 1.0} | {f"algorithm__{name}": level for name, level in shut.items()}
    found = counted(FM, QUIET, keyboard__midi_f0=20.0, **knobs)
    assert found["under_midi_24"] == pytest.approx(1) and found["wide_sweep"] == 0, "it cannot fall below 0"
    found = counted(FM, QUIET, keyboard__midi_f0=60.0, **knobs)
    assert found["under_midi_24"] == 0 and found["wide_sweep"] == pytest.approx(1)
    octave_up = knobs | {"operator_1__ratio": 2.0}
    assert counted(FM, QUIET, keyboard__midi_f0=100.0, **octave_up)["over_midi_108"] == pytest.approx(1)
