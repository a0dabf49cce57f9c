"""The network judge's pictures: an embedding like others, but none that a study or a user can name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nebula_tune.embedding import EMBEDDINGS, JUDGES, make_embedding, refuse_judge
from nebula_tune.errors import EmbeddingError, SettingsError
from nebula_tune.evaluate.ears import Ears
from nebula_tune.study.plan import named_embeddings
from nebula_tune.study.settings import load_study
from nebula_tune.testing import EmbeddingContract
from tests.study.tiny import STUDY


class TestPicture(EmbeddingContract):
    name = "picture"
    shape = (173, 64)


@pytest.fixture(scope="module")
def see() -> Callable[[Tensor], Tensor]:
    """The picture of one sound."""
    return lambda sound: make_embedding("picture").embed_batch(sound[None])[0]


def tone(hertz: float, seconds: float = 1.0) -> Tensor:
    sound = torch.sin(2 * torch.pi * hertz * torch.arange(22050) / 22050)
    sound[round(seconds * 22050) :] = 0
    return sound


def test_values_are_decibels_below_the_pictures_peak_cut_at_60(see) -> None:
    loud, quiet, lost = (see(tone(2000) + share * tone(8000))[20:150] for share in (0.1, 0.01, 0.0001))
    assert loud.max() == quiet.max() == 1 and loud.min() == 0
    band = int(loud[50, 50:].argmax()) + 50
    assert (loud - quiet)[:, band].mean() == pytest.approx(20 / 60, abs=0.01)
    assert 0.4 < loud[:, band].mean() < 0.7 and lost[:, band].max() == 0
    assert torch.equal(see(torch.zeros(22050)), torch.zeros(173, 64))


@pytest.mark.parametrize("hertz", [60.0, 440.0, 3000.0, 10500.0])
def test_a_tone_lies_in_the_band_of_its_pitch(see, hertz: float) -> None:
    def mel(f: float) -> float:
        return float(2595 * torch.log10(torch.tensor(1 + f / 700)))

    band = (mel(hertz) - mel(50)) / (mel(11000) - mel(50)) * 65 - 1  # centres lie at 0, 1, ...
    assert abs(int(see(tone(hertz))[86].argmax()) - band) <= 1


def test_frames_follow_each_other_every_128_samples(see) -> None:
    click = torch.zeros(22050)
    click[100 * 128] = 1
    energy = see(click).sum(dim=1)
    assert int(energy.argmax()) == 100
    assert (energy[:98] == 0).all() and (energy[103:] == 0).all()


@pytest.mark.parametrize("embedding", ["picture", "logmel=1,picture=1"])
def test_no_user_names_it(embedding: str, tmp_path) -> None:
    assert not set(JUDGES) & set(EMBEDDINGS)
    with pytest.raises(
        EmbeddingError, match="picture is for the network judge only; embeddings are logmel, modulation, mss"
    ):
        named_embeddings(embedding)
    with pytest.raises(EmbeddingError, match="judge only"):
        Ears(("logmel", "picture"), None, "onset", "l1")
    study = tmp_path / "study.yaml"
    _, rest = STUDY.split("\n", 1)
    for line in ("embedding: picture", "embeddings: [logmel, {name: picture}]"):
        study.write_text(f"{line}\n{rest}")
        with pytest.raises(SettingsError, match="judge only") as caught:
            load_study(str(study))
        assert "\n" not in str(caught.value)
    refuse_judge("logmel")
