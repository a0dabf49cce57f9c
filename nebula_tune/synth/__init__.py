"""The instrument: raw parameters and a nebula in, audio out."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from nebula_tune.additions import added, class_at, load_added
from nebula_tune.errors import SettingsError
from nebula_tune.synth.architecture import Synth
from nebula_tune.synth.fm import FM
from nebula_tune.synth.named_panel import NamedPanel
from nebula_tune.synth.voice import Voice

# name: where its class is.
ARCHITECTURES = {
    "voice": "nebula_tune.synth.voice:Voice",
    "fm": "nebula_tune.synth.fm:FM",
    "vital": "nebula_tune.synth.vital:Vital",
    "dx7": "nebula_tune.synth.dx7_synth:DX7",
}


def other_synths() -> dict[str, EntryPoint]:
    """Synths of other packages, by name."""
    return added("synth", ARCHITECTURES)


def architecture(name: str, panel: NamedPanel | str | None = None) -> type[Synth]:
    """The synth architecture of that name, under a panel where it has panels that users write.

    Args:
        name: as ``--synth`` takes it.
        panel: a panel's name or file, or one that is kept; None: the synth's own.

    Raises:
        SettingsError: for an unknown synth, listing the known ones, or a panel that cannot be used.
    """
    kind = _class_of(name)
    return kind.under(panel if isinstance(panel, NamedPanel) else kind.written_panel(panel))


def panel_of(name: str, panel: str | None) -> NamedPanel | None:
    """The panel that a study keeps: that of a name or file; None of a synth that has but its own. Raises SettingsError.

    ``name`` is the synth's, ``panel`` as ``--panel`` takes it.
    """
    return _class_of(name).written_panel(panel)


def study_of(name: str) -> str | None:
    """The study that ``auto`` stands for with the synth of that name; None: as with the Voice. Raises SettingsError."""
    return _class_of(name).study


def _class_of(name: str) -> type[Synth]:
    if name in ARCHITECTURES:
        known: type[Synth] = class_at(ARCHITECTURES[name])
        return known
    others = other_synths()
    if name in others:
        another: type[Synth] = load_added("synth", others[name], Synth)
        return another
    raise SettingsError(f"no synth {name!r}; known: {', '.join([*ARCHITECTURES, *others])}")


__all__ = [
    "ARCHITECTURES",
    "FM",
    "NamedPanel",
    "Synth",
    "Voice",
    "architecture",
    "other_synths",
    "panel_of",
    "study_of",
]
