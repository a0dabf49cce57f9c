"""A study under OpenL3, from the command line to an exported nebula, on seeded random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nebula_tune.nebula import Nebula
from tests.study.tiny import command, make_target

STUDY = """\
embedding: {name: openl3-music-mel128-512, hop: 1.0, center: false, seconds: 1.0, active: true, frontend: legacy}
sounds: 8
search:
  - {sampler: grid, trials: 2}
  - {sampler: witness, trials: 2}
reevaluate: {top: 1, repeats: 1}
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_study_under_openl3_ends_with_a_nebula(tmp_path: Path, openl3_weights: dict[str, Path]) -> None:
    make_target(tmp_path / "sounds", 20)
    (tmp_path / "openl3.yaml").write_text(STUDY)
    weights = openl3_weights["mel128"]
    arguments = ["run", "--target", "sounds", "--study", "openl3.yaml", "--executor", "inline", "--json", "--no-report"]
    process = command(tmp_path, *arguments, "--weights", str(weights))
    out, err = process.communicate(timeout=1800)
    assert process.returncode == 0, err
    assert "windows of 1 s" in err and "TFLOP" in err
    report = json.loads(out)
    assert report["trials"] == {"grid": 2, "witness": 2, "re-evaluate": 3}
    assert len(Nebula.load(tmp_path / report["nebula"]).curves) == 78


def test_a_study_without_weights_says_how_to_get_them(tmp_path: Path) -> None:
    make_target(tmp_path / "sounds", 20)
    process = command(tmp_path, "run", "--target", "sounds", "--study", "paper", "--executor", "inline")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    line = err.strip().splitlines()[-1]
    assert "embeddings --fetch" in line and "--weights" in line and "Traceback" not in err
