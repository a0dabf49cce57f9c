"""Run as a script, under Triton's interpreter: the GPU's kernels on a CPU; prints what the tests look at as JSON."""

from __future__ import annotations

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"  # before the kernels are imported

import numpy as np
import torch

from nebula_tune.synth import Voice, gpu_draw, synth1b1
from nebula_tune.synth.voice.gpu import GpuVoice
from tests.synth.sounds import nebula, snr

SOUNDS, FIRST = 6, 60


def main() -> None:
    result = {}
    for setting in sys.argv[1:]:
        name, rate, seconds = setting.split(",")
        options = {"batch_size": 1, "sample_rate": int(rate), "seconds": float(seconds)}
        exact = Voice(nebula(name), dtype=torch.float64, **options)
        compiled, plain = (Voice(nebula(name), backend=backend, **options) for backend in ("fast", "reference"))
        gpu = GpuVoice(len(compiled.control_frames), compiled.sample_rate, compiled._noise)
        human = compiled.to_human(compiled.draw(FIRST, SOUNDS))
        truth = exact.render_human(human, FIRST).numpy()
        audio = gpu(human, FIRST)
        part = gpu(human[2:5], FIRST + 2)
        raw = torch.cat([compiled.draw(FIRST, 40), torch.tensor([0.0, 0.5, 1.0])[:, None].expand(-1, 78)])
        panel = exact.panel
        low, high = panel.ends(raw.device)
        mapped = gpu_draw.to_human(raw, (low, high), compiled._curves, compiled._symmetric)
        result[setting] = {
            "mapping": ((mapped - compiled.to_human(raw)) / (high - low)).abs().max().item(),
            "gpu": snr(audio.numpy(), truth).tolist(),
            "cpu": snr(compiled.render_human(human, FIRST).numpy(), truth).tolist(),
            "reference": snr(plain.render_human(human, FIRST).numpy(), truth).tolist(),
            "chunk_has_the_bits": torch.equal(part.view(torch.int32), audio[2:5].view(torch.int32)),
            "peak": audio.abs().max().item(),
            "silence": int(np.abs(tail(audio.numpy()) - tail(truth)).max()),
        }
    order = torch.tensor([1, 3, 0, 2, *range(4, 156)])
    drawn = {}
    for first in (0, 2**31 - 20, 2**32 - 40):
        numbers = gpu_draw.draw(torch.tensor([first]), 40, order).numpy()
        drawn[first] = bool(np.array_equal(numbers[:, order], synth1b1.draw(first, 40, 156)))
    print(json.dumps({"sounds": result, "draws": drawn}))


def tail(audio: np.ndarray) -> np.ndarray:
    """Sample after the last that is not zero."""
    return (np.arange(1, audio.shape[1] + 1) * (audio != 0)).max(axis=1)


if __name__ == "__main__":
    main()
