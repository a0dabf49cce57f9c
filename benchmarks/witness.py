"""One step size for all? The witness gradient over embeddings, targets, sounds a trial and starts.

    python benchmarks/witness.py run --out results [--jobs 16] [--minutes 9] [--vectors vectors.npz] [--device cuda]
    python benchmarks/witness.py report results

One condition at a time is changed from: logmel, hydrogen's drum kits, 256 sounds a trial, 100 trials, start `default`;
under each, one setting at a time is changed from step 3 and momentum 0.9. Every run is kept as a JSON file, as in
benchmarks/search.py, whose other half this is. The figure is the unbiased held-out l1 MMD as a share of the start's.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from search import TARGETS, Bench, random_nebula, run

from nebula_tune.files import write_atomically
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import StudySettings
from nebula_tune.synth import architecture

SHORT = {"sample_rate": 16000, "seconds": 1.0}  # of embeddings that take long
EMBEDDINGS: dict[str, dict[str, Any]] = {
    "logmel": {"name": "logmel"},
    "mss": {"name": "mss", **SHORT},
    "scattering": {"name": "scattering", **SHORT},
    "aisfx": {"name": "aisfx"},
}
CONDITIONS: list[dict[str, Any]] = [
    {},
    {"target": "drums"},
    {"target": "white-noise"},
    {"target": "recovery"},
    {"target": "kicks"},
    {"sounds": 64},
    {"sounds": 1024},
    {"start": "drum"},
    {"start": "random"},
    {"embedding": "mss", "target": "drums", "sounds": 64},
    {"embedding": "scattering", "target": "drums", "sounds": 64},
    {"embedding": "aisfx", "target": "drums", "sounds": 64},
]
SETTINGS: list[dict[str, Any]] = [
    *({"step": step} for step in (1.5, 3.0, 6.0)),
    {"momentum": 0.8},
    {"momentum": 0.95},
]


@dataclass(frozen=True)
class Try:
    """One witness search."""

    embedding: str = "logmel"
    target: str = "kits"
    sounds: int = 256
    start: str = "default"
    trials: int = 100
    step: float = 3.0
    momentum: float = 0.9
    seed: int = 0

    @property
    def condition(self) -> str:
        return f"{self.embedding}, {self.target}, {self.sounds} sounds, {self.trials} trials, from {self.start}"

    @property
    def setting(self) -> str:
        return f"step {self.step:g}" if self.momentum == 0.9 else f"momentum {self.momentum:g}"

    @property
    def file(self) -> str:
        return ".".join(str(value).replace(".", "_") for value in asdict(self).values()) + ".json"

    @property
    def work(self) -> float:
        """In trials of 256 sounds under logmel."""
        dear = {"logmel": 1, "mss": 6, "scattering": 12, "aisfx": 1}[self.embedding]
        return (self.trials * self.sounds / 256 + 12) * dear


def tries(seeds: int) -> Iterator[Try]:
    for seed in range(seeds):
        for condition in CONDITIONS:
            for setting in SETTINGS:
                yield Try(**condition, **setting, seed=seed)


def work(one: Try, options: argparse.Namespace) -> float:
    """Do one, write its file; returns seconds."""
    import time

    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    start = random_nebula(7) if one.start == "random" else architecture("voice").resolve(one.start)
    phase = {"sampler": "witness", "trials": one.trials, "step": one.step, "momentum": one.momentum, "patience": None}
    settings = StudySettings.model_validate(
        {
            "embedding": EMBEDDINGS[one.embedding],
            "sounds": one.sounds,
            "space": {"curve": (0.003, 50.0)},
            "search": (phase,),
            "reevaluate": {"repeats": 0},
        }
    )
    plan = Plan(settings, "voice", start, (), (), one.seed, "file", 1000)
    vectors = options.vectors if one.embedding == "logmel" else None
    bench = Bench(plan, TARGETS[one.target], vectors, options.device)
    point = list(bench.search())[-1][2]
    rows = {"start": bench.judge(plan.space.start), "tuned": bench.judge(point)}
    seconds = time.monotonic() - began
    found = asdict(one) | {"rows": rows, "seconds": round(seconds, 1)}
    write_atomically(options.out / one.file, (json.dumps(found, indent=1) + "\n").encode())
    return seconds


def report(folder: Path) -> str:
    """Shares of the start's distance that are left: a row a condition, medians over seeds."""
    left: dict[str, dict[str, list[float]]] = {}
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text())
        rows = found.pop("rows")
        one = Try(**{key: value for key, value in found.items() if key != "seconds"})
        share = rows["tuned"]["mmd_unbiased"] / rows["start"]["mmd_unbiased"]
        left.setdefault(one.condition, {}).setdefault(one.setting, []).append(share)
    columns = [replace(Try(), **setting).setting for setting in SETTINGS]
    lines = [f"| condition | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for condition, settings in left.items():
        figures = [f"{median(settings[name]):.3f}" if name in settings else "" for name in columns]
        lines.append(f"| {condition} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing that would end later")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--embeddings", nargs="+", default=list(EMBEDDINGS), choices=EMBEDDINGS)
    parser.add_argument("--vectors", type=Path, help="what `search.py prepare` wrote, where the folders are not")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.command == "report":
        print(report(options.out))
    else:
        run([one for one in tries(options.seeds) if one.embedding in options.embeddings], work, options)


if __name__ == "__main__":
    main()
