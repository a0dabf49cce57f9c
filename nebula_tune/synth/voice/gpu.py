"""The Voice's renderer for float32 on a GPU; the kernels themselves are in ``gpu_kernels``.

Nothing here needs a GPU to be imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from nebula_tune.synth.backends import interval_starts

CHUNK = 512  # control frames a program works out at a time
BLOCK = 1024  # samples a program plays
WARPS = 4


@dataclass(frozen=True)
class Planned:
    """A batch between control rate and audio rate: what the kernels ``trace`` and ``plan`` write."""

    sounding: Tensor  # (sounds,) int32: frames until silence
    voicing: Tensor  # (sounds, 2)
    peaks: Tensor  # (sounds,)
    lines: Tensor  # (sounds, 3, 2, intervals)
    sweeps: Tensor  # (sounds, 2, 3, intervals)
    pieces: Tensor  # (sounds, 2, intervals) int32


class GpuVoice:
    """Renders sounds of the Voice with fused kernels; a batch needs a quarter more memory than its audio.

    Args:
        frames: control frames of a sound, at least 2.
        sample_rate: Hz of the audio.
        noise: the rows of noise, (rows, samples) float32, on the device.

    The kernels are compiled in the first call on a machine (some seconds); later processes load what was made.
    """

    def __init__(self, frames: int, sample_rate: int, noise: Tensor) -> None:
        self.sample_rate, self.frames, self.samples = sample_rate, frames, noise.shape[1]
        self._noise = noise.contiguous()
        device = noise.device
        self._starts = torch.from_numpy(interval_starts(frames, self.samples).astype(np.int32)).to(device)
        # Where each block begins, in control frames: the whole part and the rest.
        begins = np.arange(0, self.samples, BLOCK, dtype=np.int64) * (frames - 1)
        self._block_frames = torch.from_numpy((begins // (self.samples - 1)).astype(np.int32)).to(device)
        self._span = 1 << (BLOCK * (frames - 1) // (self.samples - 1) + 2).bit_length()  # intervals a block may touch
        rest = begins % (self.samples - 1) / (self.samples - 1)
        self._block_offsets = torch.from_numpy(rest.astype(np.float32)).to(device)

    def __call__(self, human: Tensor, first_index: int) -> Tensor:
        """Audio (sounds, samples) float32 of human values (sounds, parameters)."""
        return self.play(self.control(human), first_index)

    def control(self, human: Tensor) -> Planned:
        """What human values (sounds, parameters) come to between control frames."""
        from nebula_tune.synth.voice import gpu_kernels as kernels

        knobs = human.detach().double().contiguous()
        sounds, parameters = knobs.shape
        frames, intervals = self.frames, self.frames - 1

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=knobs.device)

        controls = empty(sounds, 5, frames, dtype=torch.float64)
        planned = Planned(
            sounding=empty(sounds, dtype=torch.int32),
            voicing=empty(sounds, 2),
            peaks=empty(sounds),
            lines=empty(sounds, 3, 2, intervals),
            sweeps=empty(sounds, 2, 3, intervals),
            pieces=empty(sounds, 2, intervals, dtype=torch.int32),
        )
        if sounds:
            kernels.trace[(sounds,)](
                knobs, controls, planned.sounding, planned.voicing, planned.peaks, frames, parameters, CHUNK,
                num_warps=WARPS,
            )  # fmt: skip
            kernels.plan[(3 * sounds,)](
                knobs, controls, planned.sounding, self._starts, planned.lines, planned.sweeps, planned.pieces,
                frames, self.samples, self.sample_rate, parameters, CHUNK, num_warps=WARPS,
            )  # fmt: skip
        return planned

    def play(self, planned: Planned, first_index: int) -> Tensor:
        """Audio (sounds, samples) float32 of what :meth:`control` gave; it is used up."""
        from nebula_tune.synth.voice import gpu_kernels as kernels

        sounding, peaks = planned.sounding, planned.peaks
        sounds, samples, blocks, rows = len(peaks), self.samples, len(self._block_frames), len(self._noise)
        out = torch.empty((sounds, samples), dtype=torch.float32, device=peaks.device)
        if sounds:
            kernels.play[(blocks * sounds,)](
                self._noise, first_index % rows, sounding, self._starts, self._block_frames, self._block_offsets,
                planned.lines, planned.sweeps, planned.pieces, planned.voicing, peaks, out, self.frames, samples,
                self.sample_rate, blocks, rows, self._span, BLOCK, num_warps=WARPS,
            )  # fmt: skip
            kernels.normalise[(blocks * sounds,)](
                sounding, self._starts, peaks, out, self.frames, samples, blocks, BLOCK, num_warps=WARPS
            )
        return out


class Recording:
    """Whole batches of one size, of which all but the audio is recorded once, as a CUDA graph, and played back.

    A process needs longer to launch those kernels than a GPU needs to run them. What they write is written over by the
    next batch's, so batches go one after another, whatever threads and streams ask for them.

    Args:
        renderer: of the synth.
        draw: raw parameters (sounds, parameters) of the sounds from a first index on, which is on the device, (1,).
        to_human: their human values.
        device: where all of it runs.
    """

    def __init__(
        self,
        renderer: GpuVoice,
        draw: Callable[[Tensor], Tensor],
        to_human: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> None:
        self._renderer, self._draw, self._to_human = renderer, draw, to_human
        self._first = torch.zeros(1, dtype=torch.int64, device=device)
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._lock = Lock()
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, first_index: int) -> tuple[Tensor, Tensor]:
        """Raw parameters and audio of the batch that begins at a sound."""
        with self._lock:
            if self._graph is None:
                self._graph = self._record()
            torch.cuda.current_stream(self._first.device).wait_event(self._done)
            self._first.fill_(first_index)
            self._graph.replay()
            raw = self._raw.clone()
            audio = self._renderer.play(self._planned, first_index)
            self._done.record()
        return raw, audio

    def _record(self) -> torch.cuda.CUDAGraph:
        self._prepare()  # or kernels would be compiled while they are recorded
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._raw, self._planned = self._prepare()
        return graph

    def _prepare(self) -> tuple[Tensor, Planned]:
        raw = self._draw(self._first)
        return raw, self._renderer.control(self._to_human(raw))
