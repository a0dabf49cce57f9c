"""A program of its own: plays presets of Vital's, each with a copy of one instrument that has played nothing yet.

Vital goes on after a sound: its effects ring, its phases and smoothed values stay where they were, and no call puts
them back to the bit. A new instrument is a fresh one, and takes four times as long to make as a second of sound. A
copy of this process (fork) is the same at a fraction of that. Besides, vita switches its process to arithmetic without
subnormal numbers, which must not happen to ours.

It imports nothing of nebula-tune, so that there is little to copy. On stdin comes, sound by sound, a line of JSON
(``size`` of the preset in bytes, ``key``, ``velocity``, ``held`` and ``seconds``) and then the preset; on stdout goes
the number of bytes (eight of them, little-endian) and the audio, (2, samples) float32. A line with ``size`` alone
brings a preset for all sounds that follow: those of one panel share their wavetables, which take longer to load than a
second takes to play, and leave them out of their own presets. A line without ``size`` asks for the description of the
instrument, which comes in the same way as audio does, as JSON. It ends when stdin does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

FORKS = hasattr(os, "fork")
BROKEN = 3  # exit status where a preset cannot be read


def main() -> None:
    """Answer until stdin ends; end with another status than 0 where Vital itself ends."""
    import numpy  # noqa: F401  # else each copy would, which takes longer than to play
    from vita import Synth

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked decides
    out = os.dup(1)
    os.dup2(2, 1)  # nothing that Vital prints gets among the samples
    copied = FORKS and "--new" not in sys.argv
    synth, shared = Synth(), ""
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        if "size" not in asked:
            send(out, json.dumps(description()).encode())
            continue
        preset = sys.stdin.buffer.read(asked["size"]).decode()
        if "key" not in asked:
            shared, synth = preset, loaded(Synth(), preset)
        elif not copied:
            send(out, played(loaded(Synth(), shared), preset, asked))
        elif child := os.fork():
            if os.waitpid(child, 0)[1]:
                os._exit(1)
        else:
            send(out, played(synth, preset, asked))
            os._exit(0)


def loaded(synth: Any, preset: str) -> Any:
    """The instrument with that preset."""
    if not synth.load_json(preset):
        os._exit(BROKEN)
    return synth


def played(synth: Any, preset: str, asked: Any) -> bytes:
    """The samples of a preset."""
    import numpy

    audio = loaded(synth, preset).render(asked["key"], asked["velocity"], asked["held"], asked["seconds"])
    return numpy.ascontiguousarray(audio, dtype="<f4").tobytes()


def description() -> Any:
    """What Vital says of itself."""
    import vita

    synth = vita.Synth()
    details = {name: synth.get_control_details(name) for name in sorted(synth.get_controls())}
    controls = {
        name: {
            "low": said.min,
            "high": said.max,
            "default": said.default_value,
            "scale": str(said.scale).rpartition(".")[2],
            "multiply": said.display_multiply,
            "offset": said.post_offset,
            "unit": said.display_units.strip(),
            "options": list(said.options),
            "discrete": said.is_discrete,
        }
        for name, said in details.items()
    }
    return {
        "version": vita.__version__,
        "controls": controls,
        "sources": vita.get_modulation_sources(),
        "destinations": vita.get_modulation_destinations(),
        "preset": synth.to_json(),
    }


def send(out: int, content: bytes) -> None:
    """Write an answer, all of it."""
    whole = memoryview(len(content).to_bytes(8, "little") + content)
    while whole:
        whole = whole[os.write(out, whole) :]


if __name__ == "__main__":
    main()
