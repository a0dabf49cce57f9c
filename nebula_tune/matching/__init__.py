"""One sound in, presets out: the nearest of a pool of a synth's random sounds, then searched on from there."""

from __future__ import annotations
