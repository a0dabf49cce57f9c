"""A tuned nebula judged by embeddings it was not tuned on.

    python benchmarks/ears.py NEBULA [--embedding aisfx --embedding scattering] [--sounds 512]

Reads the study from NEBULA.provenance.json, splits the target as the study did, and prints the unbiased l1 MMD of fresh
sounds of start, hand-made and tuned nebula to the held-out sounds, under each embedding.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from nebula_tune.corpus.prepare import prepare
from nebula_tune.distance import l1_mmd
from nebula_tune.embedding import Embedding, make_embedding
from nebula_tune.embedding.embedded import Source
from nebula_tune.nebula import Nebula
from nebula_tune.study.indices import Purpose, first_index
from nebula_tune.study.plan import Plan
from nebula_tune.study.target import SplitTarget

BATCH = 16


def sounds_of(nebula: Nebula, plan: Plan, embedding: Embedding, count: int) -> np.ndarray:
    style = plan.settings.prepare
    voice = plan.synth(nebula, BATCH, embedding.sample_rate, style.render_seconds(embedding.seconds))
    first = first_index(Purpose.SCORE_CARD, plan.seed)
    parts = []
    for start in range(first, first + count, BATCH):
        audio = voice.render(voice.draw(start, BATCH), start)
        parts.append(embedding.embed_batch(prepare(audio, embedding.samples, style)).flatten(1))
    return torch.cat(parts).cpu().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nebula", type=Path)
    parser.add_argument("--embedding", action="append")
    parser.add_argument("--sounds", type=int, default=512)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    provenance = json.loads(arguments.nebula.with_name(f"{arguments.nebula.stem}.provenance.json").read_text())
    plan = Plan.read(provenance["settings"])
    nebulae = {"start": plan.start, "drum": Nebula.load("drum"), "tuned": Nebula.load(arguments.nebula)}
    for name in arguments.embedding or ["aisfx", "scattering"]:
        embedding = make_embedding(name)
        target = SplitTarget.load(Source.parse(provenance["origin"]["target"]["source"]), plan, [embedding])
        held_out, groups = target.held_out
        print(f"{name}: distance to {len(held_out)} held-out sounds")
        rows = {key: (sounds_of(nebula, plan, embedding, arguments.sounds), None) for key, nebula in nebulae.items()}
        for key, (vectors, own) in (rows | {"floor": target.held_in}).items():
            result = l1_mmd(vectors, held_out, own, groups)
            low, high = result.ci95
            print(f"  {key:6} {result.mmd_unbiased:10.2f}  ({low:.2f} … {high:.2f})")


if __name__ == "__main__":
    main()
