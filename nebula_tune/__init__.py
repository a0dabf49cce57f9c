"""nebula-tune: tune a synthesizer's nebula to a folder of sounds.

``Nebula``, ``Constellation``, ``Voice``, ``match`` and ``tune`` are loaded on first use, so that importing the package
stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nebula_tune.constellation import Constellation
    from nebula_tune.matching.match import match
    from nebula_tune.nebula import Nebula
    from nebula_tune.synth.voice import Voice
    from nebula_tune.tuning.tune import tune

__version__ = "0.1.0"
__all__ = ["Constellation", "Nebula", "Voice", "__version__", "match", "tune"]

_HOMES = {
    "Constellation": "nebula_tune.constellation",
    "Nebula": "nebula_tune.nebula",
    "Voice": "nebula_tune.synth.voice",
    "match": "nebula_tune.matching.match",
    "tune": "nebula_tune.tuning.tune",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nebula_tune' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
