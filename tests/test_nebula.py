"""The nebula and its file."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nebula_tune.constellation import load_sounds
from nebula_tune.errors import NebulaError
from nebula_tune.nebula import ALMOST_LINEAR, Nebula
from nebula_tune.synth import Voice
from tests.synth import torchsynth_peer
from tests.synth.sounds import nebula, snr


def curve(value: Any, module: str = "adsr_1", parameter: str = "attack") -> dict[str, Any]:
    return {"name": [module, parameter, "curve"], "value": value}


def symmetric(value: Any) -> dict[str, Any]:
    return {"name": ["adsr_1", "attack", "symmetric"], "value": value}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "a JSON list"),
        (["attack"], "entry 0 is not an object"),
        ([{"name": ["adsr_1", "attack", "curve"]}], "entry 0 is not an object"),
        ([curve(1), {"name": ["adsr_1", "attack"], "value": 1}], "entry 1: name"),
        ([{"name": "adsr_1.attack.curve", "value": 1}], "entry 0: name"),
        ([{"name": ["adsr_1", 3, "curve"], "value": 1}], "entry 0: name"),
        ([{"name": ["adsr_1", "attack", "minimum"], "value": 1}], "entry 0: name"),
        ([curve(0)], "above 0"),
        ([curve(-1)], "above 0"),
        ([curve(float("nan"))], "above 0"),
        ([curve(float("inf"))], "above 0"),
        ([curve("1")], "entry 0: curve of adsr_1.attack"),
        ([curve(None)], "entry 0: curve of adsr_1.attack"),
        ([curve(True)], "entry 0: curve of adsr_1.attack"),
        ([symmetric("yes")], "entry 0: symmetric of adsr_1.attack"),
        ([symmetric(0.5)], "entry 0: symmetric of adsr_1.attack"),
        ([curve(1), curve(1)], "entry 1: curve of adsr_1.attack is given twice"),
        ([symmetric(True), symmetric(True)], "entry 1: symmetric of adsr_1.attack is given twice"),
    ],
)
def test_a_bad_file_is_refused_with_the_entry_at_fault(tmp_path: Path, entries: Any, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(NebulaError, match=message) as caught:
        Nebula.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(NebulaError, match="cannot read nebula"):
        Nebula.load(path)


def test_an_unknown_name_lists_the_shipped_nebulae() -> None:
    with pytest.raises(NebulaError, match="default, drum"):
        Nebula.load("no-such-nebula")


def test_a_partial_list_is_accepted_with_numbers_for_flags(tmp_path: Path) -> None:
    path = tmp_path / "partial.json"
    path.write_text(json.dumps([curve(2), symmetric(1)]))
    partial = Nebula.load(path)
    assert partial == Nebula({"adsr_1.attack": 2.0}, {"adsr_1.attack": True})
    assert Voice(partial, seconds=0.1).nebula.curves["mixer.noise"] == 0.025


def test_an_existing_file_wins_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("drum").write_text(json.dumps([curve(3)]))
    assert Nebula.load("drum").curves == {"adsr_1.attack": 3.0}


@pytest.mark.parametrize("name", ["default", "drum", "random-1"])
def test_saving_and_loading_gives_the_same_nebula(tmp_path: Path, name: str) -> None:
    original = nebula(name)
    original.save(tmp_path / "saved.json")
    loaded = Nebula.load(tmp_path / "saved.json")
    assert loaded == original and loaded.to_json() == original.to_json()
    assert pickle.loads(pickle.dumps(original)) == original


def test_a_nebula_cannot_be_changed() -> None:
    fixed: Any = Nebula({"adsr_1.attack": 2.0})
    with pytest.raises(TypeError):
        fixed.curves["adsr_1.attack"] = 1.0


def test_a_symmetric_curve_of_exactly_1_is_never_written(tmp_path: Path) -> None:
    panel = Voice.panel
    linear = panel.nebula([1.0] * len(panel), [True] * len(panel))
    linear.save(tmp_path / "linear.json")
    values = [e["value"] for e in json.loads((tmp_path / "linear.json").read_text()) if e["name"][2] == "curve"]
    assert values == [ALMOST_LINEAR] * len(panel)
    assert Nebula({"a.b": 1.0}, {"a.b": False}).entries()[0]["value"] == 1


def test_torchsynth_loads_an_export_and_plays_the_same_sounds(tmp_path: Path) -> None:
    panel, path = Voice.panel, tmp_path / "exported.json"
    curves, flags = panel.arrays(nebula("random-7"))
    curves[::7], flags[::7] = 1, True  # torchsynth would lose half of these ranges
    exported = panel.nebula(curves, flags)
    exported.save(path)

    peer = torchsynth_peer.voice(str(path), sample_rate=16000, seconds=0.5)
    audio, raw, _ = (part.as_subclass(torch.Tensor).numpy() for part in peer(2))
    mine = Voice(exported, 32, 16000, 0.5)
    np.testing.assert_array_equal(raw, mine.draw(64, 32).numpy())
    exact = Voice(Nebula.load(path), 32, 16000, 0.5, dtype=torch.float64)(2)[0].numpy()
    assert np.percentile(snr(audio, exact), 10) > 40
    assert np.percentile(snr(mine(2)[0].numpy(), exact), 10) > 40

    peer.save_hyperparameters(str(tmp_path / "theirs.json"))
    assert Nebula.load(tmp_path / "theirs.json") == Nebula.load(path)


def entry(name: str, kind: str, value: Any) -> dict[str, Any]:
    return {"name": [*name.split("."), kind], "value": value}


HALVED = {
    "both given": [entry("adsr_1.attack", "curve", 1), entry("adsr_1.attack", "symmetric", True)],
    "a float and a number": [entry("vco_2.shape", "curve", 1.0), entry("vco_2.shape", "symmetric", 1)],
    "the curve, of one that is symmetric": [entry("lfo_1.mod_depth", "curve", 1)],
    "the flag, of one whose curve is 1": [entry("mixer.vco_1", "symmetric", True)],
}


@pytest.mark.parametrize("case", HALVED)
@pytest.mark.parametrize("reads", [Nebula.load, load_sounds])
def test_a_symmetric_curve_of_exactly_1_in_a_file_is_named(
    case: str, reads: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "torchsynth.json"
    path.write_text(json.dumps(HALVED[case]))
    for _ in range(2):  # said once
        reads(path)
    (record,) = caplog.records
    name = ".".join(HALVED[case][0]["name"][:2])
    assert f"{path}: symmetric with a curve of exactly 1: {name}; torchsynth 1.0" in record.getMessage()
    assert str(ALMOST_LINEAR) in record.getMessage()


def test_other_curves_are_read_in_silence_and_many_are_named_in_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    panel = Voice.panel
    linear = panel.nebula([1.0] * len(panel), [True] * len(panel))
    linear.save(tmp_path / "ours.json")
    quiet = [entry("adsr_1.attack", "curve", 1), entry("lfo_1.mod_depth", "curve", 1)]
    quiet += [entry("lfo_1.mod_depth", "symmetric", False), entry("operator_1.level", "curve", 1)]
    (tmp_path / "quiet.json").write_text(json.dumps(quiet))
    for path in ("ours.json", "quiet.json"):
        Nebula.load(tmp_path / path)
    for name in ("default", "drum"):
        Nebula.load(name)
    assert not caplog.records
    entries = [e | {"value": 1 if e["name"][2] == "curve" else True} for e in linear.entries()]
    (tmp_path / "all.json").write_text(json.dumps(entries))
    assert Nebula.load(tmp_path / "all.json") == linear
    assert "and 73 others" in caplog.text


def test_render_says_it_on_stderr_and_plays_what_it_did(call, tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text(json.dumps(HALVED["both given"]))
    outcome = call("render", "n.json", "--count", "1", "--seconds", "0.1", "--out", "sounds")
    assert outcome.code == 0 and outcome.err.count("adsr_1.attack") == 1


def test_torchsynth_halves_the_ranges_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text(json.dumps(HALVED["both given"]))
    peer = torchsynth_peer.voice(str(tmp_path / "n.json"), sample_rate=16000, seconds=0.5)
    parameter = peer.adsr_1.get_parameter("attack").parameter_range
    low, high = (float(parameter.from_0to1(torch.tensor(u))) for u in (0.0, 1.0))
    assert (low, high) == (1.0, 2.0), "of 0 to 2 seconds"
