"""The multi-scale spectrogram's l1 distance is the distance of the literature."""

import pytest
import torch

from nebula_tune.embedding.mss import FFT_SIZES, LOG_FLOOR, MultiScaleSpectrogram
from nebula_tune.errors import EmbeddingError


def multi_scale_distance(x, y, linear, log):
    """As DDSP defines it, by torch.stft."""
    total = 0.0
    for size in FFT_SIZES:
        a, b = (
            torch.stft(s, size, size // 4, window=torch.hann_window(size), center=False, return_complex=True).abs()
            for s in (x, y)
        )
        total += linear * (a - b).abs().mean()
        total += log * (a.clamp(min=LOG_FLOOR).log() - b.clamp(min=LOG_FLOOR).log()).abs().mean()
    return float(total)


@pytest.mark.parametrize(("kind", "weights"), [("linear+log", (1, 1)), ("linear", (1, 0)), ("log", (0, 1))])
def test_unpooled_l1_distance_is_the_sum_over_scales_of_mean_differences(kind, weights):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 8192, generator=generator)
    ear = MultiScaleSpectrogram(kind=kind, pooled=False, sample_rate=8192, seconds=1.0)
    a, b = ear.embed_batch(torch.stack([x, y]))
    assert float((a - b).abs().sum()) == pytest.approx(multi_scale_distance(x, y, *weights), rel=1e-4)


def test_pooling_never_makes_a_distance_larger_for_steady_lengths():
    """An average of differences is at most the average difference, where stretches of time are equally long."""
    x, y = torch.randn(2, 16384, generator=torch.Generator().manual_seed(0))
    pooled, whole = (MultiScaleSpectrogram(pooled=p, sample_rate=16384, seconds=1.0) for p in (True, False))
    audio = torch.stack([x, y])
    near, far = ((e[0] - e[1]).abs().sum() for e in (pooled.embed_batch(audio), whole.embed_batch(audio)))
    assert near < far


def test_sounds_shorter_than_a_window_are_filled_up():
    ear = MultiScaleSpectrogram(sample_rate=1000, seconds=0.5)
    assert ear.embed_batch(torch.randn(2, 500)).shape == (2, 1, 28926)


def test_an_unknown_kind_is_refused():
    with pytest.raises(EmbeddingError, match="kind"):
        MultiScaleSpectrogram(kind="mel")
