"""benchmarks/downstream.py: names to classes, splits, the probe, pairs, and the whole way at its smallest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmarks import downstream
from nebula_tune.synth import Voice


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Kick-3.wav", "bass drum"),
        ("bassdrum-4mics-br-stereo-soft2.flac", "bass drum"),
        ("HardHse_K_03_B.flac", "bass drum"),
        ("kit/jsnare_04.flac", "snare"),
        ("SN3_03.aiff", "snare"),
        ("PearlTomFloor-Softest.wav", "tom"),
        ("t1_02.flac", "tom"),
        ("VP Hat 1 Cl.flac", "closed hat"),
        ("SabianHatClosed-Med.wav", "closed hat"),
        ("closehihat3.flac", "closed hat"),
        ("HiHatOpen-0.wav", "open hat"),
        ("Hard_Hse_OHH_1.flac", "open hat"),
        ("crash16i__crash1.flac", "crash"),
        ("RideBow-1.wav", "ride"),
        ("HandClap-Soft.wav", "clap"),
        ("PowR_HH_1.flac", None),  # open or closed
        ("CrashRide18-1.wav", None),  # a crash or a ride
        ("crash20i__ride4.flac", None),
        ("snare-opaque-normal-mic-rimshot6.flac", None),
        ("SnareOff-2.wav", None),
        ("hihat-semi-open-2.flac", None),
        ("RideBell-1.wav", None),
        ("beats_06-44.flac", None),
        ("EE_Conga_1.flac", None),
    ],
)
def test_a_class_is_what_the_name_says_and_no_other(file: str, name: str | None) -> None:
    assert downstream.instrument(file) == name


@pytest.mark.parametrize("seed", range(5))
def test_no_split_has_a_part_of_a_kit_and_all_are_alike_in_size(seed: int) -> None:
    kits = [f"kit {k}" for k in np.random.default_rng(seed).integers(0, 12, 300)]
    splits = downstream.split_groups(kits, 5, seed)
    assert all(len(set(splits[np.array(kits) == kit])) == 1 for kit in kits)
    assert set(splits) == set(range(5))
    assert np.bincount(splits).max() - np.bincount(splits).min() <= max(kits.count(kit) for kit in set(kits))


def test_fewer_kits_than_splits_are_refused() -> None:
    with pytest.raises(downstream.UserInputError, match="5 splits need as many kits with named sounds; there are 2"):
        downstream.split_groups(["a", "b", "b"], 5)


def labelled(sounds: int, dimensions: int) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Noise (sounds, dimensions), four classes, groups, and each class's own place."""
    random = np.random.default_rng(0)
    labels = np.array(["a", "b", "c", "d"])[np.arange(sounds) % 4]
    groups = [f"kit {k // 8 % 10}" for k in range(sounds)]
    places = np.eye(4)[np.arange(sounds) % 4][:, np.arange(dimensions) % 4]
    return random.standard_normal((sounds, dimensions)), labels, groups, places


@pytest.mark.parametrize("dimensions", [6, 400])
def test_the_probe_tells_all_of_what_a_plane_parts(dimensions: int) -> None:
    noise, labels, groups, places = labelled(240, dimensions)
    vectors = 0.01 * noise + places
    assert (downstream.probe(vectors[:160], labels[:160], groups[:160], vectors[160:]) == labels[160:]).all()


def test_the_probe_tells_of_noise_what_chance_does() -> None:
    noise, labels, groups, _ = labelled(1200, 10)
    told = downstream.probe(noise[:400], labels[:400], groups[:400], noise[400:])
    assert 0.18 < (told == labels[400:]).mean() < 0.32  # 0.25 and four standard errors


def test_vectors_that_are_all_alike_are_told_as_one_class() -> None:
    _, labels, groups, _ = labelled(80, 3)
    assert len(set(downstream.probe(np.ones((80, 3)), labels, groups, np.ones((5, 3))))) == 1


def test_balanced_accuracy_counts_classes_alike_and_resamples_kits() -> None:
    counts = {"x": {"snare": [9, 10], "tom": [0, 1]}, "y": {"snare": [1, 10]}}
    figure, low, high = downstream.accuracy([{"counts": counts}])
    assert figure == pytest.approx((0.5 + 0) / 2)
    assert (low, high) == pytest.approx((0.1, 0.45))  # twice y, which has no tom; twice x
    assert downstream.accuracy([{"counts": counts}], [{"counts": counts}]) == (0, 0, 0)


def test_pairs_are_nearby_and_no_jitter_gives_the_same_parameters() -> None:
    raw = Voice("default", 8).draw(downstream.FIRST, 8)
    near, same = (downstream.nearby(raw, downstream.FIRST, jitter) for jitter in (0.25, 0.0))
    assert torch.allclose(same, raw, atol=1e-6)
    moved = downstream.to_gaussian(near.numpy()) - downstream.to_gaussian(raw.numpy())
    assert 0.22 < moved.std() < 0.28
    assert not torch.equal(downstream.nearby(raw, downstream.FIRST + 8, 0.25), near)


def test_augmentation_moves_in_time_and_leaves_the_floor() -> None:
    pictures = torch.zeros(50, 20, downstream.BANDS)
    pictures[:, 3] = 0.5
    changed = downstream.augmented(pictures, torch.Generator().manual_seed(0))
    frames = changed.amax(dim=2).argmax(dim=1)
    assert set(frames.tolist()) == set(range(3, 4 + downstream.SHIFT))
    assert int((changed > 0).sum()) == 50 * downstream.BANDS
    assert 0.02 < changed.amax(dim=(1, 2)).std() < 0.1


@pytest.mark.slow
def test_training_brings_the_two_of_a_pair_together() -> None:
    pictures = torch.rand(8, 32, downstream.BANDS, generator=torch.Generator().manual_seed(0))
    pairs = torch.stack([pictures, pictures * 0.9])
    untrained, network = downstream.encoder(0), downstream.trained(pairs, 12, 0)
    with torch.no_grad():
        before, after = (downstream.contrast(each.head(each(pairs.flatten(0, 1)))) for each in (untrained, network))
    assert after < 0.7 * before


@pytest.fixture
def kits(tmp_path: Path) -> Path:
    """Six kits of four sounds, of which three are named."""
    folder, random = tmp_path / "kits", np.random.default_rng(0)
    for kit in range(6):
        (folder / str(kit)).mkdir(parents=True)
        for name, low in (("kick", 60), ("snare", 900), ("openhat", 5000), ("thing", 2000)):
            fall = np.exp(-np.arange(6000) / 1500)
            tone = np.sin(2 * np.pi * low * (1 + 0.1 * kit) * np.arange(6000) / 22050)
            soundfile.write(folder / str(kit) / f"{name}.wav", fall * (0.5 * tone + 0.1 * random.random(6000)), 22050)
    return folder


@pytest.mark.slow
def test_all_kinds_of_rows_are_made_once_and_make_a_table(
    kits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(downstream, "CHANNELS", (2, 2, 2, 2))
    rows = tmp_path / "rows.jsonl"
    given = ["run", str(kits), "--more", "again=drum", "--augmented", "again", "--ears", "logmel"]
    given += ["--without", "5", "--sounds", "4", "--steps", "2", "--rows", str(rows)]
    downstream.main(given)
    written = rows.read_text()
    assert [row["label"] for row in map(json.loads, written.splitlines())] == [
        *("logmel", "untrained", "default", "drum", "again", "again, augmented", "kits, augmented")
    ]
    for row in map(json.loads, written.splitlines()):
        assert {kit: sorted(of_kit) for kit, of_kit in row["counts"].items()} == {
            str(kit): ["bass drum", "open hat", "snare"] for kit in range(5)
        }
    downstream.main(given)
    assert rows.read_text() == written
    capsys.readouterr()
    downstream.main(["table", str(rows)])
    table = capsys.readouterr().out
    assert "### kits, without 5; 4 sounds, 2 steps" in table
    assert "| again, augmented | 0." in table
    assert "bass drum (5)" in table


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["run", "KITS", "--more", "tuned"], "--more tuned: it is NAME=NEBULA"),
        (["run", "KITS", "--more", "tuned=nowhere.json"], "no nebula 'nowhere.json'"),
        (["run", "KITS", "--more", "odd=default@organ"], "no synth 'organ'"),
        (["run", "KITS", "--augmented", "tuned"], "--augmented tuned: the names are default, drum"),
        (["run", "KITS", "--rows", "nowhere/rows.jsonl"], "there is no folder nowhere"),
        (["run", "KITS", "--without", "7"], "has no kit 7"),
        (["classes", "nowhere"], "nowhere"),
        (["table", "nowhere.jsonl"], "nowhere.jsonl: not a file of rows"),
        (["table", "KITS/../odd.jsonl"], "not a file of rows"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    kits: Path, capsys: pytest.CaptureFixture[str], given: list[str], line: str
) -> None:
    (kits.parent / "odd.jsonl").write_text("[1]\n")
    with pytest.raises(SystemExit) as stop:
        downstream.main([each.replace("KITS", str(kits)) for each in given])
    assert stop.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()
    assert len(last) == 1
    assert line in last[0]
