"""The report's page, without a browser."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nebula_tune.constellation import Constellation
from nebula_tune.errors import NebulaTuneError
from nebula_tune.nebula import Nebula
from nebula_tune.report import clouds
from nebula_tune.report.page import page, write_report
from nebula_tune.report.view import View, usual_nebula
from nebula_tune.results import figure
from nebula_tune.storage.ledger import Ledger
from tests.report.conftest import Reported
from tests.study.tiny import TinyStudy, let_go, make_target


@pytest.fixture(autouse=True)
def fewer_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of these tests: an eighth of the map's marks."""
    monkeypatch.setattr(clouds, "DOTS", 96)


class Reader(HTMLParser):
    """Addresses a page would load, ids, and text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attributes:
            if name in ("src", "href", "action", "srcset"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


def sounds(text: str) -> Any:
    return json.loads(re.search(r'<script type="application/json" id="sounds">(.*?)</script>', text, re.S)[1])


@pytest.fixture(scope="module")
def text(reported: Reported) -> str:
    return reported.page.read_text()


def test_a_finished_run_writes_its_page_and_it_loads_nothing(reported: Reported, text: str) -> None:
    assert reported.page.stat().st_size < 8e6
    reader = Reader(text)
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    assert len(set(reader.ids)) == len(reader.ids)
    for address in reader.addresses:
        if address.startswith("#"):
            assert address[1:] in reader.ids
    assert "default-src &#39;none&#39;" in text and "<whistles>" not in text  # names are escaped


def test_it_has_all_sections(text: str) -> None:
    reader = Reader(text)
    for section in ("card", "listen", "map-of-sounds", "search", "parameters", "use", "provenance"):
        assert section in reader.ids
    for words in ("Gap closed: ", "1,024 fresh sounds", "floor", "witness (12)", "held out", "seed", "torchsynth"):
        assert words in reader.text, words
    assert reader.text.count("before") >= 78
    assert "What the voice cannot reach" in reader.text


def test_figures_are_those_of_the_run(reported: Reported, text: str) -> None:
    ledger = reported.ledger
    result = ledger.result("tiny")
    assert result is not None
    cells = re.findall(r"<td>(-?[\d.]+)</td>", text)
    for row in result[0]["heldout"].values():
        assert figure(row["mmd_unbiased"]) in cells and figure(row["mmd"]) in cells


def test_its_nebula_is_the_exported_one(reported: Reported, text: str) -> None:
    address = next(a for a in Reader(text).addresses if a.startswith("data:application/json"))
    assert base64.b64decode(address.partition(",")[2]) == reported.nebula.read_bytes()


def test_map_and_players_have_sounds_of_each(text: str) -> None:
    found = sounds(text)
    assert [cloud["name"] for cloud in found["map"]] == ["target", "start", "drum", "tuned"]
    for cloud in found["map"]:
        assert len(cloud["places"]) == len(cloud["labels"]) == len(cloud["audio"]) >= 24
        assert all(0 <= number <= 1 for place in cloud["places"] for number in place)
    assert {group: len(own) for group, own in found["players"].items() if group != "reach"} == dict.fromkeys(
        ("target", "start", "drum", "tuned"), 16
    )


def test_without_its_target_a_page_is_made_and_says_so(reported: Reported, tmp_path: Path) -> None:
    moved = reported.target.with_name("elsewhere")
    reported.target.rename(moved)
    try:
        out = write_report(reported.view, tmp_path / "out.html")
    finally:
        moved.rename(reported.target)
    text = out.read_text()
    assert "are not here" in Reader(text).text
    assert [cloud["name"] for cloud in sounds(text)["map"]] == ["start", "drum", "tuned"]


def test_a_study_that_is_not_finished_has_a_page(reported: Reported, tmp_path: Path) -> None:
    study = TinyStudy(tmp_path, reported.target)
    process = study.run_until(8)
    let_go(process, signal.SIGTERM)
    process.communicate(timeout=300)
    view = View.of(Ledger(study.storage, create=False), "tiny")
    text = page(view).decode()
    assert "There is no score card before its end" in Reader(text).text
    assert "card" not in Reader(text).ids and "search" in Reader(text).ids
    assert view.tuned is not None and "the best nebula so far" in text


@pytest.mark.slow
def test_diversity_shows_the_spread(tmp_path: Path) -> None:
    study = TinyStudy(tmp_path, make_target(tmp_path / "unused", 1))
    arguments = ["--objective", "diversity", "--trials", "4"]
    study.run(*arguments)
    text = page(View.of(Ledger(study.storage, create=False), "tiny")).decode()
    assert "Mean distance of two" in text and [c["name"] for c in sounds(text)["map"]] == ["start", "drum", "tuned"]


def test_what_the_voice_cannot_reach_is_shown_where_it_was_diagnosed(reported: Reported) -> None:
    view = reported.view
    reach = {
        "pool": 6144, "unreached": 0.25, "median_ratio": 0.8,
        "clusters": [{"cluster": 3, "size": 9, "unreached": 7, "median_ratio": 2.345, "examples": ["03.wav", "x"]}],
        "sounds": [],
    }  # fmt: skip
    object.__setattr__(view, "result", {**view.result, "reach": reach})
    text = page(view).decode()
    assert len(sounds(text)["players"]["reach"]) == 1
    assert "6,144" in text and "25 %" in text and "2.35" in text and "Play 03.wav" in text and ">x</div>" in text
    object.__setattr__(view, "result", {key: value for key, value in view.result.items() if key != "reach"})
    assert "cannot reach" not in page(view).decode()


def test_another_ear_and_a_constellation_are_shown_where_there_are_some(reported: Reported, tmp_path: Path) -> None:
    view = reported.view
    atoms = np.random.default_rng(0).normal(size=(5, 78))
    names = view.plan.synth.panel.names
    constellation = Constellation(view.plan.start, names, atoms, np.ones(5), 0.3)
    rows = view.result["heldout"]
    told = {"real": "held out", "real_sounds": 8, "start": 0.97, "tuned": 0.73}
    object.__setattr__(view, "result", {
        **view.result,
        "heldout": {**rows, "constellation": rows["tuned"]},
        "other": {
            "embedding": "scattering", "told_apart": told,
            "heldout": {"tuned": {**rows["tuned"], "mmd_unbiased": 0.01234}},
        },
        "constellation": {
            "file": "tiny.constellation.json", "atoms": 5, "effective_atoms": 5.0, "spread": 0.3,
            "novelty": {"to_target": 123.456, "among_real": 0.5, "copies": 0.125},
        },
    })  # fmt: skip
    object.__setattr__(view, "nebulae", {**view.nebulae, "constellation": constellation})
    text = page(view).decode()
    for words in ("Under scattering", "0.01234", "tuned 0.73", "5 atoms", "123.5", "12.5 %"):
        assert words in text, words
    assert [cloud["name"] for cloud in sounds(text)["map"]][-1] == "constellation"
    assert len(sounds(text)["players"]["constellation"]) == 16


def test_judges_come_first_then_what_was_chosen_and_the_distance_under_each_embedding(reported: Reported) -> None:
    view = reported.view
    figures = {"start": 0.98, "drum": 0.9, "tuned": 0.7123}
    scored = [
        replace(one, score=replace(one.score, by_embedding={"ear": 0.5 + one.key[1], "eye": 0.25}))
        for one in view.trials
        if one.score is not None
    ]
    changed = {
        "told_apart": {"linear": figures, "network": figures, "real": "held-out", "real_sounds": 123},
        "other": {"embedding": "scattering", "heldout": view.result["heldout"]},
        "doubts": ["the network prefers <the start>"],
        "chosen": {
            "by": "mss", "sounds": 64, "chosen": 1,
            "candidates": [
                {"phase": phase, "sampler": "witness", "trials": 9, "distance": 0.3125 * phase} for phase in (1, 2)
            ],
        },
    }  # fmt: skip
    text = page(replace(view, result={**view.result, **changed}, trials=tuple(scored))).decode()
    places = [
        text.index(words)
        for words in (
            "AUC of 0.712", "Against it:", "prefers &lt;the start&gt;", "123 real ones", "0.712</td>",
            "Under scattering",
            "Under what it was tuned on", "Under each embedding", "2, witness (chosen)", "0.625",
            "--among-candidates",
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_a_study_without_a_trial_has_a_page(reported: Reported) -> None:
    view = reported.view
    status = {**view.status, "state": "running", "best": None, "complete": 0}
    nebulae = {name: view.nebulae[name] for name in ("start", "drum")}
    bare = replace(view, status=status, trials=(), result={}, nebulae=nebulae)
    reader = Reader(page(bare).decode())
    assert "no trial is scored yet" in reader.text and not {"search", "use", "card"} & set(reader.ids)


def test_an_embedding_that_is_not_here_leaves_out_the_map_alone(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nebula_tune.errors import EmbeddingError

    def missing(view: View) -> Any:
        raise EmbeddingError("no weights here")

    monkeypatch.setattr(clouds, "embeddings", missing)
    text = page(reported.view).decode()
    assert "There is no map: no weights here" in text and "listen" in Reader(text).ids


def test_an_embedding_that_takes_long_is_replaced_on_the_map_and_the_page_says_so(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clouds, "_affordable", lambda heard, count: 3)
    made = clouds.the_map(reported.view)
    assert "takes long on this machine" in made.note
    assert [len(cloud["places"]) for cloud in made.clouds] == [24] * 4


@pytest.mark.parametrize(
    ("name", "out", "words"), [("nope", "x.html", "no study 'nope'"), ("tiny", "x.txt", "ends in")]
)
def test_what_cannot_be_is_refused(reported: Reported, tmp_path: Path, name: str, out: str, words: str) -> None:
    with pytest.raises(NebulaTuneError, match=words):
        write_report(View.of(reported.ledger, name), tmp_path / out)


@pytest.fixture
def handed_on(reported: Reported, tmp_path: Path) -> Callable[..., Path]:
    """The study's database as others hand it on, with rows that they changed."""

    def handed_on(**changes: Callable[[str], str]) -> Path:
        copy = tmp_path / "theirs.db"
        shutil.copyfile(reported.folder / "studies.db", copy)
        with closing(sqlite3.connect(copy)) as connection, connection:
            for place, change in changes.items():
                table, column = place.split("__")
                [value] = connection.execute(f"SELECT {column} FROM nebula_tune_{table}").fetchone()
                connection.execute(f"UPDATE nebula_tune_{table} SET {column} = ?", [change(value)])
        return copy

    return handed_on


def test_no_row_decides_where_a_report_is_written_or_what_it_reads(
    handed_on: Callable[..., Path], call, tmp_path: Path
) -> None:
    private = make_target(tmp_path / "private", 3)
    weights = tmp_path / "weights.pt"
    os.mkfifo(weights)  # who opens it waits for ever

    def elsewhere(result: str) -> str:
        return json.dumps({**json.loads(result), "nebula": f"{tmp_path}/private/other.json"})

    def with_weights(settings: str) -> str:
        changed = json.loads(settings)
        changed["study"]["embedding"]["weights"] = str(weights)
        return json.dumps(changed)

    database = handed_on(
        studies__result=elsewhere,
        studies__settings=with_weights,
        exports__path=lambda _: f"{tmp_path}/private/other.json",
        targets__source=lambda _: str(private),
    )
    made = call("report", "tiny", "--storage", f"sqlite:///{database}")
    assert made.code == 0, made.err
    assert made.out == "report: nebulae/tiny.report.html\n" and "--target FOLDER" in made.err
    assert not [path for path in private.iterdir() if path.suffix != ".wav"]
    text = (tmp_path / "nebulae" / "tiny.report.html").read_text()
    assert [cloud["name"] for cloud in sounds(text)["map"]] == ["start", "drum", "tuned"]
    assert "is not read" in Reader(text).text
    made = call("report", "tiny", "--storage", f"sqlite:///{database}", "--target", "private", "--out", "x.html")
    assert made.code == 0 and made.err == "", made.err
    assert "target" in sounds((tmp_path / "x.html").read_text())["players"]
    assert "does not exist" in call("report", "tiny", "--storage", f"sqlite:///{database}", "--target", "nowhere").line


@pytest.mark.parametrize("name", ["../up", "/tmp/x", ".hidden", "a/b"])
def test_a_name_that_leads_elsewhere_is_no_files_name(name: str) -> None:
    with pytest.raises(NebulaTuneError, match="give --out"):
        usual_nebula(name)


def test_a_page_that_cannot_be_made_fails_no_run(tmp_path: Path) -> None:
    study = TinyStudy(tmp_path, make_target(tmp_path / "sounds", 20))
    (tmp_path / "nebulae" / "tiny.report.html").mkdir(parents=True)
    process = study.start("--trials", "3", report=True)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "no report could be made" in err
    assert len(Nebula.load(study.nebula).curves) == 78
