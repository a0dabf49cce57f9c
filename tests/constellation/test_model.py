"""The constellation, its file, and the sounds drawn from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from nebula_tune.cli.app import app
from nebula_tune.constellation import Constellation, load_sounds
from nebula_tune.corpus.dataset import SynthDataset
from nebula_tune.errors import NebulaError
from nebula_tune.nebula import Nebula
from nebula_tune.synth import FM, Voice
from nebula_tune.synth.placing import jitter, place, place_on_device, to_gaussian, to_raw
from tests.constellation.made import constellation

COUNT = len(Voice.panel)
SHORT = {"sample_rate": 8000, "seconds": 0.1}


def draw(sounds: Constellation | Nebula | str, first: int, count: int) -> np.ndarray:
    return Voice(sounds, **SHORT).draw(first, count).numpy()


def test_a_file_gives_back_the_same_constellation_and_the_same_sounds(tmp_path: Path) -> None:
    made = constellation(classes=("kick", "snare", "", "kick", "hat"), provenance={"target": "drums"})
    made = made.with_spread(0.3, keep_moments=True)
    made.save(tmp_path / "one.constellation.json")
    again = Constellation.load(tmp_path / "one.constellation.json")
    assert again.as_json() == made.as_json()
    assert again.classes == made.classes and again.provenance == {"target": "drums"}
    assert np.array_equal(draw(str(tmp_path / "one.constellation.json"), 7, 20), draw(made, 7, 20))


def test_spread_one_is_the_base_nebula_draw_for_draw() -> None:
    base = Nebula.load("drum")
    made = replace(constellation(spread=1.0), nebula=base)
    assert np.array_equal(draw(made, 1000, 50), draw(base, 1000, 50))
    audio = Voice(made, 4, **SHORT)(3)[0]
    assert torch.equal(audio, Voice(base, 4, **SHORT)(3)[0])


def test_towards_spread_one_the_draws_become_the_base_nebulas() -> None:
    near = draw(constellation(spread=1 - 1e-12), 0, 200)
    assert np.abs(near - draw("default", 0, 200)).max() < 1e-4


def test_spread_zero_is_the_atoms() -> None:
    made = constellation(spread=0.0)
    raw = draw(made, 0, 300)
    nearest = np.abs(raw[:, None] - to_raw(made.atoms)[None]).max(axis=2).min(axis=1)
    assert nearest.max() < 1e-7


def test_a_sound_depends_on_its_index_alone() -> None:
    made = constellation()
    together = draw(made, 5, 40)
    assert np.array_equal(together[33:35], draw(made, 38, 2))
    large, small = Voice(made, 6, **SHORT), Voice(made, 2, **SHORT)
    assert torch.equal(large(1)[0][2:4], small(4)[0])


def test_atoms_are_picked_by_their_weights_and_independently_of_the_jitter() -> None:
    made = replace(constellation(atoms=4, spread=0.0), weights=np.array([0.4, 0.3, 0.2, 0.1]))
    sounds = 8000
    raw = draw(made, 0, sounds)
    atom = np.abs(raw[:, None] - to_raw(made.atoms)[None]).max(axis=2).argmin(axis=1)
    counts = np.bincount(atom, minlength=4)
    assert stats.chisquare(counts, sounds * made.weights).pvalue > 1e-3
    own = draw("default", 0, sounds)
    assert all(stats.ks_2samp(own[atom == 0, k], own[atom != 0, k]).pvalue > 1e-5 for k in range(COUNT))


def test_the_law_is_the_specified_one() -> None:
    made = constellation(atoms=1, spread=0.6)
    q = to_gaussian(draw(made, 0, 4000))
    expected = (q - 0.8 * made.atoms[0]) / 0.6
    assert all(stats.kstest(expected[:, k], "norm").pvalue > 1e-5 for k in range(COUNT))


@pytest.mark.parametrize("spread", [0.3, 0.7, 1.0])
def test_the_form_that_keeps_moments_keeps_mean_and_deviation(spread: float) -> None:
    made = constellation(atoms=40).with_spread(spread, keep_moments=True)
    mean = made.weights @ made.atoms
    deviation = np.sqrt(made.weights @ np.square(made.atoms - mean))
    q = to_gaussian(draw(made, 0, 6000))
    assert np.abs(q.mean(axis=0) - mean).max() < 0.08
    assert np.abs(q.std(axis=0) / deviation - 1).max() < 0.1


def test_the_device_path_gives_the_same_draws() -> None:
    made = constellation(atoms=50, spread=0.35).with_spread(0.35, keep_moments=True)
    own, following = Voice(**SHORT).draw_with_coins(0, 500)
    here, there = place(made, own, following[:, 0]), place_on_device(made, own, following[:, 0])
    assert (here - there).abs().max() < 1e-6


def test_raw_draws_stay_below_one_and_come_back_from_gaussian_coordinates() -> None:
    edge = to_raw(np.array([-40.0, 40.0]))
    assert 0 <= edge[0] < 1e-30 and edge[1] < 1
    raw = np.array([0.0, 2.0**-24, 0.5, 1 - 2.0**-24], dtype=np.float32)
    assert np.allclose(to_raw(to_gaussian(raw)), raw, atol=2.0**-24)


def test_a_wider_spread_moves_sounds_further_from_their_atoms() -> None:
    own = Voice(**SHORT).draw(0, 100).numpy()
    made, atoms = constellation(), np.zeros(100, dtype=np.intp)
    away = [
        np.abs(jitter(made.with_spread(s, False), atoms, own) - to_raw(made.atoms[:1])).mean() for s in (0.05, 0.2, 0.5)
    ]
    assert away == sorted(away)


def test_a_class_draws_from_its_atoms_alone() -> None:
    made = constellation(classes=("kick", "snare", "", "kick", "hat"), spread=0.0)
    kicks = made.of_class("kick")
    assert len(kicks.atoms) == 2 and kicks.weights.sum() == pytest.approx(1)
    raw = draw(kicks, 0, 50)
    assert np.abs(raw[:, None] - to_raw(made.atoms[[0, 3]])[None]).max(axis=2).min(axis=1).max() < 1e-7
    with pytest.raises(NebulaError, match=r"no class 'clap'.*hat, kick, snare"):
        made.of_class("clap")
    with pytest.raises(NebulaError, match="--classes"):
        constellation().of_class("kick")


def test_synths_and_data_sets_take_one_wherever_a_nebula_goes(tmp_path: Path) -> None:
    made = constellation()
    made.save(tmp_path / "x.json")
    assert isinstance(load_sounds(tmp_path / "x.json"), Constellation)
    assert isinstance(load_sounds("drum"), Nebula)
    batch = next(iter(SynthDataset(str(tmp_path / "x.json"), count=4, batch_size=4, **SHORT)))
    assert torch.equal(batch.raw, Voice(made, **SHORT).draw(0, 4))
    with pytest.raises(NebulaError, match="not one of FM's"):
        FM(made)
    with pytest.raises(NebulaError, match="a nebula is needed here"):
        Nebula.load(tmp_path / "x.json")


def edited(change: dict[str, Any]) -> dict[str, Any]:
    return constellation(atoms=2).as_json() | change


ATOM = constellation(atoms=1).as_json()["atoms"][0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "not a constellation"),
        (edited({"version": 2}), "version 2"),
        (edited({"colour": 1}), "unknown key 'colour'"),
        (edited({"spread": 1.5}), "spread"),
        (edited({"spread": True}), "spread"),
        (edited({"spread": "0.1"}), "spread"),
        (edited({"parameters": ["a", 1]}), "parameters"),
        (edited({"parameters": ["a", "b"]}), "atom 0 has 78 coordinates; there are 2"),
        (edited({"atoms": []}), "at least one"),
        (edited({"atoms": [ATOM, {"weight": 1}]}), "atom 1 is not an object"),
        (edited({"atoms": [ATOM | {"extra": 1}]}), "atom 0 is not an object"),
        (edited({"atoms": [ATOM | {"coordinates": [0.0] * 3}]}), "atom 0 has 3 coordinates"),
        (edited({"atoms": [ATOM | {"coordinates": ["0"] * COUNT}]}), "coordinates of atom 0"),
        (edited({"atoms": [ATOM | {"coordinates": [10**400] * COUNT}]}), "coordinates of atom 0"),
        (edited({"atoms": [ATOM | {"coordinates": [99.0] * COUNT}]}), "within -8 and 8"),
        (edited({"atoms": [ATOM | {"coordinates": [float("nan")] * COUNT}]}), "finite"),
        (edited({"atoms": [ATOM | {"weight": -1}]}), "none below 0"),
        (edited({"atoms": [ATOM | {"weight": 0}]}), "not all 0"),
        (edited({"atoms": [ATOM | {"class": 3}]}), "class of atom 0"),
        (edited({"center": [0.0]}), "center and scale"),
        (edited({"scale": [-1.0] * COUNT}), "no scale below 0"),
        (edited({"provenance": []}), "provenance"),
        (edited({"nebula": {}}), "a JSON list"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(tmp_path: Path, data: Any, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    with pytest.raises(NebulaError, match=message) as caught:
        Constellation.load(path)
    assert str(path) in str(caught.value)


def test_render_draws_from_a_file_and_from_one_class_of_it(tmp_path: Path) -> None:
    made = constellation(classes=("kick", "snare", "", "kick", "hat"))
    made.save(tmp_path / "x.json")
    for options, source in (([], made), (["--class", "kick"], made.of_class("kick"))):
        out = tmp_path / f"out{len(options)}"
        arguments = [
            "render",
            str(tmp_path / "x.json"),
            "--count",
            "5",
            "--out",
            str(out),
            "--parameters-only",
            *options,
        ]
        assert CliRunner().invoke(app, arguments).exit_code == 0
        with np.load(out / "parameters.npz") as archive:
            assert np.array_equal(archive["raw"], draw(source, 0, 5))
    refused = CliRunner().invoke(app, ["render", "drum", "--count", "1", "--out", str(tmp_path), "--class", "kick"])
    assert isinstance(refused.exception, NebulaError)
