"""Tests made for tests: a short one of two nebulae, its page taken apart, and listeners who answer by rule."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nebula_tune.listening.design import Design, Key, KeyTrial

Choice = Callable[[KeyTrial, str], str]  # trial, question -> side


def parts(page: str | bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The page's test and its sounds by name."""
    text = page.decode() if isinstance(page, bytes) else page
    test, audio = (
        json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.S)[1])
        for name in ("test", "audio")
    )
    return test, {name: base64.b64decode(sound) for name, sound in audio.items()}


def key_of(design: Design, a: str = "one", b: str = "other") -> Key:
    """A key of nebulae by these names."""
    compared = [
        {"name": name, "content": hashlib.sha256(name.encode()).hexdigest(), "passed_over": 0} for name in (a, b)
    ]
    return Key(
        a=compared[0], b=compared[1], target_kind="drums", pairs=design.pairs, seed=0, salt="", trials=design.trials,
        browse={"one": design.first_owner, "two": "B" if design.first_owner == "A" else "A"},
    )  # fmt: skip


def write_key(folder: Path, key: Key, name: str = "key.json") -> tuple[Path, str]:
    """The key's file and hash."""
    path = folder / name
    path.write_text(key.model_dump_json())
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def ballot(key: Key, sha: str, choice: Choice, listener: str = "", vote: str | None = "one") -> dict[str, Any]:
    """A finished ballot."""
    answers = [
        {
            "id": trial.id, "like": choice(trial, "like"), "keep": choice(trial, "keep"),
            "left_plays": 1, "right_plays": 2, "seconds": 3.5,
        }
        for trial in key.trials
    ]  # fmt: skip
    return {
        "format": "nebula-tune listening ballot 1", "key": sha, "listener": listener, "started": "2026-01-01T10:00:00Z",
        "finished": "2026-01-01T10:20:00Z", "answers": answers,
        "browse": {"vote": vote, "one_plays": 64, "two_plays": 60},
    }  # fmt: skip


def side_of(trial: KeyTrial, owner: str) -> str:
    return "left" if trial.left == owner else "right"


def prefers_a(probability: float, random: np.random.Generator) -> Choice:
    """A listener who takes A with that probability, every time anew, and never the wrong sound."""

    def choose(trial: KeyTrial, question: str) -> str:
        if trial.kind == "catch":
            return "right" if trial.left == "wrong" else "left"
        return side_of(trial, "A" if random.random() < probability else "B")

    return choose
