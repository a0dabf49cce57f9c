"""A panel of Vital's as a YAML file: which controls a nebula draws, which are fixed, and what moves what."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from nebula_tune.documents import InvalidError, Place, UnreadableError, read_yaml
from nebula_tune.errors import SettingsError, shortened
from nebula_tune.files import PACKAGE
from nebula_tune.strict import Positive, Strict, first_problem
from nebula_tune.synth.named_panel import NamedPanel
from nebula_tune.synth.parameters import Parameter
from nebula_tune.synth.vital.controls import VitalControl, modulators, movable, vital_controls

SHIPPED = PACKAGE / "synth" / "panels"
DEFAULT = "vital-drum"
ROUTES = 64  # of Vital's
ON = 0.5  # the switch's value from which it is on
MODULE = re.compile(r"((?:osc|env|lfo|filter|modulation|macro_control)_(?:\d+|fx)|[a-z]+)_(.+)")
# What gives a sound other bits each time it is played: nothing of a panel may use it.
RANDOM_SOURCES = re.compile(r"random.*")
RANDOM_CONTROLS = re.compile(r".*_random_phase|random_.*")
KEYBOARD_CONTROL = "voice_tune"  # plays what a note has between two keys


class FreeRange(Strict):
    """What is drawn: its range in human units, and the curve and symmetry that the start nebula has."""

    range: tuple[float, float]
    curve: Positive = 1.0
    symmetric: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> FreeRange:
        if not (self.range[0] < self.range[1] and all(map(math.isfinite, self.range))):
            raise ValueError("range is [lowest, highest], lowest first")
        return self


def _as_range(value: Any) -> Any:
    """A list alone is a range; a list is no tuple to a strict model, once it was looked at here."""
    named = {"range": value} if isinstance(value, list) else value
    if isinstance(named, dict) and isinstance(named.get("range"), list):
        return named | {"range": tuple(named["range"])}
    return named


Free = Annotated[FreeRange, BeforeValidator(_as_range)]
Chance = Annotated[float, Field(gt=0, lt=1)]


class Route(Strict):
    """Something that moves a control. ``amount`` is the share of the control's whole range, -1 to 1, or is drawn."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)
    source: str = Field(alias="from")
    to: str
    amount: float | Free
    bipolar: bool = False

    @property
    def parameter(self) -> str:
        """The name of its amount, where that is drawn."""
        return f"{self.source}.to_{self.to}"


class Keys(Strict):
    """The note: its pitch (a MIDI note, any fraction), velocity (0 to 1), and how long it is held, in seconds."""

    midi_f0: Free = FreeRange(range=(24.0, 96.0))
    velocity: Free = FreeRange(range=(0.5, 1.0))
    duration: Free = FreeRange(range=(0.02, 2.0), curve=0.5)


class PanelFile(Strict):
    """A whole panel."""

    synth: Literal["vital"] = "vital"
    wavetables: dict[Literal["osc_1", "osc_2", "osc_3"], Literal["init", "shapes"]] = Field(default_factory=dict)
    fixed: dict[str, float | bool | str] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    keyboard: Keys = Keys()
    free: dict[str, Free] = Field(default_factory=dict)
    switches: dict[str, Chance] = Field(default_factory=dict)

    def parameters(self) -> dict[str, list[Parameter]]:
        """The parameters of its nebulae, by module."""
        modules: dict[str, list[Parameter]] = {}
        for name, drawn, unit in self._drawn():
            module, _, knob = name.partition(".")
            low, high = drawn.range
            modules.setdefault(module, []).append(Parameter(knob, low, high, drawn.curve, drawn.symmetric, unit=unit))
        return modules

    def _drawn(self) -> Iterator[tuple[str, FreeRange, str]]:
        """Name, range and unit of all that is drawn, in order."""
        controls = vital_controls()
        yield "keyboard.midi_f0", self.keyboard.midi_f0, "MIDI note"
        yield "keyboard.velocity", self.keyboard.velocity, ""
        yield "keyboard.duration", self.keyboard.duration, "s"
        for name, drawn in self.free.items():
            yield dotted(name), drawn, controls[name].unit
        for route in self.routes:
            if isinstance(route.amount, FreeRange):
                yield route.parameter, route.amount, "of the range"
        for name, chance in self.switches.items():
            curve = -math.log2(1 - chance)  # under which a uniform draw to the power of 1 / curve is above ON so often
            yield dotted(name), FreeRange(range=(0.0, 1.0), curve=curve), f"on from {ON:g}"


def dotted(control: str) -> str:
    """A control's name as a parameter's: ``osc_1_level`` is ``osc_1.level``."""
    parts = MODULE.fullmatch(control)
    return f"{parts[1]}.{parts[2]}" if parts else f"main.{control}"


def load_panel(source: str) -> NamedPanel:
    """A panel by its file, or a shipped one by name. Raises SettingsError naming file, line and key.

    An existing file wins over a name.
    """
    path = Path(source)
    if not path.is_file() and "/" not in source:
        path = SHIPPED / f"{source}.yaml"
    if not path.is_file():
        raise SettingsError(f"no panel {source!r}: neither a file nor a shipped panel ({', '.join(shipped_panels())})")
    try:
        data, lines = read_yaml(path)
    except InvalidError as error:
        raise SettingsError(f"{path}: {error}") from error
    except UnreadableError as error:
        raise SettingsError(f"cannot read panel {path}: {error}") from error
    try:
        written = PanelFile.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise SettingsError(f"{path}{first_problem(error, lines)}") from None
    for place, problem in problems(written):
        raise SettingsError(f"{path}:{_line(place, lines)}: {'.'.join(map(str, place))}: {problem}")
    return NamedPanel(path.stem, json.dumps(written.model_dump(mode="json", by_alias=True)))


def read_panel(panel: NamedPanel) -> PanelFile:
    """The panel that a study keeps. Raises SettingsError for one that this vita cannot play."""
    try:
        written = PanelFile.model_validate_json(panel.content)
    except ValidationError as error:
        raise SettingsError(f"panel {panel.name}{first_problem(error, {})}") from None
    for place, problem in problems(written):
        raise SettingsError(f"panel {panel.name}: {'.'.join(map(str, place))}: {problem}")
    return written


def shipped_panels() -> list[str]:
    """Names of the panels that come with nebula-tune."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def problems(written: PanelFile) -> Iterator[tuple[Place, str]]:
    """What is wrong with a panel, with the place of each: what this Vital has not, and what is set twice."""
    controls, places = vital_controls(), set[str]()
    for group, names in (("fixed", written.fixed), ("free", written.free), ("switches", written.switches)):
        for name, value in names.items():
            place: Place = (group, name)
            if name not in controls:
                yield place, f"Vital has no control {shortened(name)}"
            elif name in places:
                yield place, "it is set twice: a control is fixed, free or a switch"
            elif name == KEYBOARD_CONTROL or name.startswith("modulation_"):
                yield place, "it is not a panel's: the keyboard and the routes set it"
            elif RANDOM_CONTROLS.fullmatch(name):
                yield place, "it is random each time: a sound must be the same every time"
            else:
                check = _no_switch if group == "switches" else _misfits
                yield from ((place, problem) for problem in check(controls[name], value))
            places.add(name)
    yield from _of_keyboard(written.keyboard)
    yield from _of_routes(written)


def _no_switch(control: VitalControl, _: Any) -> Iterator[str]:
    """Whether a control is no switch, in words."""
    if control.options != ("Off", "On"):
        yield "it is no switch; those have the steps Off and On"


def _misfits(control: VitalControl, value: float | bool | str | FreeRange) -> Iterator[str]:
    """What is wrong with a control's value or range."""
    try:
        for each in value.range if isinstance(value, FreeRange) else (value,):
            control.value(each)
    except ValueError as error:
        yield str(error)


def _of_keyboard(keyboard: Keys) -> Iterator[tuple[Place, str]]:
    for name, (low, high) in {"midi_f0": (0, 127), "velocity": (0, 1), "duration": (0.001, 60)}.items():
        drawn = getattr(keyboard, name).range
        if drawn[0] < low or drawn[1] > high:
            yield ("keyboard", name), f"{drawn[0]:g} … {drawn[1]:g} is outside {low:g} … {high:g}"


def _of_routes(written: PanelFile) -> Iterator[tuple[Place, str]]:
    if len(written.routes) > ROUTES:
        yield ("routes",), f"{len(written.routes)} routes; Vital has {ROUTES}"
    seen = set[str]()
    for number, route in enumerate(written.routes):
        place: Place = ("routes", number)
        amounts = route.amount.range if isinstance(route.amount, FreeRange) else (route.amount,)
        if RANDOM_SOURCES.fullmatch(route.source):
            yield (*place, "from"), "it is random each time: a sound must be the same every time"
        elif route.source not in modulators():
            yield (*place, "from"), f"nothing called {shortened(route.source)} moves anything in Vital"
        elif route.to not in movable():
            yield (*place, "to"), f"Vital has no control {shortened(route.to)} that can be moved"
        elif route.parameter in seen:
            yield place, "it is there twice"
        elif not all(-1 <= amount <= 1 for amount in amounts):
            yield (*place, "amount"), "it is a share of the control's range, -1 … 1"
        seen.add(route.parameter)


def _line(place: Place, lines: Mapping[Place, int]) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)
