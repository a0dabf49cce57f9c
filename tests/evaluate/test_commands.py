"""`compare`, `rank` and `dataset` through the real command: tables, files, one clear line for every bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.study.tiny import make_target


def make_ranked(root: Path, presets: int = 12, ranks: int = 6) -> Path:
    """Each preset a tone of its own colour, higher with each rank."""
    time = np.arange(2000) / 8000
    for k in range(presets):
        (root / f"p{k}").mkdir(parents=True)
        rng = np.random.default_rng(k)
        weights = rng.uniform(size=6)
        for rank in range(ranks):
            hertz = 110 * 2 ** (rank / 6)
            wave = sum(w * np.sin(2 * np.pi * hertz * (h + 1) * time) for h, w in enumerate(weights))
            soundfile.write(root / f"p{k}/{rank}.wav", 0.1 * wave * np.exp(-time * 5), 8000)
    return root


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_compare_prints_and_writes_the_same_table(call, tmp_path: Path) -> None:
    make_target(tmp_path / "a/deep/er", 24)
    make_target(tmp_path / "b", 20)
    (tmp_path / "b/broken.wav").write_bytes(b"RIFF nothing")
    before = sorted(tmp_path.rglob("*"))
    common = ["compare", "a", "b", "white-noise", "--sounds", "40", "--trials", "30"]
    shown = call(*common)
    assert shown.code == 0 and "eq. 2" in shown.out and "95 % interval" in shown.out
    assert "a: 24 sounds in 24 groups, by file" in shown.out
    assert "b: 1 left out:" in shown.err and "broken.wav: unreadable" in shown.err
    assert "a and b share 20 sounds" in shown.err
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written into anybody's folder"

    done = call(*common, "--json", "--csv", "out/t.csv", "--indiv", "i.csv", "--out", "map.png")
    (report,) = json.loads(done.out)
    assert report["embedding"] == "logmel" and report["corpora"][1]["skipped"][0]["name"] == "broken.wav"
    written = read(tmp_path / "out/t.csv")
    assert [(row["corpus_1"], row["corpus_2"]) for row in written] == [(r["a"], r["b"]) for r in report["rows"]]
    assert [float(row["mmd_unbiased"]) for row in written] == [row["mmd_unbiased"] for row in report["rows"]]
    assert len(written) == 6 and {row["trials"] for row in written} == {"30"}
    files = read(tmp_path / "i.csv")
    assert len(files) == 2 * (24 + 20 + 40) and files[0]["corpus"] == "a"
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_compare_gives_every_nebula_sounds_of_its_own(call) -> None:
    done = call("compare", "drum", "drum", "--sounds", "64", "--trials", "20", "--json")
    (report,) = json.loads(done.out)
    rows = {(row["a"], row["b"]): row for row in report["rows"]}
    assert set(rows) == {("drum", "drum"), ("drum", "drum (2)"), ("drum (2)", "drum (2)")}
    assert rows["drum", "drum (2)"]["ci95"][0] == 0 and report["notes"] == []


def test_compare_tells_corpora_apart_where_asked(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NETWORKS", 1), ("FOLDS", 2), ("LEAST_STEPS", 2), ("EPOCHS", 1)):
        monkeypatch.setattr(f"nebula_tune.evaluate.network_judge.{name}", value)
    paths = sorted(make_target(tmp_path / "kits", 18).iterdir())
    for k, path in enumerate(paths):
        (tmp_path / f"kits/{k % 3}").mkdir(exist_ok=True)
        path.rename(tmp_path / f"kits/{k % 3}/{path.name}")
    common = ["compare", "kits", "white-noise", "--sounds", "24", "--trials", "4", "--group-by", "folder"]
    asked = [*common, "--told-apart", "--csv", "t.csv"]
    reports = json.loads(call(*asked, "--json", "--embedding", "logmel", "--embedding", "mss").out)
    found = [{(row["a"], row["b"]): row["told_apart"] for row in one["rows"]} for one in reports]
    assert found[0] == found[1], "judges hear with none of the embeddings"
    assert found[0]["kits", "kits"] is None, "three groups have no halves of two"
    assert found[0]["kits", "white-noise"]["linear"] > 0.9 and 0 <= found[0]["kits", "white-noise"]["network"] <= 1
    assert set(found[0]["white-noise", "white-noise"]) == {"network", "linear"}
    written = {(row["corpus_1"], row["corpus_2"]): row for row in read(tmp_path / "t.csv")}
    assert float(written["kits", "white-noise"]["told_apart_linear"]) == found[0]["kits", "white-noise"]["linear"]
    assert written["kits", "kits"]["told_apart_network"] == ""
    shown = call(*asked)
    assert "network AUC" in shown.out and "telling corpora apart: up to" in shown.err
    assert "network AUC" not in call(*common).out


def test_compare_hears_with_several_embeddings(call, tmp_path: Path) -> None:
    make_target(tmp_path / "a", 20)
    common = ["compare", "a", "white-noise", "--sounds", "16", "--trials", "4", "--json"]
    reports = json.loads(call(*common, "--embedding", "logmel", "--embedding", "mss", "--prepare", "rms-only").out)
    assert [one["embedding"] for one in reports] == ["logmel", "mss"]
    assert {one["prepare"] for one in reports} == {"rms-only"}


def test_compare_groups_by_folder_and_says_where_groups_are_few(call, tmp_path: Path) -> None:
    for k in range(3):
        folder = make_target(tmp_path / f"kits/{k}", 30)
        for path in folder.iterdir():
            if int(path.stem) % 3 != k:
                path.unlink()
    common = ["compare", "kits", "white-noise", "--sounds", "40", "--trials", "4"]
    assert "kits lies in 3 folders and is grouped by file" in call(*common).err
    by_folder = call(*common, "--group-by", "folder")
    (report,) = json.loads(call(*common, "--group-by", "folder", "--json", "--csv", "t.csv", "--out", "t.png").out)
    itself = next(row for row in report["rows"] if row["a"] == row["b"] == "kits")
    assert itself["ci95"] is None, "three groups have no halves of two"
    assert "kits has 3 groups; its intervals and p-values are rough" in by_folder.err
    assert "kits: 30 sounds in 3 groups, by folder" in by_folder.out
    assert "white-noise: 40 sounds in 40 groups, by file" in by_folder.out


def test_compare_takes_some_files_of_a_large_folder_always_the_same(call, tmp_path: Path) -> None:
    make_target(tmp_path / "a", 40)
    common = ["compare", "a", "white-noise", "--sounds", "20", "--trials", "4", "--json", "--indiv"]
    chosen = []
    for name in ("1.csv", "2.csv"):
        call(*common, name)
        chosen.append({row["file"] for row in read(tmp_path / name) if row["corpus"] == "a"})
    assert len(chosen[0]) == 20 and chosen[0] == chosen[1]


def test_rank_prints_and_writes_the_same_table(call, tmp_path: Path) -> None:
    root = make_ranked(tmp_path / "set")
    (root / "p0/two.wav").write_bytes((root / "p0/2.wav").read_bytes())
    soundfile.write(root / "p1/9.wav", np.zeros(4000), 8000)
    (root / "few").mkdir()
    (root / "few/1.wav").write_bytes((root / "p0/2.wav").read_bytes())
    common = ["rank", "set", "--embedding", "logmel", "--embedding", "mss", "--trials", "5"]
    shown = call(*common, "-v")
    assert shown.code == 0 and "logmel normed" in shown.out and "Spearman" in shown.out
    for line in ("p0/two.wav: its name is no integer", "p1/9.wav: silent", "few: 1 different sounds; 3 are needed"):
        assert line in shown.err
    assert "12 presets are few" in shown.err and "24 sounds a trial, not 400" in shown.err

    report = json.loads(call(*common, "--json", "--csv", "t.csv", "--out", "t.svg").out)
    assert (report["presets"], report["sounds"]) == (12, 72) and len(report["skipped"]) == 3
    labels = {row["representation"] for row in report["rows"]}
    assert labels == {"logmel", "logmel normed", "mss", "mss normed"}
    best = report["rows"][0]
    assert best["spearman"]["mean"] == max(row["spearman"]["mean"] for row in report["rows"])
    assert report["spearman_by_chance"] < best["spearman"]["mean"] <= 1
    assert len(report["differences"]) == 6
    written = read(tmp_path / "t.csv")
    assert [float(row["spearman"]) for row in written] == [row["spearman"]["mean"] for row in report["rows"]]
    assert b"<svg" in (tmp_path / "t.svg").read_bytes()


def test_rank_hears_with_the_same_draws_whatever_is_beside_it(call, tmp_path: Path) -> None:
    make_ranked(tmp_path / "set")
    alone, beside = (
        json.loads(call("rank", "set", "--trials", "5", "--json", *more).out)
        for more in (["--embedding", "logmel"], ["--embedding", "mss", "--embedding", "logmel"])
    )
    figures = [
        {row["representation"]: (row["spearman"], row["dcg"]) for row in report["rows"]} for report in (alone, beside)
    ]
    assert figures[0]["logmel"] == figures[1]["logmel"]


def test_a_data_set_made_here_is_ranked_by_tritones(call, tmp_path: Path) -> None:
    made = call("dataset", "pitch", "--out", "set", "--presets", "3", "--step", "6")
    assert made.code == 0 and made.out == "set: 3 presets, 45 sounds\n"
    report = json.loads(call("rank", "set", "--embedding", "logmel", "--trials", "5", "--json").out)
    assert report["kind"] == "pitch" and report["experiments"]["apart"] == 6
    assert call("dataset", "pitch", "--out", "set", "--presets", "3", "--step", "3").code == 2


BAD = [
    (["compare", "a"], "two corpora at least"),
    (["compare", "a", "nowhere"], "nowhere does not exist"),
    (["compare", "a", "a", "--embedding", "nope"], "no embedding 'nope'"),
    (["compare", "a", "a", "--weights", "w.h5"], "logmel does not take these options"),
    (["compare", "a", "a", "--embedding", "mss", "--embedding", "aisfx", "--weights", "w"], "--weights is for one"),
    (["compare", "a", "a", "--distance", "gaussian"], "l1 or euclidean"),
    (["compare", "a", "a", "--prepare", "nope"], "onset or rms-only"),
    (["compare", "a", "a", "--group-by", "folder"], "a is one folder"),
    (["compare", "a", "a", "--out", "map.bmp"], "must end in .png"),
    (["compare", "a", "a", "--trials", "100000", "--n", "9"], "--trials 100000"),
    (["rank", "nowhere"], "nowhere does not exist"),
    (["rank", "a"], "0 presets of at least 3 usable sounds"),
    (["rank", "set", "--apart", "9"], "0 of 2 presets have two sounds 9 ranks apart"),
    (["rank", "set", "--presets", "1"], "--presets 1"),
    (["dataset", "loudness", "--out", "x"], "no data set 'loudness'"),
    (["dataset", "pitch", "--out", "a"], "holds something else"),
    (["dataset", "pitch", "--out", "x", "--instrument", "nope"], "no instrument 'nope'"),
    (["dataset", "velocity", "--out", "x", "--banks", "a"], "holds no DX7 banks"),
    (["dataset", "timbre", "--out", "x", "--presets", "0"], "--presets 0"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_input_gets_one_clear_line(arguments: list[str], message: str, call, tmp_path: Path) -> None:
    make_target(tmp_path / "a", 18)
    make_ranked(tmp_path / "set", 2, 3)
    outcome = call(*arguments)
    assert message in outcome.line
    assert outcome.code == 2 and outcome.out == ""
