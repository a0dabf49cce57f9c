"""The nebula file is the product: loaded by torchsynth 1.0.2 it gives the sounds that trials heard, to all our ears."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nebula_tune.corpus.prepare import RENDER_RATE, Prepare, as_read, prepare
from nebula_tune.corpus.source import Source
from nebula_tune.distance import l1_mmd, mean_within
from nebula_tune.embedding import Embedding, make_embedding
from nebula_tune.embedding.embed import embed_source
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Voice
from tests.synth import torchsynth_peer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NEBULA = EXAMPLES / "sounds/tuned.json"
SOUNDS = 64
THEIR_SECONDS = 4.0  # torchsynth's own length of a sound

pytestmark = pytest.mark.usefixtures("one_thread")
ears = pytest.mark.parametrize("name", ["logmel", "modulation", "picture"])


@lru_cache
def torchsynths() -> Tensor:
    """Sounds 0 .. SOUNDS - 1 of the nebula's file, by the real torchsynth at 44.1 kHz."""
    audio: Tensor = torchsynth_peer.voice(str(NEBULA), SOUNDS, RENDER_RATE, THEIR_SECONDS)(0)[0]
    return audio.as_subclass(torch.Tensor)


def ours(seconds: float, nebula: str = str(NEBULA)) -> Tensor:
    voice = Voice(Nebula.load(nebula), SOUNDS, RENDER_RATE, seconds)
    return voice.render(voice.draw(0, SOUNDS), 0)


def heard(audio: Tensor, ear: Embedding) -> Tensor:
    """Vectors (sounds, D) of sounds at 44.1 kHz, as a trial's and a file's are made."""
    read = as_read(audio, RENDER_RATE, ear.sample_rate, Prepare.ONSET)
    return ear.embed_batch(prepare(read, ear.samples, Prepare.ONSET)).flatten(1)


@lru_cache
def drums(name: str) -> Tensor:
    source = Source.parse(str(EXAMPLES / "drums"))
    return torch.from_numpy(embed_source(source, make_embedding(name), Prepare.ONSET, Voice, 0).vectors)


def apart(mine: Tensor, theirs: Tensor) -> Tensor:
    """l1 from each sound to its counterpart, as a share of the mean distance between two sounds, (sounds,)."""
    return (mine - theirs).abs().sum(dim=1) / mean_within(theirs.numpy())


@ears
def test_every_sound_is_heard_as_ours(name: str) -> None:
    ear = make_embedding(name)
    mine, theirs = heard(ours(THEIR_SECONDS), ear), heard(torchsynths(), ear)
    each = apart(mine, theirs)
    assert each.mean() < 0.001 and each.max() < 0.02
    # Eq. 2, not its unbiased form: sounds of the same indices are no two independent samples.
    assert l1_mmd(mine.numpy(), theirs.numpy()).mmd < 1e-4 * mean_within(theirs.numpy())


@ears
def test_as_far_from_real_sounds_as_a_trials_shorter_ones(name: str) -> None:
    # A trial renders only what its ear takes; torchsynth's later samples move a few onsets and the peaks they go by.
    ear = make_embedding(name)
    mine, theirs = heard(ours(Prepare.ONSET.render_seconds(ear.seconds)), ear), heard(torchsynths(), ear)
    assert apart(mine, theirs).median() < 0.06
    assert l1_mmd(mine.numpy(), theirs.numpy()).mmd < 0.003 * mean_within(theirs.numpy())
    real = drums(name).numpy()
    expected = l1_mmd(theirs.numpy(), real).mmd_unbiased
    assert l1_mmd(mine.numpy(), real).mmd_unbiased == pytest.approx(expected, rel=0.02)


def test_another_nebulas_sounds_of_the_same_indices_are_heard_as_others() -> None:
    ear = make_embedding("modulation")
    other, theirs = heard(ours(THEIR_SECONDS, "default"), ear), heard(torchsynths(), ear)
    assert apart(other, theirs).mean() > 0.3
    assert l1_mmd(other.numpy(), theirs.numpy()).mmd > 0.03 * mean_within(theirs.numpy())
