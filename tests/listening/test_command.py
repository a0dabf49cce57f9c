"""`nebula-tune listen`: what it writes, says and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nebula_tune.cli.app import app
from nebula_tune.errors import UserInputError
from nebula_tune.listening.design import Design
from tests.listening.made import ballot, key_of, prefers_a, write_key


def listen(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["listen", *arguments], catch_exceptions=True)
    if result.exception:
        raise result.exception
    return result.stdout


def test_a_seed_gives_the_same_page_but_for_the_keys_hash(tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        out = tmp_path / f"{name}.html"
        said = listen("drum", "white-noise", "--pairs", "8", "--seed", "5", "--out", str(out))
        assert str(out) in said and "8 pairs" in said and "drum" not in said.replace(str(tmp_path), "")
        key = json.loads((tmp_path / f"{name}.key.json").read_text())
        assert (key["a"]["name"], key["b"]["name"], key["seed"]) == ("drum", "white-noise", 5)
        pages.append(out.read_text())
    hashes = [page.split('"key": "')[1][:64] for page in pages]
    assert hashes[0] != hashes[1] and pages[0] == pages[1].replace(hashes[1], hashes[0])


def test_the_analysis_is_printed_with_the_power_first(tmp_path: Path) -> None:
    key = key_of(Design(64, np.random.default_rng(0)), "tuned", "drum")
    path, sha = write_key(tmp_path, key)
    ballots = []
    for name in ("Ann", "Bo"):
        ballots.append(tmp_path / f"{name}.json")
        ballots[-1].write_text(json.dumps(ballot(key, sha, prefers_a(0.9, np.random.default_rng(len(name))), name)))
    said = listen("--analyse", *map(str, ballots), "--key", str(path))
    assert said.startswith("power, said beforehand: 64 pairs: 41")
    assert "Ann" in said and "tuned (A) against drum (B)" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drum"], "A and B, not 1"),
        (["drum", "default", "--pairs", "4"], "8 to 88"),
        (["drum", "default", "--out", "page.txt"], r"ends in \.html"),
        (["drum", "default", "--target-kind", " "], "a few words"),
        (["drum", "default", "--seed", "-1"], "--seed"),
        (["drum", "no-such", "--pairs", "8"], "no-such does not exist"),
        (["drum", "default", "--key", "k.json"], "goes with --analyse"),
        (["--analyse", "ballot.json"], "needs the test's key"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserInputError, match=message) as error:
        listen(*arguments)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_needs_as_many_sounds_as_pairs_and_a_page_is_never_written_over(tmp_path: Path) -> None:
    from tests.study.tiny import make_target

    folder = str(make_target(tmp_path / "few", 10))
    with pytest.raises(UserInputError, match="10 sounds that can be heard; 12 pairs need as many"):
        listen("drum", folder, "--pairs", "12", "--out", str(tmp_path / "x.html"))
    listen("drum", folder, "--pairs", "8", "--out", str(tmp_path / "x.html"))
    with pytest.raises(UserInputError, match="exists"):
        listen("drum", folder, "--pairs", "8", "--out", str(tmp_path / "x.html"))
