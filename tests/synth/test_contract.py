"""The contract of synths, for each of them."""

from nebula_tune.synth import ARCHITECTURES
from nebula_tune.testing import SynthContract
from tests.contracts import under


class TestVoice(SynthContract):
    name = "voice"


class TestFM(SynthContract):
    name = "fm"


def test_every_synth_is_under_contract():
    assert {kind.name for kind in under(SynthContract, "synth")} == set(ARCHITECTURES)
