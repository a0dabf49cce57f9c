"""The GPU's kernels, run by Triton's interpreter on a CPU; on a GPU itself benchmarks/voice_gpu.py checks the same."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nebula_tune.synth import Voice, gpu_draw

SETTINGS = ("default,8000,0.5", "drum,16000,0.3", "random-0,8000,0.73", "random-2,44100,0.1", "default,1000,1.5")
OLDEST = (3, 9)  # earlier interpreters stumble over newer numpy

needs_triton = pytest.mark.skipif(
    not gpu_draw.ready() or tuple(map(int, version("triton").split(".")[:2])) < OLDEST,
    reason="Triton is not installed, or its interpreter is too old",
)


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.synth.interpreted", *SETTINGS],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@needs_triton
@pytest.mark.parametrize("setting", SETTINGS)
def test_sounds_are_as_exact_as_the_compiled_ones(setting: str, interpreted: dict[str, Any]) -> None:
    found = interpreted["sounds"][setting]
    assert np.median(found["gpu"]) > np.median(found["cpu"]) - 3
    assert np.percentile(found["gpu"], 10) > np.percentile(found["cpu"], 10) - 6
    assert np.median(found["gpu"]) > np.median(found["reference"]) and min(found["gpu"]) > 80
    assert found["mapping"] < 1e-13
    assert found["peak"] <= 1 and found["silence"] <= 1


@needs_triton
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_chunk_has_the_bits_of_the_whole(setting: str, interpreted: dict[str, Any]) -> None:
    assert interpreted["sounds"][setting]["chunk_has_the_bits"]


@needs_triton
def test_draws_have_the_bits_of_synth1b1(interpreted: dict[str, Any]) -> None:
    assert interpreted["draws"] and all(interpreted["draws"].values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("dtype", "used"), [(torch.float32, "fast"), (torch.float64, "reference")])
def test_auto_is_fast_on_a_gpu(dtype: torch.dtype, used: str) -> None:
    assert Voice(batch_size=1, seconds=0.1, device="cuda", dtype=dtype).backend == used
