"""Sounds of a nebula as a torch data set, rendered as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from nebula_tune.constellation import Constellation
from nebula_tune.errors import SettingsError
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Synth, architecture, panel_of, synth1b1

SPLITS = ("all", "train", "test")
BLOCK = 1024  # sounds; training and test set change places only between blocks


class Sounds(NamedTuple):
    """A batch: audio (sounds, samples) float32, raw parameters (sounds, parameters), indices and train flags."""

    audio: Tensor
    raw: Tensor
    indices: Tensor
    is_train: Tensor


class SynthDataset(IterableDataset[Sounds]):
    """synth1B1, or as many sounds of any nebula, in whole batches.

    Example::

        dataset = SynthDataset(count=1_000_000, batch_size=128, split="train")
        for audio, raw, indices, is_train in DataLoader(dataset, batch_size=None, num_workers=8):
            ...

    Args:
        nebula: a Nebula or Constellation, a file of either, or a name; the default nebula's sounds are synth1B1.
        count: sounds before the split, from ``first_index`` on.
        batch_size: sounds a batch; the last may be smaller. It changes no sound.
        first_index: of the data set's first sound.
        split: "train", "test" (the last 1024 of each 10,240 sounds), or "all".
        synth: the architecture.
        panel: its panel, a name or file; None: its own.
        sample_rate: Hz.
        seconds: length of each sound.
        device: where the sounds are made and returned.
        rank, world_size: this process's share: every world_size-th batch. By default those of torch.distributed
            where it is initialised.

    Within a rank, DataLoader's workers take batches by turns: together, all workers of all ranks see each sound once.
    On a CPU a worker renders with one thread. Raises SettingsError for settings that make no sense.
    """

    def __init__(
        self,
        nebula: Nebula | Constellation | str = "default",
        count: int = 10**9,
        batch_size: int = 128,
        *,
        first_index: int = 0,
        split: str = "all",
        synth: str = "voice",
        panel: str | None = None,
        sample_rate: int = 44100,
        seconds: float = 4.0,
        device: str = "cpu",
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if split not in SPLITS:
            raise SettingsError(f"split {split!r}: it is {', '.join(SPLITS)}")
        if count < 1 or batch_size < 1:
            raise SettingsError(f"count and batch_size are at least 1, not {count} and {batch_size}")
        if (rank is None) != (world_size is None):
            raise SettingsError("give rank and world_size together, or neither")
        if rank is not None and world_size is not None and not 0 <= rank < world_size:
            raise SettingsError(f"rank {rank} of {world_size}")
        synth1b1.check(first_index, count)
        self._synth_name, self._panel = synth, panel_of(synth, panel)
        self.nebula = self._architecture.resolve_sounds(nebula)
        self.first_index, self.count, self.batch_size, self.split = first_index, count, batch_size, split
        self._settings = (sample_rate, seconds, device)
        self._share = (rank, world_size)

    @property
    def _architecture(self) -> type[Synth]:
        """Looked up by name, so that a data set can be sent to another process."""
        return architecture(self._synth_name, self._panel)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the columns of ``raw``."""
        return self._architecture.panel.names

    def __iter__(self) -> Iterator[Sounds]:
        rank, world_size = self._rank()
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        synth = self._synth(threads=1 if worker else None)
        for k, batch in enumerate(self._batches()):
            if k % (world_size * workers) == number * world_size + rank:
                yield self._render(synth, batch)

    def _render(self, synth: Synth, pieces: list[range]) -> Sounds:
        raws = [synth.draw(piece.start, len(piece)) for piece in pieces]
        audios = [synth.render(raw, piece.start) for raw, piece in zip(raws, pieces, strict=True)]
        indices = torch.cat(
            [torch.arange(piece.start, piece.stop, dtype=torch.int64, device="cpu") for piece in pieces]
        )
        flags = [torch.from_numpy(synth1b1.is_train(piece.start, len(piece))) for piece in pieces]
        whole = len(pieces) == 1  # nothing to copy
        audio, raw = (audios[0], raws[0]) if whole else (torch.cat(audios), torch.cat(raws))
        return Sounds(audio, raw, indices.to(audio.device), torch.cat(flags).to(audio.device))

    def _batches(self) -> Iterator[list[range]]:
        """Indices of each batch, as runs of sounds that follow one another."""
        batch: list[range] = []
        room = self.batch_size
        for run in self._runs():
            begin = run.start
            while begin < run.stop:
                end = min(begin + room, run.stop)
                batch.append(range(begin, end))
                room -= end - begin
                begin = end
                if not room:
                    yield batch
                    batch, room = [], self.batch_size
        if batch:
            yield batch

    def _runs(self) -> Iterator[range]:
        begin, stop = self.first_index, self.first_index + self.count
        while begin < stop:
            end = min(stop, (begin // BLOCK + 1) * BLOCK)
            training = bool(synth1b1.is_train(begin, 1)[0])
            if self.split == "all" or training == (self.split == "train"):
                yield range(begin, end)
            begin = end

    def _rank(self) -> tuple[int, int]:
        rank, world_size = self._share
        if rank is not None and world_size is not None:
            return rank, world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _synth(self, threads: int | None) -> Synth:
        sample_rate, seconds, device = self._settings
        return self._architecture(self.nebula, self.batch_size, sample_rate, seconds, device, threads=threads)
