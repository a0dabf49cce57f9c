"""The synthesizer Vital, by the package vita (GPL-3, an extra), in processes of its own: it is never imported here."""

from __future__ import annotations

from nebula_tune.synth.vital.vital_synth import Vital

__all__ = ["Vital"]
