"""A blinded test among several nebulae: its order, its key, what its ballots say, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nebula_tune.errors import SettingsError, StudyError
from nebula_tune.listening.analysis import analyse
from nebula_tune.listening.ballot import unblind
from nebula_tune.listening.design import LETTERS, AmongDesign, AmongKey, KeyTrial
from nebula_tune.nebula import Nebula
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.plan import Plan
from nebula_tune.study.replay import search_snapshots
from tests.listening.made import Choice, ballot, parts, write_key


def key_among(design: AmongDesign, names: tuple[str, ...]) -> AmongKey:
    compared = [{"name": n, "content": hashlib.sha256(n.encode()).hexdigest(), "passed_over": 0} for n in names]
    return AmongKey(
        among=compared, target_kind="drums", pairs=design.pairs, seed=0, salt="", trials=design.trials
    )  # fmt: skip


def by_strength(strengths: dict[str, float], random: np.random.Generator) -> Choice:
    """A listener who chooses by Bradley and Terry's law, and never the wrong sound."""

    def choose(trial: KeyTrial, question: str) -> str:
        if "wrong" in (trial.left, trial.right):
            return "right" if trial.left == "wrong" else "left"
        share = 1 / (1 + np.exp(strengths[trial.right] - strengths[trial.left]))
        return "left" if random.random() < share else "right"

    return choose


@pytest.mark.parametrize(("nebulae", "pairs"), [(2, 8), (3, 64), (5, 33), (8, 64), (12, 88), (12, 12)])
def test_any_two_meet_as_often_and_all_are_linked(nebulae: int, pairs: int) -> None:
    design = AmongDesign(nebulae, pairs, np.random.default_rng(nebulae))
    of_kind = {kind: [t for t in design.trials if t.kind == kind] for kind in ("pair", "repeat", "catch")}
    assert {kind: len(trials) for kind, trials in of_kind.items()} == {
        "pair": pairs, "repeat": pairs // 8, "catch": max(1, pairs // 16),
    }  # fmt: skip
    met = Counter(frozenset((t.left, t.right)) for t in of_kind["pair"])
    counts = [met[frozenset(two)] for two in combinations(LETTERS[:nebulae], 2)]
    assert max(counts) - min(counts) <= 1 and len(set().union(*met)) == nebulae
    linked, left = {LETTERS[0]}, set(met)
    while near := {two for two in left if two & linked}:
        linked |= set().union(*near)
        left -= near
    assert linked == set(LETTERS[:nebulae])
    sides = Counter(t.left for t in of_kind["pair"])
    sides.subtract(t.right for t in of_kind["pair"])
    assert max(map(abs, sides.values())) <= 3
    played = [sound for t in (*of_kind["pair"], *of_kind["catch"]) for sound in design.plays[t.id]]
    assert len(set(played)) == len(played), "each is heard once, but for repeats"
    assert Counter(owner for owner, _ in played if owner != "wrong") == design.counts
    place = {t.id: k for k, t in enumerate(design.trials)}
    for trial in of_kind["repeat"]:
        assert design.plays[trial.id] == design.plays[trial.of][::-1] and place[trial.id] > place[trial.of]


def analysed(folder: Path, key: AmongKey, *ballots: dict[str, Any]) -> dict[str, Any]:
    path, sha = write_key(folder, key)
    paths = []
    for number, each in enumerate(ballots):
        paths.append(folder / f"ballot-{number}.json")
        paths[-1].write_text(json.dumps(each | {"key": sha}))
    result: dict[str, Any] = analyse(unblind(paths, [path]))
    return result


def test_listeners_put_nebulae_in_their_order_with_intervals_that_cover(tmp_path: Path) -> None:
    names, truth = ("start", "drum", "tuned", "other"), dict(zip("ABCD", (-1.2, 0.0, 1.2, 0.0), strict=True))
    random = np.random.default_rng(1)
    key = key_among(AmongDesign(4, 64, random), names)
    ballots = [ballot(key, "", by_strength(truth, random), f"{k}", vote=None) for k in range(6)]
    result = analysed(tmp_path, key, *ballots)
    (test,) = result["among"]
    assert result["tests"] == []
    rows = {row["name"]: row for row in test["ranked"]["like"]}
    order = [row["name"] for row in test["ranked"]["like"]]
    assert order[0] == "tuned" and order[-1] == "start" and rows["tuned"]["strongest"] > 0.99
    for name, value in zip(names, truth.values(), strict=True):
        low, high = rows[name]["ci95"]
        assert low < value < high and low < rows[name]["strength"] < high and high - low < 1
    assert sum(row["n"] for row in rows.values()) == 2 * 6 * 64
    assert [each["n"] for each in test["listeners"]] == [64] * 6 and test["listeners"][0]["catches"]["failed"] == 0
    assert {row["name"]: row["strength"] for row in result["strengths"]["like"]} == {
        name: pytest.approx(row["strength"]) for name, row in rows.items()
    }


def test_more_listeners_narrow_intervals_and_two_ballots_of_one_sitting_count_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(2)
    key = key_among(AmongDesign(3, 24, random), ("a", "b", "c"))
    fair = by_strength(dict.fromkeys("ABC", 0.0), random)
    whole = ballot(key, "", fair, "Ann", vote=None)
    half = whole | {"answers": whole["answers"][:9], "finished": None}
    (test,) = analysed(tmp_path, key, half, whole)["among"]
    assert [each["listener"] for each in test["listeners"]] == ["Ann"] and test["listeners"][0]["finished"]
    assert sum(row["n"] for row in test["ranked"]["keep"]) == 48
    assert "is of the same sitting as" in caplog.text
    others = [ballot(key, "", fair, f"{k}", vote=None) for k in range(7)]
    (many,) = analysed(tmp_path, key, whole, *others)["among"]

    def width(test: dict[str, Any]) -> float:
        return float(np.mean([row["ci95"][1] - row["ci95"][0] for row in test["ranked"]["like"]]))

    assert width(many) < 0.6 * width(test)
    (empty,) = analysed(tmp_path, key, whole | {"answers": []})["among"]
    assert [row["n"] for row in empty["ranked"]["like"]] == [0, 0, 0]


def test_a_page_among_three_plays_pairs_and_ends_without_sets(call, tmp_path: Path) -> None:
    Nebula({"keyboard.midi_f0": 3.0}).save("deep.json")
    made = call("listen", "--among", "drum", "default", "deep.json", "--pairs", "8", "--seed", "3", "--json")
    said = json.loads(made.out)
    assert made.code == 0 and "8 pairs of 3 nebulae, each in about 5" in said["power"]
    key = AmongKey.model_validate_json(Path("listen.key.json").read_bytes())
    assert [each.name for each in key.among] == ["drum", "default", "deep"]
    test, audio = parts(Path("listen.html").read_text())
    assert test["browse"] is None and [t["id"] for t in test["trials"]] == [t.id for t in key.trials]
    assert len(audio) == 2 * len(key.trials) + 1 and len({len(mp3) for mp3 in audio.values()}) == 1
    assert "two sets of" not in Path("listen.html").read_text()

    sha = hashlib.sha256(Path("listen.key.json").read_bytes()).hexdigest()
    Path("b.json").write_text(
        json.dumps(ballot(key, sha, by_strength({"A": 9, "B": 0, "C": -9}, np.random.default_rng(0)), "Bo", vote=None))
    )
    shown = call("listen", "--analyse", "b.json", "--key", "listen.key.json")
    assert shown.code == 0 and "Bradley-Terry strengths: more like" in shown.out and "Bo" in shown.out
    places = [shown.out.rindex(name) for name in ("drum", "default", "deep")]
    assert places == sorted(places)


def test_the_candidates_of_a_study_are_compared_by_one_command(call, undisturbed, tmp_path: Path) -> None:
    ledger = Ledger(undisturbed.storage, reading=True)
    snapshots = search_snapshots(ledger, "tiny")
    assert [(each.phase, each.sampler, each.trials) for each in snapshots][-1] == (3, "cmaes", 8)
    plan = Plan.stored(ledger.record("tiny"))
    ends = {json.dumps(plan.nebula(each.point).entries()) for each in snapshots}
    made = call("listen", "tiny", "--among-candidates", "--pairs", "8", "--storage", undisturbed.storage)
    assert made.code == 0, made.err
    key = AmongKey.model_validate_json(Path("listen.key.json").read_bytes())
    assert len(key.among) == len(ends) > 2 and "phase 3 cmaes after 8 trials" in {each.name for each in key.among}
    outcome = call("listen", "nope", "--among-candidates", "--storage", undisturbed.storage)
    assert outcome.code == 2 and "nope" in outcome.line


def test_a_search_that_has_not_ended_has_no_candidates(undisturbed, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(undisturbed.storage, reading=True)
    few = list(ledger.trials("tiny"))[:-1]
    monkeypatch.setattr(ledger, "trials", lambda name: iter(few))
    with pytest.raises(StudyError, match="its search has not ended"):
        search_snapshots(ledger, "tiny")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--among", "drum"], "--among takes 2 to 12 sources, not 1"),
        (["--among", *["drum"] * 13], "--among takes 2 to 12 sources, not 13"),
        (["--among", "drum", "default", "drum"], "drum and drum are the same; give each once"),
        (["--among", *"abcdefghi", "--pairs", "8"], "--pairs 8: 9 nebulae need as many"),
        (["--among", "drum", "nowhere", "default", "--pairs", "8"], "nowhere does not exist"),
        (["--among", "drum", "default", "--key", "k.json"], "--key goes with --analyse"),
        (["--among", "--analyse", "drum"], "one of them at a time"),
        (["--among-candidates", "a", "b"], "takes one study's name, not 2"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, arguments: list[str], message: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    Ledger(url).names()
    outcome = call("listen", *arguments, "--storage", url)
    assert message in outcome.line and outcome.code == 2 and not list(tmp_path.glob("*.html"))


def test_a_key_among_several_that_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    key = key_among(AmongDesign(3, 8, np.random.default_rng(0)), ("a", "b", "c"))
    content = json.loads(key.model_dump_json())
    pair = next(k for k, trial in enumerate(content["trials"]) if trial["kind"] == "pair")
    catch = next(k for k, trial in enumerate(content["trials"]) if trial["kind"] == "catch")

    def refused(change: dict[str, Any], message: str) -> None:
        path = tmp_path / "key.json"
        path.write_text(json.dumps(content | change))
        with pytest.raises(SettingsError, match=message) as error:
            unblind([], [path])
        assert "\n" not in str(error.value)

    def with_trial(place: int, **change: str) -> dict[str, Any]:
        return {"trials": [t | change if k == place else t for k, t in enumerate(content["trials"])]}

    refused(with_trial(pair, left="D", right="A"), "it has not 8 pairs of A and B and C")
    refused(with_trial(catch, left="D"), "a sound of nobody")
    refused(with_trial(pair, id=content["trials"][catch]["id"]), "two of its trials have one id")
    refused({"among": [content["among"][0], *content["among"][:2]]}, "two of its nebulae are one")
    refused({"among": content["among"][:1]}, "among: List should have at least 2 items")
    refused({"among": 3}, "not a listening test's key: among")
