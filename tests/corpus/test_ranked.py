"""Ranked data sets: what is found, and what is left out by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nebula_tune.errors import CorpusError
from nebula_tune.ranking.ranked_sets import RankedDataset
from tests.corpus.sounds import burst, write


def make(root: Path, presets: dict[str, dict[str, int]]) -> Path:
    """Folders of files, each a burst of that number."""
    for preset, files in presets.items():
        for name, number in files.items():
            write(root / preset / name, burst(number))
    return root


def reasons(dataset: RankedDataset) -> dict[str, str]:
    return {one.name: one.reason for one in dataset.skipped}


def test_presets_and_their_sounds_in_the_order_of_ranks(tmp_path: Path) -> None:
    dataset = RankedDataset.read(
        make(tmp_path, {"b": {"9.wav": 1, "10.flac": 2, "-3.wav": 3}, "bank/a": {"001.wav": 4, "2.ogg": 5, "3.wav": 6}})
    )
    assert [(p.name, p.ranks) for p in dataset.presets] == [("b", (-3, 9, 10)), ("bank/a", (1, 2, 3))]
    assert [f.name for f in dataset.presets[0].files] == ["b/-3.wav", "b/9.wav", "b/10.flac"]
    assert dataset.skipped == () and dataset.kind is None


def test_what_cannot_be_used_is_named_and_left_out(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "good": {"1.wav": 1, "2.wav": 2, "3.wav": 3, "4.wav": 1},
            "few": {"1.wav": 4, "2.wav": 5},
            "twice": {"1.wav": 6, "2.wav": 7, "2.flac": 8, "02.wav": 9, "3.wav": 10, "4.wav": 11},
            "unnamed": {"1.wav": 12, "two.wav": 13, "2.5.wav": 14, "4.wav": 15, "5.wav": 16, "6.wav": 17},
            "good copy": {"5.wav": 1, "6.wav": 2, "7.wav": 3},
            ".": {"7.wav": 18},
        },
    )
    (tmp_path / "good/5.wav").symlink_to(tmp_path / "gone.wav")
    dataset = RankedDataset.read(tmp_path)
    assert [(p.name, p.ranks) for p in dataset.presets] == [
        ("good", (1, 2, 3)),
        ("twice", (1, 3, 4)),
        ("unnamed", (1, 4, 5, 6)),
    ]
    assert reasons(dataset) == {
        "7.wav": "in no preset's folder",
        "few": "2 different sounds; 3 are needed",
        "good/4.wav": "the same sound as good/1.wav",
        "good/5.wav": "unreadable: No such file or directory",
        "good copy": "a copy of preset good",
        "twice/2.wav": "rank 2 is there 3 times",
        "twice/2.flac": "rank 2 is there 3 times",
        "twice/02.wav": "rank 2 is there 3 times",
        "unnamed/two.wav": "its name is no integer rank",
        "unnamed/2.5.wav": "its name is no integer rank",
    }


def test_files_that_turn_out_unusable_take_their_preset_with_them(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": {f"{k}.wav": k for k in range(4)}, "b": {f"{k}.wav": 10 + k for k in range(3)}})
    dataset = RankedDataset.read(root).without({"a/1.wav": "silent", "b/1.wav": "silent"})
    assert [(p.name, p.ranks) for p in dataset.presets] == [("a", (0, 2, 3))]
    assert reasons(dataset) == {
        "a/1.wav": "silent",
        "b/1.wav": "silent",
        "b": "2 different sounds; 3 are needed",
    }


def test_a_data_set_made_here_tells_its_kind_and_misses_its_files(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": {f"{k}.flac": k for k in range(4)}})
    (root / "dataset.json").write_text(json.dumps({"kind": "pitch", "sounds": {"a": [0, 1, 2, 3, 9], "b": [1]}}))
    dataset = RankedDataset.read(root)
    assert dataset.kind == "pitch"
    assert reasons(dataset) == {
        "a/9.flac": "missing: dataset.json lists it",
        "b/1.flac": "missing: dataset.json lists it",
    }
    (root / "dataset.json").write_text("[1]")
    dataset = RankedDataset.read(root)
    assert dataset.kind is None and reasons(dataset) == {"dataset.json": "cannot be read"}


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="does not exist"):
        RankedDataset.read(tmp_path / "nowhere")
