"""What embeddings, synths and distances promise, as test classes: nebula-tune's own inherit them, and so may yours.

Needs pytest. A test of an embedding ``mine`` that a package of yours adds::

    from nebula_tune.testing import EmbeddingContract

    class TestMine(EmbeddingContract):
        name = "mine"
        shape = (1, 12)  # frames and dimensions of a sound
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{kind}_contract" for kind in ("embedding", "synth", "distance")))

from nebula_tune.testing.distance_contract import DistanceContract  # noqa: E402  (once pytest knows of its assertions)
from nebula_tune.testing.embedding_contract import EmbeddingContract  # noqa: E402
from nebula_tune.testing.synth_contract import SynthContract  # noqa: E402

__all__ = ["DistanceContract", "EmbeddingContract", "SynthContract"]
