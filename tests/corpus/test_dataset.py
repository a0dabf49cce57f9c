"""The data set: every sound once, whatever the batches, workers and ranks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from nebula_tune.corpus.dataset import Sounds, SynthDataset
from nebula_tune.errors import NebulaTuneError
from nebula_tune.synth import Voice

SMALL: dict[str, Any] = {"sample_rate": 8000, "seconds": 0.1}


def together(batches: Any) -> Sounds:
    return Sounds(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


@pytest.fixture(scope="module")
def whole() -> Sounds:
    return together(SynthDataset("drum", 300, 128, first_index=100, **SMALL))


def by_index(sounds: Sounds) -> Sounds:
    order = sounds.indices.argsort()
    return Sounds(*(part[order] for part in sounds))


def assert_same(a: Sounds, b: Sounds) -> None:
    for mine, other in zip(a, b, strict=True):
        assert torch.equal(mine, other)


def test_sounds_are_those_of_the_voice(whole: Sounds) -> None:
    voice = Voice("drum", 1, 8000, 0.1)
    assert whole.indices.tolist() == list(range(100, 400))
    assert torch.equal(whole.raw, voice.draw(100, 300))
    assert torch.equal(whole.audio[57], voice.render(voice.draw(157, 1), 157)[0])


@pytest.mark.parametrize("batch", [1, 32, 1024])
def test_batches_change_no_sound(whole: Sounds, batch: int) -> None:
    assert_same(together(SynthDataset("drum", 300, batch, first_index=100, **SMALL)), whole)


def test_ranks_share_the_sounds_out(whole: Sounds) -> None:
    parts = [list(SynthDataset("drum", 300, 32, first_index=100, **SMALL, rank=r, world_size=3)) for r in range(3)]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert_same(by_index(together(batch for part in parts for batch in part)), whole)


def test_workers_and_ranks_see_every_sound_once(whole: Sounds) -> None:
    parts = []
    for rank in range(2):
        dataset = SynthDataset("drum", 300, 32, first_index=100, **SMALL, rank=rank, world_size=2)
        parts += list(DataLoader(dataset, batch_size=None, num_workers=2))
    assert_same(by_index(together(parts)), whole)


@pytest.mark.parametrize("batch", [128, 700])
def test_training_and_test_sets_are_split(batch: int) -> None:
    settings = {"count": 1300, "batch_size": batch, "first_index": 9000, **SMALL}
    train, test = (together(SynthDataset(split=split, **settings)) for split in ("train", "test"))
    assert train.is_train.all() and not test.is_train.any()
    assert train.indices.tolist() == [*range(9000, 9216), *range(10240, 10300)]
    assert test.indices.tolist() == list(range(9216, 10240))


def test_ranks_come_from_torch_distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    batches = list(SynthDataset(count=96, batch_size=32, **SMALL))
    assert [batch.indices[0].item() for batch in batches] == [32]


@pytest.mark.parametrize(
    "settings",
    [{"split": "half"}, {"count": 0}, {"rank": 1}, {"rank": 2, "world_size": 2}, {"first_index": -1}, {"synth": "no"}],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(NebulaTuneError):
        SynthDataset(**({"count": 10} | settings))
