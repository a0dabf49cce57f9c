"""The contract of synths, for each of them."""

from importlib.util import find_spec

import pytest

from nebula_tune.synth import ARCHITECTURES
from nebula_tune.testing import SynthContract
from tests.contracts import under


class TestVoice(SynthContract):
    name = "voice"


class TestFM(SynthContract):
    name = "fm"


@pytest.mark.skipif(find_spec("vita") is None, reason="needs vita")
class TestVital(SynthContract):
    name = "vital"


@pytest.mark.skipif(find_spec("dexed") is None, reason="needs dexed-py")
class TestDX7(SynthContract):
    name = "dx7"


def test_every_synth_is_under_contract():
    assert {kind.name for kind in under(SynthContract, "synth")} == set(ARCHITECTURES)
