"""Make examples/sounds: twelve sounds in a row of the start, the hand-made drum and a tuned nebula, the same draws.

python benchmarks/examples.py nebulae/drums.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from nebula_tune.corpus.source import Source
from nebula_tune.listening.sounds import encode, ready
from nebula_tune.synth import Voice
from nebula_tune.synth.indices import Purpose, first_index

SOUNDS, RATE, SECONDS = 12, 44100, 1.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tuned", help="nebula file")
    parser.add_argument("--out", type=Path, default=Path("examples/sounds"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    first = first_index(Purpose.LISTENING, 0)
    for name, text in (("default", "default"), ("drum", "drum"), ("tuned", arguments.tuned)):
        source = Source.parse(text)
        sounds = source.sounds(source.names(SOUNDS, first), Voice, RATE, SECONDS)
        row = np.concatenate([ready(sound.audio, RATE, SECONDS) for sound in sounds])
        path = arguments.out / f"{name}.mp3"
        path.write_bytes(encode([row], RATE, 0.8)[0])
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
