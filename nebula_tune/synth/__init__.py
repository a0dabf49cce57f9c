"""The instrument: raw parameters and a nebula in, audio out."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from nebula_tune.additions import added, class_at, load_added
from nebula_tune.errors import SettingsError
from nebula_tune.synth.architecture import Synth
from nebula_tune.synth.fm import FM
from nebula_tune.synth.voice import Voice

# name: where its class is.
ARCHITECTURES = {
    "voice": "nebula_tune.synth.voice:Voice",
    "fm": "nebula_tune.synth.fm:FM",
}


def other_synths() -> dict[str, EntryPoint]:
    """Synths of other packages, by name."""
    return added("synth", ARCHITECTURES)


def architecture(name: str) -> type[Synth]:
    """The synth architecture of that name; raises SettingsError listing the known ones."""
    if name in ARCHITECTURES:
        known: type[Synth] = class_at(ARCHITECTURES[name])
        return known
    others = other_synths()
    if name in others:
        another: type[Synth] = load_added("synth", others[name], Synth)
        return another
    raise SettingsError(f"no synth {name!r}; known: {', '.join([*ARCHITECTURES, *others])}")


__all__ = ["ARCHITECTURES", "FM", "Synth", "Voice", "architecture", "other_synths"]
