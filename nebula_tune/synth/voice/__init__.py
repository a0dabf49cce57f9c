"""The Voice (the paper, section 3.2): its parameters, its patch in plain torch, and renderers made for one hardware."""

from __future__ import annotations

from nebula_tune.synth.voice.patch import Voice

__all__ = ["Voice"]
