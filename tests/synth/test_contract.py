"""The contract of synths, for each of them."""

from importlib.util import find_spec

import pytest

from nebula_tune.synth import ARCHITECTURES, FM, Voice, architecture
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


class TestVital(SynthContract):
    @pytest.fixture(scope="class")
    @classmethod
    def kind(cls):
        if find_spec("vita") is None:
            pytest.skip("needs vita")
        return architecture("vital")


def test_every_synth_is_under_contract():
    assert len(under(SynthContract)) == len(ARCHITECTURES)
