"""Instruments whose presets are swept for ranked data sets, by name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from nebula_tune.errors import SettingsError
from nebula_tune.ranking.instruments.instrument import RANKS, Instrument

INSTRUMENTS = {"voice": "own_voice:VoiceInstrument", "dx7": "dx7:DX7", "amsynth": "amsynth:AmSynth"}
USUAL = {"pitch": "voice", "timbre": "voice", "velocity": "dx7"}  # instrument of each kind, where none is named


def make_instrument(name: str, banks: Path | None = None, parameter: str | None = None) -> Instrument:
    """The instrument of that name. Raises SettingsError for an unknown one, an option it has not, or what it lacks."""
    if name not in INSTRUMENTS:
        raise SettingsError(f"no instrument {name!r}; known: {', '.join(INSTRUMENTS)}")
    options = {"banks": banks, "parameter": parameter}
    given = {key: value for key, value in options.items() if value is not None}
    fitting = "parameter" if name == "voice" else "banks"
    if set(given) - {fitting}:
        raise SettingsError(f"{name} takes no --{next(iter(set(given) - {fitting}))}")
    module, _, attribute = INSTRUMENTS[name].partition(":")
    factory = getattr(import_module(f"nebula_tune.ranking.instruments.{module}"), attribute)
    instrument: Instrument = factory(**given)
    return instrument


__all__ = ["INSTRUMENTS", "RANKS", "USUAL", "Instrument", "make_instrument"]
