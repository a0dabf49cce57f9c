"""Matching sounds: a hidden preset is come near to, files are written once, and what cannot be done is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyarrow import parquet

from nebula_tune import match
from nebula_tune.errors import CorpusError, SettingsError
from nebula_tune.matching.match import Matched, _folder_names, _Sound
from nebula_tune.matching.refine import LEAST_ROUNDS, POPULATION, NearPreset, refine
from nebula_tune.synth import Voice
from nebula_tune.synth.placing import to_gaussian

SMALL = {"pool": 256, "keep": 2, "renders": 128, "embedding": "logmel", "seconds": 0.5}


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound of the Voice at parameters that nobody is told."""
    voice = Voice("drum", 1, 44100, 2.0)
    path = tmp_path_factory.mktemp("hidden") / "hit.wav"
    soundfile.write(path, voice.render(voice.draw(77, 1), 77)[0].numpy(), 44100)
    return path


@pytest.fixture(scope="module")
def matched(hidden: Path, tmp_path_factory: pytest.TempPathFactory) -> Matched:
    return match(hidden, nebula="drum", out=tmp_path_factory.mktemp("out") / "hit", **SMALL)[0]


def test_the_search_comes_nearer_than_the_pool_and_that_nearer_than_chance(matched: Matched) -> None:
    distances = [preset.distance for preset in matched.presets]
    assert distances == sorted(distances) and len(distances) == 2
    assert distances[0] < 0.9 * matched.pool_best.distance < 0.9 * matched.random_distance


def test_a_written_preset_is_the_sound_that_was_heard(matched: Matched) -> None:
    folder, preset = Path(matched.folder or ""), matched.presets[0]
    audio, rate = soundfile.read(folder / (preset.file or ""))
    voice = Voice(folder / "nebula.json", 1, rate, 0.5)
    raw = np.array([list(preset.raw.values())], dtype=np.float32)
    played = voice.render(voice.to_raw(voice.to_human(_tensor(raw))).float(), preset.index)[0].numpy()
    assert np.abs(played - audio).max() < 1e-3
    table = parquet.read_table(folder / "presets.parquet").to_pylist()
    assert [row["distance"] for row in table] == [one.distance for one in matched.presets]
    assert table[0]["human.vco_1.tuning"] == preset.human["vco_1.tuning"]
    again = match(matched.sound, nebula="drum", **SMALL)[0]
    assert again.presets[0].raw == preset.raw and again.presets[0].distance == preset.distance


def test_what_is_finished_is_not_done_again(matched: Matched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nebula_tune.matching.match.draw_pool", None)  # which would be called
    folder = Path(matched.folder or "")
    again = match(matched.sound, nebula="drum", out=folder, **SMALL)[0]
    assert again == matched
    with pytest.raises(CorpusError, match="holds matches with another seed"):
        match(matched.sound, nebula="drum", out=folder, seed=1, **SMALL)


def test_a_folder_is_matched_file_by_file(call, hidden: Path, tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for name in ("a.wav", "a.flac"):
        audio, rate = soundfile.read(hidden)
        soundfile.write(sounds / name, audio, rate)
    (sounds / "b.wav").write_bytes(b"no audio")
    options = ["--nebula", "drum", "--pool", "256", "--keep", "1", "--renders", "0", "--embedding", "logmel"]
    done = call("match", str(sounds), *options, "--out", str(tmp_path / "out"), "--report", str(tmp_path / "page.html"))
    assert done.code == 0, done.err
    assert "b.wav is left out: unreadable" in done.err
    assert {path.parent.name for path in (tmp_path / "out").rglob("1.wav")} == {"a.wav", "a.flac"}
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png") == 4 and page.count('class="card"') == 2
    listed = call("match", str(sounds), *options, "--json")
    results = json.loads(listed.out)
    assert [result["name"] for result in results] == ["a.flac", "a.wav"]
    assert results[0]["presets"][0] == results[0]["pool_best"]


def test_folders_have_names_of_their_own() -> None:
    sounds = [_Sound(Path(name), name) for name in ("kick.wav", "snare.wav", "snare.flac", "x/kick.wav", "kick.wav")]
    assert _folder_names(sounds[:4]) == ["kick", "snare.wav", "snare.flac", "x/kick"]
    assert _folder_names(sounds) == ["kick.wav", "snare.wav", "snare.flac", "x/kick", "kick.wav (2)"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": 10}, "--pool 10"),
        ({"keep": 0}, "--keep 0"),
        ({"renders": 20}, "--renders 20: 0, or at least"),
        ({"seconds": float("nan"), "out": "x"}, "--seconds nan"),
        ({"embedding": "logmel=0"}, "--embedding 'logmel=0'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], words: str, hidden: Path) -> None:
    with pytest.raises(SettingsError, match=words):
        match(hidden, **SMALL | options)  # type: ignore[arg-type]


def test_nothing_to_match_is_said(call, tmp_path: Path) -> None:
    (tmp_path / "no.wav").write_bytes(b"")
    assert call("match", str(tmp_path / "no.wav"), "--pool", "256").code == 2
    missing = call("match", str(tmp_path / "none.wav"))
    assert missing.code == 2 and "does not exist; give an audio file" in missing.err


def test_searches_share_what_may_be_rendered_and_none_ends_farther_than_it_began() -> None:
    rendered = []

    def measure(raw: np.ndarray, index: int) -> np.ndarray:
        rendered.append((index, len(raw)))
        return (raw - 0.8) * np.sqrt(np.abs(raw - 0.8))

    rng = np.random.default_rng(0)
    near = rng.uniform(0.1, 0.9, (64, 6)).astype(np.float32)
    pool = [NearPreset(raw, k, measure(raw[None], 0)[0]) for k, raw in enumerate(near)]
    pool.sort(key=lambda preset: preset.total)
    rendered.clear()
    renders = 4 * LEAST_ROUNDS * POPULATION
    found = refine(pool, measure, renders=renders, first_index=100, seed=0, progress=lambda *_: None)
    assert sum(count for _, count in rendered) <= renders and rendered[0][0] == 100
    assert all(index == 100 + sum(count for _, count in rendered[:k]) for k, (index, _) in enumerate(rendered))
    assert {count for _, count in rendered} == {4 * POPULATION, 2 * POPULATION, POPULATION}
    assert found[0].total < 0.1 * pool[0].total
    assert [one.total for one in found] == sorted(one.total for one in found) and len(found) == len(pool)
    assert all(one.total <= start.total for one, start in zip(found, pool, strict=True))
    for one in found[:4]:
        assert np.array_equal(one.residuals, measure(one.raw[None], one.index)[0])


def test_a_search_that_learns_from_vectors_comes_nearer_than_one_that_knows_distances_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    mixed = rng.standard_normal((30, 200)) / 30
    wanted = rng.standard_normal(30)

    def measure(raw: np.ndarray, index: int) -> np.ndarray:
        return np.tanh((to_gaussian(raw) - wanted) @ mixed)

    near = [NearPreset(raw, 0, measure(raw[None], 0)[0]) for raw in rng.uniform(0.2, 0.8, (16, 30)).astype(np.float32)]

    def distance() -> float:
        return refine(near, measure, renders=960, first_index=0, seed=0, progress=lambda *_: None)[0].total

    learning = distance()
    monkeypatch.setattr("nebula_tune.matching.refine.FIRST", 10**9)
    assert learning < 0.5 * distance()


def _tensor(raw: np.ndarray):
    import torch

    return torch.from_numpy(raw)
