"""Files of ours from others: malformed in any way they are one line, and never hang."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nebula_tune import documents
from nebula_tune.constellation import Constellation, load_sounds
from nebula_tune.errors import NebulaError, SettingsError, StudyError, UserInputError, brief
from nebula_tune.listening.analysis import analyse
from nebula_tune.listening.ballot import unblind
from nebula_tune.listening.design import Design
from nebula_tune.nebula import Nebula
from nebula_tune.ranking.ranked_sets import MANIFEST, _manifest
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.schema import studies
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import load_study
from nebula_tune.study.status import study_status
from nebula_tune.synth import Voice
from nebula_tune.tuning.export import refuse_foreign_file
from tests.constellation.made import constellation
from tests.listening.made import ballot, key_of, prefers_a, write_key

SMALL = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
STUDY = "embedding: logmel\nsounds: 64\nspace: {curve: [0.1, 10]}\nsearch:\n  - {sampler: grid, trials: 4}\n"
NEBULA = [{"name": ["adsr_1", "attack", "curve"], "value": 2.0}]


def key_and_ballot(folder: Path) -> tuple[Path, dict[str, Any]]:
    key = key_of(Design(8, np.random.default_rng(0)))
    path, sha = write_key(folder, key)
    return path, ballot(key, sha, prefers_a(0.5, np.random.default_rng(0)), "Ann")


def read_ballot(path: Path) -> None:
    key, _ = key_and_ballot(path.parent)
    analyse(unblind([path], [key]))


def read_key(path: Path) -> None:
    _, content = key_and_ballot(path.parent)
    (path.parent / "ballot.json").write_text(json.dumps(content))
    unblind([path.parent / "ballot.json"], [path])


def read_nebula(path: Path) -> None:
    sounds = load_sounds(path)
    if isinstance(sounds, Nebula):
        Voice.panel.complete(sounds)


READERS: dict[str, Callable[[Path], Any]] = {
    "nebula": read_nebula,
    "constellation": Constellation.load,
    "ballot": read_ballot,
    "key": read_key,
    "study": lambda path: load_study(str(path)),
}

# Content that no reader takes, and what each says of it.
MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "zeros": b"\0" * 100,
    "no UTF-8": b"\xff\xfe\xfa{}",
    "UTF-16": json.dumps(NEBULA).encode("utf-16"),
    "UTF-32": json.dumps(NEBULA).encode("utf-32"),
    "cut short": json.dumps(NEBULA).encode()[:-9],
    "lists in lists": b"[" * 100_000,
    "closed lists in lists": b"[" * 100_000 + b"]" * 100_000,
    "500 lists in lists": b"[" * 500 + b"]" * 500,
    "objects in objects": b'{"a":' * 100_000,
    "objects in objects, closed": b'{"a":' * 300 + b"1" + b"}" * 300,
    "a number of 5,000 digits": b'{"a": 1' + b"0" * 5000 + b"}",
    "a number alone": b"1e400",
    "a key twice": b'{"format": 1, "format": 1}',
    "NaN": b"[NaN]",
    "half a surrogate": b'{"\\ud800": "\\udfff"}',
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_one_short_line(reader: str, case: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(MALFORMED[case])
    with pytest.raises(UserInputError) as error:
        READERS[reader](path)
    message = str(error.value)
    assert error.value.exit_code == 2 and "bad.json" in message and "\n" not in message
    assert len(message) < 400 + len(str(path))


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_not_waited_for_nor_read(reader: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    large = tmp_path / "large"
    with open(large, "wb") as file:
        file.truncate(documents.LARGEST + 1)
    for place in (tmp_path / "folder", tmp_path / "pipe", large, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(UserInputError) as error:
            READERS[reader](place)
        assert "\n" not in str(error.value) and str(place) in str(error.value)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    def marked(name: str, text: str) -> Path:
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        return tmp_path / name

    assert Nebula.load(marked("nebula.json", json.dumps(NEBULA))).curves == {"adsr_1.attack": 2.0}
    constellation().save(tmp_path / "c.json")
    assert Constellation.load(marked("constellation.json", (tmp_path / "c.json").read_text()))
    assert load_study(str(marked("study.yaml", STUDY))).sounds == 64
    key, content = key_and_ballot(tmp_path)
    assert len(unblind([marked("ballot.json", json.dumps(content))], [key])) == 1


WRONG_NEBULAE: dict[str, Any] = {
    "an object as a name": [{"name": {"a": 1, "b": 2, "curve": 3}, "value": 1}],
    "a curve of 400 digits": [{"name": ["a", "b", "curve"], "value": 10**400}],
    "an infinite curve": [{"name": ["a", "b", "curve"], "value": float("inf")}],
    "a long curve": [{"name": ["a", "b", "curve"], "value": ["x" * 10**6]}],
    "a long name": [{"name": ["a" * 10**6, "b", "curve"], "value": 1}],
    "a list of a list": [[NEBULA]],
    "a list as a flag": [{"name": ["a", "b", "symmetric"], "value": [True]}],
}


@pytest.mark.parametrize("case", WRONG_NEBULAE)
def test_a_nebula_of_wrong_types_is_one_short_line(case: str, tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text(json.dumps(WRONG_NEBULAE[case]))
    with pytest.raises(NebulaError) as error:
        read_nebula(tmp_path / "n.json")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


WRONG_STUDIES = {
    "a date as a key": ("sounds: 64", "2020-01-01: 64", "line 2: a key is a plain word"),
    "a number as a key": ("sounds: 64", "1: 64", "line 2: a key is a plain word"),
    "bytes as a key": ("sounds: 64", "!!binary aGk=: 64", "line 2: a key is a plain word"),
    "no number": ("sounds: 64", 'sounds: !!int ""', "not valid YAML"),
    "no date": ("sounds: 64", "sounds: !!timestamp x", "not valid YAML"),
    "no flag": ("sounds: 64", "sounds: !!bool perhaps", "not valid YAML"),
    "a whole number in base 16": ("sounds: 64", "sounds: 0x" + "f" * 9000, "a whole number is too large"),
    "a whole number in base 60": ("sounds: 64", "sounds: 1" + ":0" * 5000, "a whole number is too large"),
    "a set": ("sounds: 64", "sounds: !!set {a}", "sounds"),
    "more sounds than can be": ("sounds: 64", "sounds: 1" + "0" * 30, "sounds"),
    "more trials than can be": ("trials: 4", "trials: 1" + "0" * 30, "trials"),
    "a library of laughs": (
        STUDY,
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{', '.join(['*' + b] * 10)}]\n" for b, c in pairwise("abcdefghi")),
        "more than 10000 keys",
    ),
    "a library of merged laughs": (
        STUDY,
        "a: &a {k: x, l: x}\n"
        + "".join(f"{c}: &{c} {{<<: [{', '.join(['*' + b] * 10)}]}}\n" for b, c in pairwise("abcdefg")),
        "more than 10000 keys",
    ),
    "a map within itself": (STUDY, "a: &a {b: *a}\n", "nested too deep"),
}


@pytest.mark.parametrize("case", WRONG_STUDIES)
def test_a_study_of_what_no_study_has_is_one_line(case: str, tmp_path: Path) -> None:
    old, new, said = WRONG_STUDIES[case]
    (tmp_path / "s.yaml").write_text(STUDY.replace(old, new))
    with pytest.raises(SettingsError, match=said) as error:
        load_study(str(tmp_path / "s.yaml"))
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_a_small_alias_is_read(tmp_path: Path) -> None:
    text = STUDY + "  - &again {sampler: cmaes, trials: 4, population: 4}\n  - *again\n"
    (tmp_path / "s.yaml").write_text(text)
    assert load_study(str(tmp_path / "s.yaml")).trials == 12


def test_a_key_counts_what_it_says(tmp_path: Path) -> None:
    key, content = key_and_ballot(tmp_path)
    good = json.loads(key.read_text())
    wrong = [
        {"pairs": 10**12}, {"pairs": 0}, {"pairs": 9}, {"browse": {"one": "A"}}, {"browse": {"one": "A", "two": "A"}},
        {"trials": good["trials"] * 2}, {"trials": [t | {"left": "A", "right": "A"} for t in good["trials"]]},
    ]  # fmt: skip
    (tmp_path / "b.json").write_text(json.dumps(content))
    for change in wrong:
        (tmp_path / "k.json").write_text(json.dumps(good | change))
        with pytest.raises(SettingsError, match=r"k\.json is not a listening test's key"):
            unblind([tmp_path / "b.json"], [tmp_path / "k.json"])


NUMBERS = st.one_of(st.integers(), st.floats(), st.just(10**400), st.just(-(10**25)), st.booleans(), st.none())
ANY = st.recursive(
    st.one_of(NUMBERS, st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)


def replaced(data: Any, place: list[int], value: Any) -> Any:
    """Data with something of it replaced: the entry that a way of numbers leads to."""
    if not place or not isinstance(data, dict | list) or not data:
        return value
    keys = list(data) if isinstance(data, dict) else list(range(len(data)))
    key = keys[place[0] % len(keys)]
    changed: Any = dict(data) if isinstance(data, dict) else list(data)
    changed[key] = replaced(data[key], place[1:], value)
    return changed


@SMALL
@given(
    st.sampled_from(["nebula", "constellation", "ballot", "key", "study"]), st.lists(st.integers(0, 9), max_size=5), ANY
)
@example("constellation", [2], 1e308)
def test_any_value_in_any_place_is_read_or_refused(tmp_path: Path, reader: str, place: list[int], value: Any) -> None:
    key, content = key_and_ballot(tmp_path)
    good: dict[str, Any] = {
        "nebula": NEBULA * 1,
        "constellation": constellation().as_json(),
        "ballot": content,
        "key": json.loads(key.read_text()),
        "study": {
            "embeddings": [{"name": "logmel", "weight": 2.0}, {"name": "mss"}],
            "guards": {"pitch": 1.0}, "space": {"curve": [0.1, 10.0]}, "search": [{"sampler": "witness", "trials": 9}],
            "constellation": {"spreads": [0.1]}, "choose": {"embedding": "mss"}, "tune": ["vco_*.*"],
        },
    }  # fmt: skip
    path = tmp_path / "fuzzed.json"
    path.write_text(json.dumps(replaced(good[reader], place, value)))
    with suppress(UserInputError):
        READERS[reader](path)


@SMALL
@given(st.sampled_from(["nebula", "ballot", "study"]), st.binary(max_size=60), st.integers(0, 500))
def test_any_bytes_in_any_place_are_read_or_refused(tmp_path: Path, reader: str, some: bytes, place: int) -> None:
    _, content = key_and_ballot(tmp_path)
    good = {"nebula": json.dumps(NEBULA), "ballot": json.dumps(content), "study": STUDY}[reader].encode()
    place %= len(good)
    (tmp_path / "fuzzed").write_bytes(good[:place] + some + good[place + len(some) // 2 :])
    with suppress(UserInputError):
        READERS[reader](tmp_path / "fuzzed")


@SMALL
@given(st.text(alphabet="ab:- \n[]{},&*!?|>'\"%#0.1e<\t", max_size=40))
def test_any_yaml_is_read_or_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "fuzzed.yaml").write_text(text)
    with suppress(SettingsError):
        load_study(str(tmp_path / "fuzzed.yaml"))


STORED = ["", "[]", "{", "[" * 100_000, '{"study": 1}', '{"study": {"search": [1]}}', "null"]


@pytest.mark.parametrize("content", STORED)
def test_settings_in_a_database_that_are_none_are_one_line(content: str, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/studies.db")
    ledger.begin("one", {}, {})
    change = studies.update().values(settings=content)
    ledger.database.run(lambda connection, _: connection.execute(change))
    for reads in (lambda: study_status(ledger, "one"), lambda: Plan.stored(ledger.record("one"))):
        with pytest.raises(StudyError, match="study one: its settings in the database cannot be read") as error:
            reads()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"[]", b"\xff", b'{"identity": [1]}'])
def test_a_provenance_or_manifest_that_is_none_is_nobodys(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text("[]")
    (tmp_path / "n.provenance.json").write_bytes(content)
    with pytest.raises(SettingsError, match="is not this study's"):
        refuse_foreign_file(tmp_path / "n.json", "mine", False)
    (tmp_path / MANIFEST).write_bytes(content)
    assert _manifest(tmp_path, {})[0] is None


def test_values_in_messages_are_short() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in ("x" * 10**6, 10**5000, [[1] * 100] * 100, endless, {"a": "\n" * 200}):
        assert len(brief(value)) <= 80 and "\n" not in brief(value)
