"""Which key a class of drums is on: General MIDI's percussion key map (General MIDI 1, 1991)."""

from __future__ import annotations

import re
from collections.abc import Iterable

FIRST_KEY, LAST_KEY = 36, 127  # where keys without a name in General MIDI begin, and end
FREE_FROM = 82  # above General MIDI's last drum
HATS = (42, 44, 46)  # closed, pedal, open: one cuts off another

# What is found in a class's name, in lower case without its separators, and its keys: the first that is free is taken.
DRUMS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"sidestick|rimshot|rim|stick", (37,)),
    (r"clap", (39,)),
    (r"kick|bassdrum|^bd|^bass|^kd", (36, 35)),
    (r"snare|^sd|^sn", (38, 40)),
    (r"hat.*open|open.*hat|^oh+$|^ohh|^hho|^hh.*open", (46,)),
    (r"hat.*pedal|pedal.*hat|foot.*hat|^hhp|^hhf|^hh.*(pedal|foot)", (44,)),
    (r"hat|^hh|^ch+$|^chh", (42,)),
    (r"crash", (49, 57)),
    (r"china", (52,)),
    (r"splash", (55,)),
    (r"ride.*bell|bell.*ride", (53,)),
    (r"ride", (51, 59)),
    (r"cymbal|^cy", (57, 49)),
    (r"tom.*(low|lo$|floor|3|4)|(low|lo|floor).*tom|^lt", (41, 43, 45)),
    (r"tom.*(mid|2)|mid.*tom|^mt", (47, 48)),
    (r"tom.*(hi|1)|hi.*tom|^ht", (50, 48)),
    (r"tom", (45, 47, 48, 50, 43, 41)),
    (r"tambourine|tamb", (54,)),
    (r"cowbell|^cb", (56,)),
    (r"bongo", (60, 61)),
    (r"conga", (63, 64, 62)),
    (r"timbale", (65, 66)),
    (r"agogo", (67, 68)),
    (r"cabasa", (69,)),
    (r"maraca|shaker", (70,)),
    (r"whistle", (71, 72)),
    (r"guiro", (73, 74)),
    (r"clave", (75,)),
    (r"woodblock|block", (76, 77)),
    (r"cuica", (78, 79)),
    (r"triangle", (80, 81)),
)


def drum_keys(classes: Iterable[str]) -> dict[str, int]:
    """A key of its own for each class, by its name; classes that General MIDI has no name for come above its drums."""
    keys: dict[str, int] = {}
    others = []
    for name in sorted(classes):
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        wanted = next((drum for pattern, drum in DRUMS if re.search(pattern, plain)), ())
        free = [key for key in wanted if key not in keys.values()]
        if free:
            keys[name] = free[0]
        else:
            others.append(name)
    left = [*range(FREE_FROM, LAST_KEY + 1), *range(FIRST_KEY - 1, -1, -1)]
    keys |= dict(zip(others, left, strict=False))
    return dict(sorted(keys.items(), key=lambda item: item[1]))
