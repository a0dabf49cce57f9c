"""Instruments whose presets are swept for ranked data sets, by name."""

from __future__ import annotations

from pathlib import Path

from nebula_tune.additions import class_at
from nebula_tune.errors import SettingsError
from nebula_tune.ranking.instruments.instrument import RANKS, Instrument

# name: where its class is.
INSTRUMENTS = {
    "voice": "nebula_tune.ranking.instruments.own_voice:VoiceInstrument",
    "dx7": "nebula_tune.ranking.instruments.dx7:DX7",
    "amsynth": "nebula_tune.ranking.instruments.amsynth:AmSynth",
}
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
    instrument: Instrument = class_at(INSTRUMENTS[name])(**given)
    return instrument


__all__ = ["INSTRUMENTS", "RANKS", "USUAL", "Instrument", "make_instrument"]
