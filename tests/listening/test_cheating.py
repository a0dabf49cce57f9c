"""Cheating: what a page's text and bytes give away without listening. A classifier must do no better than chance."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from nebula_tune.corpus.source import Source
from nebula_tune.listening import blind
from nebula_tune.listening.design import Design, Key
from nebula_tune.listening.sounds import active_level
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Voice
from tests.listening.made import key_of, parts
from tests.study.tiny import make_target

Samples = list[tuple[list[float], bool]]


def told_of(name: str, names: list[str], mp3: bytes) -> list[float]:
    """All that a page says about a sound but how it sounds: its name, its place, its length, its encoding's header."""
    return [*bytes.fromhex(name), names.index(name), len(mp3), *mp3[:4]]


def pair_samples(test: dict[str, Any], audio: dict[str, bytes], key: Key) -> Samples:
    """For each pair: what is told of both sounds and of the pair; and whether A is left."""
    told = {trial.id: trial for trial in key.trials}
    names = list(audio)
    samples = []
    for place, trial in enumerate(test["trials"]):
        left, right = (told_of(trial[side], names, audio[trial[side]]) for side in ("left", "right"))
        above = [float(a > b) for a, b in zip(left, right, strict=True)]
        features = [*left, *right, *above, *bytes.fromhex(trial["id"]), place, place % 2]
        if told[trial["id"]].kind != "catch":
            samples.append(([float(value) for value in features], told[trial["id"]].left == "A"))
    return samples


def browse_sample(test: dict[str, Any], audio: dict[str, bytes], key: Key) -> tuple[list[float], bool]:
    """For the two sets: the means of what is told of their sounds, and of the first pair's; and whether one is A."""
    names = list(audio)
    one, two = (
        np.mean([told_of(name, names, audio[name]) for name in test["browse"][which]], axis=0)
        for which in ("one", "two")
    )
    first = told_of(test["trials"][0]["left"], names, b"    ")
    return [*one, *two, *(one > two), *first], key.browse["one"] == "A"


def accuracy(samples: Samples) -> float:
    """Of logistic regression on features and their squares: each tenth judged by what the other nine taught."""
    x = np.array([features for features, _ in samples], dtype=float)
    y = np.array([owner for _, owner in samples])
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
    x = np.concatenate([x, x**2 - 1, np.ones((len(x), 1))], axis=1)
    tenth = np.arange(len(x)) * 10 // len(x)  # whole tests, as a test's pairs go together
    right = np.zeros(len(x), dtype=bool)
    for number in range(10):
        learn, held = tenth != number, tenth == number
        right[held] = (x[held] @ fit(x[learn], y[learn]) > 0) == y[held]
    return float(right.mean())


def chance(samples: Samples) -> Any:
    return pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(samples)))


def fit(x: NDArray[np.float64], y: NDArray[np.bool_]) -> NDArray[np.float64]:
    weights = np.zeros(x.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-x @ weights))
        curvature = (x * (chance * (1 - chance))[:, None]).T @ x + np.eye(x.shape[1])
        step = np.linalg.solve(curvature, x.T @ (y - chance) - weights)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


Laid = tuple[dict[str, Any], dict[str, bytes], Key]


def laid_out(count: int, pairs: int, sound: Callable[[str, int], bytes]) -> list[Laid]:
    """Tests with made up sounds, as their pages are given them."""
    made = []
    for seed in range(count):
        design = Design(pairs, np.random.default_rng([seed, 1]))
        key = key_of(design)
        sounds = {
            (owner, k): sound(owner, k) for owner in ("A", "B", "wrong") for k in range(2 * pairs + design.catches)
        }
        made.append((*blind.lay_out(design, sounds, b"\xff\xfb\x80\xc4volume", "0" * 64), key))
    return made


def alike(owner: str, number: int) -> bytes:
    return b"\xff\xfb\x80\xc4sounds"


def test_text_and_order_of_many_pages_do_not_tell_which_is_left() -> None:
    samples = [sample for laid in laid_out(40, 64, alike) for sample in pair_samples(*laid)]
    assert len(samples) == 40 * 72
    assert accuracy(samples) == chance(samples)


def test_nor_which_set_is_which() -> None:
    samples = [browse_sample(*laid) for laid in laid_out(300, 8, alike)]
    assert accuracy(samples) == chance(samples)


@pytest.mark.parametrize("leak", ["side", "id", "header", "length"])
def test_the_classifier_would_find_a_leak(leak: str) -> None:
    def sound(owner: str, number: int) -> bytes:
        return alike(owner, number).replace(
            b"\x80", b"\x90" if leak == "header" and (owner, number % 3) == ("A", 0) else b"\x80"
        )

    random = np.random.default_rng(0)
    samples = []
    for test, audio, key in laid_out(12, 64, sound):
        found = pair_samples(test, audio, key)
        if leak == "side":  # A more often on the left
            found = [one for one in found if one[1] or random.random() < 0.3]
        if leak == "id":
            found = [
                ([*features[:-3], features[-3] / (2 if left else 1), *features[-2:]], left) for features, left in found
            ]
        if leak == "length":
            found = [([*features[:7], features[7] + left, *features[8:]], left) for features, left in found]
        samples += found
    assert accuracy(samples) != chance(samples)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Key, Path]:
    """A real test of two sources that could not differ more: decaying tones in a folder, and a nebula."""
    folder = tmp_path_factory.mktemp("real")
    make_target(folder / "quokka", 24)
    Nebula.load("default").save(folder / "zebra.json")
    sources = (Source.parse(str(folder / name)) for name in ("quokka", "zebra.json"))
    written = blind.write_test(*sources, Voice, folder / "page.html", target_kind="something", pairs=16, seed=4)
    return written.page.read_text(), Key.model_validate_json(written.key.read_bytes()), folder


def test_sounds_have_one_length_one_encoding_and_one_level(real: tuple[str, Key, Path]) -> None:
    page, key, _ = real
    test, audio = parts(page)
    assert len({len(mp3) for mp3 in audio.values()}) == 1
    assert len({mp3[:3] for mp3 in audio.values()}) <= 2  # of 44.1 kHz frames, some are a byte longer: by their number
    assert not any(b"Info" in mp3[:200] or b"LAME" in mp3[:600] or b"ID3" in mp3[:200] for mp3 in audio.values())
    wrong = {name for t, told in zip(test["trials"], key.trials, strict=True) for name, owner in
             ((t["left"], told.left), (t["right"], told.right)) if owner == "wrong"}  # fmt: skip
    decoded = {name: soundfile.read(io.BytesIO(mp3)) for name, mp3 in audio.items() if name not in wrong}
    assert {(len(sound), rate) for sound, rate in decoded.values()} == {(len(next(iter(decoded.values()))[0]), 44100)}
    levels = [20 * np.log10(active_level(sound, rate)) for sound, rate in decoded.values()]
    assert max(levels) - min(levels) < 0.3 and np.median(levels) == pytest.approx(-26, abs=0.05)
    fades = [np.abs(sound[:40]).max() < 0.01 for sound, _ in decoded.values()]
    assert all(fades)


def test_nothing_names_the_two_or_the_seed(real: tuple[str, Key, Path]) -> None:
    page, key, _ = real
    text = page[: page.index('id="audio"')].lower()
    for word in (
        "quokka",
        "zebra",
        key.a.content,
        key.b.content,
        key.salt,
        '"seed"',
        '"kind"',
        '"of"',
        'catch"',
        'repeat"',
    ):
        assert word not in text, word
    test, audio = parts(page)
    assert all(set(trial) == {"id", "left", "right"} for trial in test["trials"])
    played = [trial[side] for trial in test["trials"] for side in ("left", "right")]
    played += test["browse"]["one"] + test["browse"]["two"] + [test["volume"]]
    assert sorted(played) == list(audio) and len(set(played)) == len(played)  # each name once, listed by name


def test_bytes_of_a_real_page_do_not_tell_a_from_b(real: tuple[str, Key, Path]) -> None:
    page, key, _ = real
    test, audio = parts(page)
    names = list(audio)
    told = np.array([told_of(name, names, mp3) for name, mp3 in audio.items()])
    assert np.ptp(told[:, 7:], axis=0).max() == 0  # lengths and headers: nothing to learn from
    samples = pair_samples(test, audio, key)
    assert accuracy(samples) == chance(samples)
