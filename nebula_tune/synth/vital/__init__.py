"""The synthesizer Vital, by the package vita (GPL-3, an extra), which is imported only where a Vital is asked for."""

from __future__ import annotations

from nebula_tune.synth.vital.vital_synth import Vital

__all__ = ["Vital"]
