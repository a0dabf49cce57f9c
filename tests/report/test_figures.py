"""What a report draws, against what it draws it from."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from nebula_tune.nebula import Nebula
from nebula_tune.report.charts import bars, convergence
from nebula_tune.report.clouds import principal
from nebula_tune.report.densities import changes, cumulative, human, quantile
from nebula_tune.report.spectrogram import COLUMNS, ROWS, spectrogram
from nebula_tune.storage.store import Stored
from nebula_tune.synth import Voice
from nebula_tune.synth.parameters import Parameter, to_unit
from nebula_tune.trial import Score


@pytest.mark.parametrize("curve", [0.03, 0.5, 1.0, 3.0, 40.0])
@pytest.mark.parametrize("symmetric", [False, True])
def test_densities_are_those_of_drawn_parameters(curve: float, symmetric: bool) -> None:
    raw = torch.from_numpy((np.arange(200_000) + 0.5) / 200_000)
    drawn = to_unit(raw, torch.tensor(curve, dtype=torch.float64), torch.tensor(symmetric)).numpy()
    for unit in (0.001, 0.1, 0.4999, 0.5001, 0.8, 0.999):
        assert cumulative(np.array(unit), curve, symmetric) == pytest.approx((drawn <= unit).mean(), abs=1e-5)
    for share in (0.05, 0.5, 0.95):
        assert quantile(share, curve, symmetric) == pytest.approx(np.quantile(drawn, share), abs=1e-4)


def test_the_most_changed_parameter_comes_first_by_how_far_its_sounds_moved() -> None:
    start = Voice.panel.default_nebula
    after = Nebula({"adsr_1.decay": 20.0, "vco_1.tuning": 0.9}, {})
    found = changes(Voice.panel, start, after)
    assert len(found) == 78 and [one.name for one in found[:2]] == ["adsr_1.decay", "vco_1.tuning"]
    # means of t^(1/c): c / (c + 1)
    assert found[0].moved == pytest.approx(20 / 21 - 0.5 / 1.5, abs=1e-3)
    assert found[2].moved == 0
    assert found[0].unit == "s" and found[0].after is not None and found[0].after.median.endswith(" s")
    assert changes(Voice.panel, start, None)[0].after is None


def test_values_are_told_in_human_units() -> None:
    hertz = Parameter("frequency", 0.0, 20.0, unit="Hz")
    assert human(hertz, 0.5) == "10 Hz" and human(hertz, 0.0) == "0 Hz" and human(hertz, 0.12345) == "2.47 Hz"
    assert human(hertz, 1e-5) == "2e-04 Hz" and human(hertz, 1.0, named=False) == "20"


def stored(phase: int, index: int, value: float, relaxed: bool = False) -> Stored:
    score = cast(Score, SimpleNamespace(value=value))
    return Stored((phase, 0, index), ("grid", "witness")[phase], score, relaxed, {}, index, index)


def test_convergence_never_rises_and_leaves_out_relaxed_trials() -> None:
    trials = [stored(0, 0, 100.0), stored(0, 1, 300.0), stored(1, 0, 5.0, relaxed=True), stored(1, 1, 50.0)]
    figure = convergence(trials)
    assert figure is not None and figure.logarithmic and len(figure.dots) == figure.count == 4
    heights = {round(dot.y, 1): dot.relaxed for dot in figure.dots}
    assert sum(heights.values()) == 1
    best = [float(y) for y in re.findall(r"V([\d.]+)", figure.best)]
    assert best == [figure.dots[3].y]
    assert [phase.text for phase in figure.phases] == ["grid (2)", "witness (2)"]
    linear = convergence([stored(0, 0, -3.0), stored(0, 1, 4.0)])
    assert linear is not None and not linear.logarithmic and "0" in [tick.text for tick in linear.ticks]
    assert convergence([]) is None and convergence([stored(0, 0, 7.0)]) is not None


def test_score_card_bars_are_in_proportion() -> None:
    rows = {"a": {"x": 100.0, "ci95": [50.0, 150.0]}, "b": {"x": -50.0, "ci95": [-60.0, 0.0]}}
    figure = bars(rows, "x")
    a, b = figure.rows
    assert (a.at - figure.zero) / (figure.zero - b.at) == pytest.approx(2, abs=0.01)
    assert a.low < a.at < a.high and b.high == figure.zero


def test_the_maps_directions_are_the_principal_ones() -> None:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(80, 3)) * [5.0, 2.0, 0.3] @ random.normal(size=(3, 40)) + 7).astype(np.float32)
    places, shares = principal(vectors)
    centred = vectors - vectors.mean(axis=0)
    left, values, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    inside = ((places > 0) & (places < 1)).all(axis=1)
    assert inside.sum() >= 74
    for k in range(2):
        assert abs(np.corrcoef(places[inside, k], left[inside, k])[0, 1]) > 0.9999
        assert shares[k] == pytest.approx(values[k] ** 2 / np.square(values).sum(), rel=1e-4)


def test_a_spectrogram_is_bright_where_the_sound_is() -> None:
    from matplotlib.image import imread

    rate = 44100
    sound = np.zeros(2 * rate, dtype=np.float32)
    sound[rate:] = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    picture = imread(io.BytesIO(spectrogram(sound, rate)), format="png")[..., :3].sum(axis=2)
    assert picture.shape == (ROWS, COLUMNS)
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    hertz = 40 * (16000 / 40) ** (1 - (row + 0.5) / ROWS)
    assert hertz == pytest.approx(1000, rel=0.1) and column > COLUMNS // 2
    assert picture[:, : COLUMNS // 2 - 4].max() < 0.5
    assert imread(io.BytesIO(spectrogram(np.zeros(rate, np.float32), rate)), format="png").shape[:2] == (ROWS, COLUMNS)
