"""What only the compiled renderer promises; that its sounds are right is in test_torchsynth_parity."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from nebula_tune.errors import UserInputError
from nebula_tune.synth import Voice, compiler
from nebula_tune.synth.voice import cpu_kernels
from tests.synth.sounds import snr

RATE, SECONDS = 16000, 0.7


@pytest.fixture(scope="module")
def voice() -> Voice:
    return Voice("drum", 48, RATE, SECONDS, threads=1)


@pytest.fixture(scope="module")
def whole(voice: Voice) -> torch.Tensor:
    return voice.render(voice.draw(100, 48), 100)


def bits_equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


# --- one sound at a time, whatever is around it --------------------------------------------------------------------


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 16), (5, 6), (7, 40), (47, 48)])
def test_a_chunk_has_the_bits_of_the_whole(voice: Voice, whole: torch.Tensor, begin: int, end: int) -> None:
    raw = voice.draw(100 + begin, end - begin)
    assert bits_equal(voice.render(raw, 100 + begin), whole[begin:end])


@pytest.mark.parametrize("threads", [2, 3, None])
def test_threads_do_not_change_a_bit(voice: Voice, whole: torch.Tensor, threads: int | None) -> None:
    other = Voice("drum", 48, RATE, SECONDS, threads=threads)
    assert bits_equal(other.render(other.draw(100, 48), 100), whole)


def test_chunks_in_parallel_have_the_bits_of_the_whole(voice: Voice, whole: torch.Tensor) -> None:
    def chunk(begin: int) -> torch.Tensor:
        return voice.render(voice.draw(100 + begin, 8), 100 + begin)

    with ThreadPoolExecutor(4) as pool:
        assert bits_equal(torch.cat(list(pool.map(chunk, range(0, 48, 8)))), whole)


def test_an_empty_chunk_is_empty(voice: Voice) -> None:
    assert voice.render(voice.draw(0, 0)).shape == (0, voice.samples)


# --- corners of the panel ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "seconds"), [(44100, 0.5), (1000, 2.0), (96000, 0.2), (44100, 0.005)])
def test_knobs_at_their_ends_sound_as_in_the_reference(rate: int, seconds: float) -> None:
    rng = np.random.default_rng(rate)
    exact = Voice(batch_size=1, sample_rate=rate, seconds=seconds, dtype=torch.float64)
    fast = Voice(batch_size=1, sample_rate=rate, seconds=seconds)
    unit = rng.choice([0.0, 0.5, 1.0], (96, len(exact.panel)))
    anywhere = rng.random(unit.shape)
    unit = np.where(rng.random(unit.shape) < 0.5, unit, anywhere)
    for lfo in ("lfo_1", "lfo_2"):  # at frequencies that fit the control rate, rounding decides on which side a step is
        for knob in ("frequency", "initial_phase"):
            column = exact.panel.index[f"{lfo}.{knob}"]
            unit[:, column] = anywhere[:, column]
    low = np.array([p.minimum for p in exact.panel.parameters])
    high = np.array([p.maximum for p in exact.panel.parameters])
    human = torch.from_numpy(low + (high - low) * unit)
    expected, audio = exact.render_human(human).numpy(), fast.render_human(human).numpy()
    assert np.isfinite(audio).all() and np.abs(audio).max() <= 1
    ratios = snr(audio, expected)
    assert np.median(ratios) > 100 and ratios.min() > 50


def test_lfo_shapes_all_at_zero_share_alike_and_give_no_nan() -> None:
    raw = Voice(batch_size=1, seconds=0.2).draw(0, 4)
    for backend, dtype in (("fast", torch.float32), ("reference", torch.float64)):
        voice = Voice(batch_size=1, seconds=0.2, backend=backend, dtype=dtype)
        human = voice.to_human(raw)
        for lfo in ("lfo_1", "lfo_2"):
            for shape in ("sin", "tri", "saw", "rsaw", "sqr"):
                human[:, voice.panel.index[f"{lfo}.{shape}"]] = 0
        zero = voice.render_human(human)
        for lfo in ("lfo_1", "lfo_2"):
            for shape in ("sin", "tri", "saw", "rsaw", "sqr"):
                human[:, voice.panel.index[f"{lfo}.{shape}"]] = 0.3
        assert torch.isfinite(zero).all()
        torch.testing.assert_close(zero, voice.render_human(human), atol=1e-6, rtol=0)


# --- choosing it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "backend", "used"),
    [
        (torch.float32, "auto", "fast"),
        (torch.float32, "fast", "fast"),
        (torch.float32, "reference", "reference"),
        (torch.float64, "auto", "reference"),
    ],
)
def test_auto_is_fast_where_there_is_a_fast_backend(dtype: torch.dtype, backend: str, used: str) -> None:
    assert Voice(batch_size=1, seconds=0.1, dtype=dtype, backend=backend).backend == used


@pytest.mark.parametrize(
    "settings", [{"backend": "quick"}, {"threads": 0}, {"backend": "fast", "dtype": torch.float64}, {"seconds": 0.003}]
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserInputError):
        Voice(**({"batch_size": 1, "seconds": 0.1} | settings))


def test_gradients_come_from_the_reference() -> None:
    voice = Voice(batch_size=2, sample_rate=8000, seconds=0.2)
    human = voice.to_human(voice.draw(5, 2)).requires_grad_()
    voice.render_human(human).square().sum().backward()
    assert human.grad is not None and human.grad[:, voice.panel.index["mixer.noise"]].abs().min() > 0


def test_a_disk_without_a_place_for_the_cache_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: ("compiled", function)

    monkeypatch.setattr(compiler, "njit", njit)
    assert compiler.compiled(len) == ("compiled", len)


# --- its elementary functions --------------------------------------------------------------------------------------


def worst(function: Any, exact: Any, x: np.ndarray, relative: bool = False) -> float:
    expected = exact(x.astype(np.float64))
    found = np.array([function(value) for value in x], dtype=np.float64)
    return float(np.max(np.abs(found - expected) / (np.abs(expected) if relative else 1)))


def test_elementary_functions_are_as_exact_as_they_say() -> None:
    half = np.linspace(-0.5, 0.5, 1001)
    half32 = half.astype(np.float32)
    assert worst(cpu_kernels.exp2_64, np.exp2, np.linspace(-300, 12, 2001), relative=True) < 1e-13
    assert worst(cpu_kernels.log2_64, np.log2, np.geomspace(1e-30, 1, 2001)) < 1e-13
    assert worst(cpu_kernels.cos_half_64, lambda x: np.cos(np.pi * x), half) < 2e-12
    assert worst(cpu_kernels.sin_half, lambda x: np.sin(np.pi * x), half32) < 2e-7
    assert worst(cpu_kernels.cos_half, lambda x: np.cos(np.pi * x), half32) < 2e-7
    assert worst(cpu_kernels.tanh_32, np.tanh, np.linspace(-20, 20, 2001, dtype=np.float32)) < 1e-6
    bend = np.linspace(0.001, cpu_kernels.STEEPEST, 501)
    assert worst(cpu_kernels.mean_growth, lambda x: np.expm1(x) / x, bend) < 3e-14
    assert worst(cpu_kernels.mean_growth_32, lambda x: np.expm1(x) / x, bend.astype(np.float32)) < 2e-7
    assert cpu_kernels.power(0.0, 0.1) == 0 and cpu_kernels.power(1.0, 3.3) == 1
