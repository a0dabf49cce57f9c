"""The contract of synths, for each of them."""

import pytest

from nebula_tune.synth import ARCHITECTURES, FM, Voice
from tests.contracts import under
from tests.synth.contract import SynthContract


class TestVoice(SynthContract):
    @pytest.fixture(scope="class")
    @classmethod
    def kind(cls):
        return Voice


class TestFM(SynthContract):
    @pytest.fixture(scope="class")
    @classmethod
    def kind(cls):
        return FM


def test_every_synth_is_under_contract():
    assert len(under(SynthContract)) == len(ARCHITECTURES)
