"""What nebula-tune asks of an embedding, asked of this one; in a package of its own: `pytest test_envelope.py`."""

from nebula_tune.testing import EmbeddingContract


class TestEnvelope(EmbeddingContract):
    """All tests of the contract."""

    name = "envelope"
    shape = (1, 16)
