"""The lines that docs/constellations.md gives torchsynth's users, on the real torchsynth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from nebula_tune.cli.app import app
from nebula_tune.synth import Voice
from tests.constellation.made import constellation
from tests.synth import torchsynth_peer
from tests.synth.sounds import snr

PAGE = Path(__file__).resolve().parents[2] / "docs/constellations.md"


def test_torchsynth_plays_the_sounds_of_a_constellation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchsynth_peer.install_stand_ins()
    monkeypatch.chdir(tmp_path)
    made = constellation(spread=0.3)
    made.save("nebulae/my-sounds.constellation.json")
    page = PAGE.read_text()
    (command,) = re.findall(r"^    nebula-tune (render .*--parameters-only.*)$", page, re.M)
    assert CliRunner().invoke(app, command.split()).exit_code == 0
    (lines,) = (text for text in re.findall(r"```python\n(.*?)```", page, re.S) if "torchsynth" in text)
    names: dict[str, Any] = {}
    exec(compile(lines, str(PAGE), "exec"), names)
    theirs = names["audio"].as_subclass(torch.Tensor).detach().numpy()
    ours = Voice(made, 128)(0)[0].numpy()
    assert ours.shape == theirs.shape
    assert (snr(theirs, ours) > 30).mean() > 0.95
