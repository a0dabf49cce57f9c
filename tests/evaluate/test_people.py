"""`rank --people`: an ear that is known to be right comes first, what is misaligned is told, bad csv is one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.stats import spearmanr

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.distance import L1
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embed import embed_files
from nebula_tune.errors import CorpusError
from nebula_tune.evaluate.matrices import among
from nebula_tune.ranking.agreement import agreement, mantel, p_value, spearman
from nebula_tune.ranking.alignment import doubtful_listeners
from nebula_tune.ranking.ratings import Ratings, read_ratings

NAMES = tuple("abcdefgh")


def noisy(matrix: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """A symmetric matrix with noise of so many of its standard deviations."""
    upper = np.triu_indices(len(matrix), 1)
    result = np.zeros_like(matrix)
    result[upper] = matrix[upper] + amount * matrix[upper].std() * random.normal(size=len(upper[0]))
    return result + result.T


def sounds(folder: Path, seed: int, count: int = len(NAMES)) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    time = np.arange(2000) / 8000
    for name in NAMES[:count]:
        tone = np.sin(2 * np.pi * random.uniform(100, 2000) * time) + random.uniform() * random.normal(size=2000)
        soundfile.write(folder / f"{name}.wav", 0.1 * tone * np.exp(-time * random.uniform(5, 60)), 8000)


def distances(folder: Path, ear: str) -> np.ndarray:
    vectors = embed_files(sorted(folder.iterdir()), folder, make_embedding(ear), Prepare.named("onset"))
    return among(np.stack([vectors[name] for name in sorted(vectors)]), L1()).astype(np.float64)


def write(path: Path, rows: list[list[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def square(path: Path, matrix: np.ndarray, rows: tuple[str, ...] = NAMES) -> Path:
    return write(path, [["", *NAMES], *([name, *row] for name, row in zip(rows, matrix, strict=True))])


def by_listener(path: Path, matrices: dict[str, np.ndarray]) -> Path:
    a, b = np.triu_indices(len(NAMES), 1)
    rows = [[who, NAMES[j], NAMES[i], m[i, j]] for who, m in matrices.items() for i, j in zip(a, b, strict=True)]
    return write(path, [["Listener", "sound_1", "sound_2", "dissimilarity"], *rows])


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sets that people rate as `modulation` hears them, with noise: square, by pairs, by three listeners."""
    root = tmp_path_factory.mktemp("rated") / "sets"
    random = np.random.default_rng(0)
    for seed, name in enumerate(("square", "pairs", "listeners")):
        sounds(root / name / "sounds", seed)
    truth = {name: distances(root / name / "sounds", "modulation") for name in ("square", "pairs", "listeners")}
    square(root / "square/dissimilarity.csv", noisy(truth["square"], 0.2, random))
    a, b = np.triu_indices(len(NAMES), 1)
    matrix = noisy(truth["pairs"], 0.2, random)
    pairs = [[f"{NAMES[i]}.wav", NAMES[j], matrix[i, j]] for i, j in zip(a, b, strict=True) if (i, j) != (0, 1)]
    pairs = [[one.removesuffix(".wav"), other, value] for one, other, value in pairs]
    write(root / "pairs/dissimilarity.csv", [["sound_1", "sound_2", "dissimilarity"], *pairs])
    listeners = {who: noisy(truth["listeners"], 0.4, random) for who in ("Ann", "Bo", "Cy")}
    by_listener(root / "listeners/dissimilarity.csv", listeners)
    return root


EARS = ("--embedding", "logmel", "--embedding", "modulation", "--embedding", "logmel+modulation")


def test_the_ear_that_people_hear_with_comes_first(call, rated: Path) -> None:
    done = call("rank", "--people", str(rated), *EARS, "--json", "--csv", "t.csv", "--out", "p.svg")
    assert done.code == 0
    report = json.loads(done.out)
    assert [row["ear"] for row in report["rows"]] == ["modulation", "logmel+modulation", "logmel"]
    best = report["rows"][0]
    assert best["agreement"]["pairs"] > 0.85 and best["agreement"]["triplets"] > 0.85 and best["mantel_p"] == 0.001
    for measure, (low, high) in best["ci95"].items():
        assert low <= best["agreement"][measure] <= high
    assert {each["set"]: (each["sounds"], each["pairs"], each["listeners"]) for each in report["sets"]} == {
        "square": (8, 28, 0), "pairs": (8, 27, 0), "listeners": (8, 28, 3),
    }  # fmt: skip
    assert report["remarks"] == [] and "few sets (3)" in done.err
    assert 0.5 < report["ceiling"]["pairs"] < 1 and report["ceiling_sets"] == 1
    with open("t.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["ear"] for row in written if row["set"] == "all"] == [*(r["ear"] for r in report["rows"]), "listeners"]
    assert float(written[0]["pairs"]) == best["agreement"]["pairs"]
    assert b"<svg" in Path("p.svg").read_bytes()


def test_the_ceiling_is_printed_and_what_does_not_match_told_a_line_each(call, rated: Path, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    sounds(root / "set" / "sounds", 2)
    for path, name in ((root / "set/sounds/h.wav", "i"), (root / "set/sounds/g.wav", "g.sub")):
        path.rename(path.with_stem(name))
    soundfile.write(root / "set/sounds/a.wav", np.zeros(4000), 8000)
    (root / "set/dissimilarity.csv").write_bytes((rated / "listeners/dissimilarity.csv").read_bytes())
    (root / "empty/sounds").mkdir(parents=True)
    shown = call("rank", "--people", "mine", "--embedding", "modulation")
    assert shown.code == 0 and "one listener, by the others (1 set)" in shown.out and "resampled" not in shown.out
    assert shown.err.splitlines() == [
        "empty: left out, it has no dissimilarity.csv",
        "set: dissimilarity.csv names what sounds/ has no file of: g, h",
        "set: sounds/ has files that dissimilarity.csv does not name: g.sub.wav, i.wav",
        "set: sounds that cannot be used: a.wav (silent)",
        "note: few sets (1): what is resampled is sets, and one alone has no interval",
    ]


def test_names_of_other_sounds_are_told(call, rated: Path, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    sounds(root / "set" / "sounds", 0)
    matrix = read_ratings(rated / "square/dissimilarity.csv").mean
    order = np.random.default_rng(1).permutation(len(NAMES))
    square(root / "set/dissimilarity.csv", np.nan_to_num(matrix)[np.ix_(order, order)])
    said = call("rank", "--people", "mine", "--embedding", "modulation")
    assert "set: no ear agrees with it better than by chance (p 0." in said.err


# Reading


def test_three_layouts_say_the_same(tmp_path: Path) -> None:
    matrix = noisy(np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0))), 0.1, np.random.default_rng(0))
    whole = read_ratings(square(tmp_path / "whole.csv", matrix))
    order = [3, 1, 0, 2, 4, 7, 6, 5]  # rows in another order, under their own names
    shuffled = read_ratings(square(tmp_path / "rows.csv", matrix[order], tuple(NAMES[k] for k in order)))
    triangle = read_ratings(square(tmp_path / "triangle.csv", np.triu(matrix)))
    listed = read_ratings(by_listener(tmp_path / "listed.csv", {"Ann": matrix, "Bo": 3 * matrix}))
    for ratings in (shuffled, triangle):
        np.testing.assert_array_equal(ratings.mean, whole.mean)
        assert ratings.names == NAMES and ratings.doubts == ()
    assert listed.listeners == ("Ann", "Bo")
    places = [listed.names.index(name) for name in NAMES]
    np.testing.assert_allclose(listed.of(places).mean, 2 * whole.mean)


def test_permuted_rows_and_similarities_are_told(tmp_path: Path) -> None:
    matrix = noisy(np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0))), 0.1, np.random.default_rng(0))
    swapped = read_ratings(square(tmp_path / "swapped.csv", matrix, tuple("abdcefgh")))
    assert swapped.doubts == ("rows look permuted, by where each is nearest to itself: c reads as d; d reads as c",)
    empty = [["", *NAMES], *([n, *row] for n, row in zip("abdcefgh", matrix.astype(object), strict=True))]
    for k in range(8):
        empty[k + 1][k + 1] = ""
    assert read_ratings(write(tmp_path / "empty.csv", empty)).doubts == swapped.doubts
    alike = read_ratings(square(tmp_path / "alike.csv", 10 - matrix))
    assert len(alike.doubts) == 1 and "similarities" in alike.doubts[0]


HEADER = "sound_1,sound_2,dissimilarity,listener\n"
BAD = [
    ("", ":1: a header and ratings below it"),
    ("a;b\na;1\n", ":1: one column; columns are separated by commas"),
    (",a,b,a\n", ":1: a header and ratings below it"),
    (",a,b,a\na,0,1,2\n", ":1: two columns are named 'a'"),
    (",a,,c\na,0,1,2\n", ":1: column 3 has no name"),
    (",a,b\na,0,1\nb,1\n", ":3: 2 cells, where the header has 3"),
    (",a,b\na,0,1\n\nc,1,0\n", ":4: row 'c' has no column of that name"),
    (",a,b\na,0,1\na,0,1\n", ":3: a second row 'a'"),
    (",a,b\na,0,1\n", ":2: the last line, and there was no row 'b'"),
    (",a,b\na,0,much\nb,1,0\n", ":2: 'much' under b is no finite number"),
    (",a,b\na,0,nan\nb,1,0\n", ":2: 'nan' under b is no finite number"),
    (",a,b\na,,\nb,,\n", ":3: the last line, and nothing was rated"),
    ("sound_1,sound_3,dissimilarity\na,b,1\n", ":1: the header is sound_1,sound_3,dissimilarity"),
    (HEADER + "a,b,1,Ann\na,c,inf,Ann\n", ":3: 'inf' under dissimilarity"),
    (HEADER + "a,b,1,\n", ":2: nothing under listener"),
    (HEADER + "a,a,1,Ann\n", ":2: the last line, and no two different sounds"),
    (HEADER + 'a,"b,1,Ann\n', ":2: it is no csv"),
    ("\ufeff" + HEADER + "a,b,1,Ann\na,b\n", ":3: 2 cells"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_csv_is_one_line_with_file_and_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "dissimilarity.csv"
    path.write_text(text)
    with pytest.raises(CorpusError) as error:
        read_ratings(path)
    assert f"{path}{message}" in str(error.value) and "\n" not in str(error.value) and error.value.exit_code == 2


def test_what_cannot_be_is_one_line_and_exit_2(call, tmp_path: Path) -> None:
    sounds(tmp_path / "sets/few/sounds", 0, count=3)
    write(tmp_path / "sets/few/dissimilarity.csv", [["", "a", "b", "c"], *([n, 0, 1, 2] for n in "abc")])
    (tmp_path / "none").mkdir()
    for arguments, message in (
        ([], "a DATASET or --people FOLDER"),
        (["sets", "--people", "sets"], "one of the two"),
        (["--people", "sets", "--trials", "5"], "--trials is for a DATASET"),
        (["--people", "sets", "--embedding", "logmel+"], "'logmel+': different names joined by +"),
        (["--people", "sets", "--embedding", "logmel+mss", "--embedding", "mss+logmel"], "named twice"),
        (["--people", "sets", "--embedding", "logmel+nope"], "no embedding 'nope'"),
        (["--people", "nowhere"], "nowhere does not exist"),
        (["--people", "none"], "none holds no set"),
        (["--people", "sets", "--embedding", "logmel"], "no set is left that can be used; few: left out"),
    ):
        outcome = call("rank", *arguments)
        assert message in outcome.line and outcome.code == 2 and outcome.out == ""
    (tmp_path / "sets/few/dissimilarity.csv").write_text(",a\na,x\n")
    outcome = call("rank", "--people", "sets", "--embedding", "logmel")
    assert "sets/few/dissimilarity.csv:2: 'x' under a is no finite number" in outcome.line and outcome.code == 2


# Measures


def test_measures_are_what_they_are_called() -> None:
    random = np.random.default_rng(0)
    people, ear = (noisy(random.uniform(size=(7, 7)), 0.5, random) for _ in range(2))
    for matrix in (people, ear):
        np.fill_diagonal(matrix, np.nan)
    people[2, 3] = people[3, 2] = np.nan
    rated = np.triu(np.isfinite(people))
    measured = agreement(people, ear)
    assert measured.pairs == pytest.approx(spearmanr(people[rated], ear[rated])[0])
    anchors = [spearmanr(row, other, nan_policy="omit")[0] for row, other in zip(people, ear, strict=True)]
    assert measured.anchor == pytest.approx(np.mean(anchors))
    same, count = 0, 0
    for i in range(7):
        others = [j for j in range(7) if np.isfinite(people[i, j])]
        for j in others:
            for k in others:
                if people[i, j] < people[i, k]:
                    count += 1
                    same += ear[i, j] < ear[i, k]
    assert measured.triplets == pytest.approx(same / count)
    assert agreement(people, np.ones((7, 7))).triplets == 0.5 and spearman(np.ones(5), np.arange(5.0)) is np.nan


def test_mantels_p_is_uniform_by_chance_and_small_where_there_is_agreement() -> None:
    random = np.random.default_rng(0)
    values = []
    for seed in range(40):
        people, ear = (noisy(random.uniform(size=(8, 8)), 1, random) for _ in range(2))
        correlations = mantel(people, ear, [seed])
        upper = np.triu_indices(8, 1)
        assert correlations[0] == pytest.approx(spearmanr(people[upper], ear[upper])[0])
        values.append(p_value(correlations))
    assert 0.35 < np.mean(values) < 0.65 and np.mean(np.array(values) < 0.1) < 0.25
    assert p_value(mantel(people, people, [0])) == 0.001


def test_listeners_who_say_little_are_no_trouble(recwarn: pytest.WarningsRecorder) -> None:
    random = np.random.default_rng(0)
    truth = noisy(random.uniform(size=(6, 6)), 0, random)
    listeners = np.stack([noisy(truth, 0.1, random), noisy(truth, 0.1, random), np.ones((6, 6)), np.ones((6, 6))])
    listeners[3] = np.nan
    for matrix in listeners:
        np.fill_diagonal(matrix, np.nan)
    names = ("Ann", "Bo", "Cy", "Di")
    assert doubtful_listeners(Ratings(NAMES[:6], names, listeners)) == ["listener Cy rated all pairs alike"]
    assert doubtful_listeners(Ratings(NAMES[:6], names[1:], listeners[1:])) == ["listener Cy rated all pairs alike"]
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["permuted", "random", "noisy"])
def test_a_listener_under_the_wrong_names_is_told_and_noise_is_not_called_so(kind: str) -> None:
    random = np.random.default_rng(3)
    places = random.uniform(size=(9, 3))
    truth = np.linalg.norm(places[:, None] - places, axis=2)
    listeners = np.stack([noisy(truth, 0.3, random) for _ in range(3)])
    order = np.array([4, 0, 7, 2, 8, 1, 3, 6, 5])
    if kind == "permuted":
        listeners[1] = listeners[1][np.ix_(order, order)]
    if kind == "random":
        listeners[1] = noisy(random.uniform(size=(9, 9)), 1, random)
    for matrix in listeners:
        np.fill_diagonal(matrix, np.nan)
    doubts = doubtful_listeners(Ratings(tuple("abcdefghi"), ("Ann", "Bo", "Cy"), listeners))
    if kind == "noisy":
        assert doubts == []
    else:
        (line,) = doubts
        assert line.startswith("listener Bo agrees with the others")
        assert ("rows look permuted" in line) == (kind == "permuted") != ("no order of the sounds mends it" in line)
    if kind == "permuted":
        assert "a reads as e; b reads as a; c reads as h" in line
