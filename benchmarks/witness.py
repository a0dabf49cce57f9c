"""One step for all? The witness gradient over embeddings, targets, spaces, sounds a trial and starts.

    python benchmarks/witness.py run --out results [--jobs 16] [--minutes 9] [--vectors vectors.npz] [--device cuda]
    python benchmarks/witness.py report --out results

One condition at a time is changed from: logmel, hydrogen's drum kits, the wide space, 256 sounds a trial, 100 trials,
start `default`; under each, one setting at a time is changed from the shipped ones. Every run is kept as a JSON file,
as in benchmarks/search.py, whose other half this is. The figure is the unbiased held-out l1 MMD as a share of the
start's; the last row is the geometric mean of its ratios to the shipped settings, run by run, and its standard error.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from search import SPACES, TARGETS, Bench, random_nebula, run

from nebula_tune.files import write_atomically
from nebula_tune.machine import cores
from nebula_tune.search import Space, Witness
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
    {"space": "paper"},
    {"target": "drums", "space": "paper"},
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
SHIPPED = "as shipped"
SETTINGS: dict[str, dict[str, Any]] = {
    SHIPPED: {},
    "half the step": {"times": 0.5},
    "twice the step": {"times": 2.0},
    "momentum 0.8": {"momentum": 0.8},
    "flags not searched": {"relaxed": 0.0},
    "no curvature, step 6, momentum 0.9": {"curvature": False, "step": 6.0, "momentum": 0.9},
    "the same, step 3, no cooling": {"curvature": False, "step": 3.0, "momentum": 0.9, "cooling": 0.0},
}
TINY = 1e-3  # of the start's distance: below it, shares are equal


@dataclass(frozen=True)
class Try:
    """One witness search."""

    embedding: str = "logmel"
    target: str = "kits"
    space: str = "wide"
    sounds: int = 256
    start: str = "default"
    trials: int = 100
    setting: str = SHIPPED
    seed: int = 0

    @property
    def condition(self) -> str:
        return f"{self.embedding}, {self.target}, {self.space}, {self.sounds} sounds, from {self.start}"

    @property
    def file(self) -> str:
        return ".".join(str(value).replace(".", "_").replace(" ", "-") for value in asdict(self).values()) + ".json"

    @property
    def work(self) -> float:
        """In trials of 256 sounds under logmel."""
        dear = {"logmel": 1, "mss": 6, "scattering": 12, "aisfx": 1}[self.embedding]
        return (self.trials * self.sounds / 256 + 12) * dear

    def phase(self, space: Space) -> dict[str, Any]:
        """The witness phase of its study."""
        changes = dict(SETTINGS[self.setting])
        times = changes.pop("times", None)
        if times:
            changes["step"] = times * Witness(space, space.start, self.trials, sounds=self.sounds).step
        return {"sampler": "witness", "trials": self.trials, "patience": None} | changes


def tries(seeds: int, settings: list[str]) -> Iterator[Try]:
    for seed in range(seeds):
        for condition in CONDITIONS:
            for setting in settings:
                yield Try(**condition, setting=setting, seed=seed)


def plan_of(one: Try) -> Plan:
    start = random_nebula(7) if one.start == "random" else architecture("voice").resolve(one.start)

    def plan(phase: dict[str, Any]) -> Plan:
        settings = {
            "embedding": EMBEDDINGS[one.embedding],
            "sounds": one.sounds,
            "space": {"curve": SPACES[one.space]},
            "search": (phase,),
            "reevaluate": {"repeats": 0},
        }
        return Plan(StudySettings.model_validate(settings), "voice", start, (), (), one.seed, "file", 1000)

    return plan(one.phase(plan({"sampler": "witness", "trials": one.trials}).space))


def work(one: Try, options: argparse.Namespace) -> float:
    """Do one, write its file; returns seconds."""
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    plan = plan_of(one)
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
    left: dict[str, dict[str, dict[int, float]]] = {}
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text())
        rows, _ = found.pop("rows"), found.pop("seconds")
        one = Try(**found)
        share = rows["tuned"]["mmd_unbiased"] / rows["start"]["mmd_unbiased"]
        left.setdefault(one.condition, {}).setdefault(one.setting, {})[one.seed] = share
    columns = [name for name in SETTINGS if any(name in settings for settings in left.values())]
    lines = [f"| condition | seeds | {' | '.join(columns)} |", "| --- " * (len(columns) + 2) + "|"]
    ratios: dict[str, list[float]] = {name: [] for name in columns}
    for condition, settings in left.items():
        shipped = settings.get(SHIPPED, {})
        for name, values in settings.items():
            both = [(max(values[seed], TINY), max(shipped[seed], TINY)) for seed in values if seed in shipped]
            ratios[name] += [float(np.log(value / other)) for value, other in both]
        figures = [f"{median(settings[name].values()):.3f}" if name in settings else "" for name in columns]
        lines.append(f"| {condition} | {max(map(len, settings.values()))} | {' | '.join(figures)} |")
    means = [f"{np.exp(np.mean(logs)):.2f} ± {np.std(logs) / len(logs) ** 0.5:.2f}" for logs in ratios.values() if logs]
    return "\n".join([*lines, f"| beside the shipped | | {' | '.join(means)} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing that would end later")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--embeddings", nargs="+", default=list(EMBEDDINGS), choices=EMBEDDINGS)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--vectors", type=Path, help="what `search.py prepare` wrote, where the folders are not")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.command == "report":
        print(report(options.out))
    else:
        run(
            [one for one in tries(options.seeds, options.settings) if one.embedding in options.embeddings],
            work,
            options,
        )


if __name__ == "__main__":
    main()
