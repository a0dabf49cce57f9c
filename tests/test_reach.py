"""What the voice cannot reach: by construction, by direct sums, and through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from nebula_tune.cli import app as cli
from nebula_tune.distance import L1, Distance, Euclidean, Gaussian
from nebula_tune.distance import measure as base
from nebula_tune.errors import UserInputError
from nebula_tune.evaluate import reach as module
from nebula_tune.evaluate.reach import reach
from tests.study.tiny import make_target

pytestmark = pytest.mark.usefixtures("one_thread")


def cloud(seed: int, sounds: int, centre: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(centre, 1, size=(sounds, 6)).astype(np.float32)


@pytest.fixture
def target() -> tuple[np.ndarray, list[str]]:
    """Thirty sounds where the pool is, and ten where it is not."""
    return np.concatenate([cloud(0, 30, 0), cloud(1, 10, 12)]), [f"near{k}" for k in range(30)] + [
        f"far{k}" for k in range(10)
    ]


@pytest.mark.parametrize("distance", [L1(), Euclidean(), Gaussian(8.0)])
def test_the_part_no_sound_of_the_pool_is_near_is_found(target, distance: Distance) -> None:
    vectors, names = target
    found = reach(vectors, names, names, cloud(2, 400, 0), distance).to_json()
    far = [sound for sound in found["sounds"] if sound["name"].startswith("far")]
    near = [sound for sound in found["sounds"] if sound["name"].startswith("near")]
    assert min(sound["ratio"] for sound in far) > 1.5 and np.median([sound["ratio"] for sound in near]) < 1
    missed = {sound["cluster"] for sound in far}
    assert not missed & {sound["cluster"] for sound in near}
    for one in found["clusters"]:
        if one["cluster"] in missed:
            assert one["unreached"] == one["size"] and all(name.startswith("far") for name in one["examples"])
    assert sum(one["size"] for one in found["clusters"]) == 40
    assert sum(one["unreached"] for one in found["clusters"]) == round(40 * found["unreached"])
    assert found["unreached"] == np.mean([sound["ratio"] > 1 for sound in found["sounds"]])
    assert found["clusters"][0]["unreached"] == max(one["unreached"] for one in found["clusters"])


def test_distances_are_the_direct_ones_and_never_within_a_group(target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CELLS", 500)
    vectors, names = target
    pool, groups = cloud(3, 70, 1), np.repeat(np.arange(20), 2)
    found = reach(vectors, names, groups, pool, L1()).to_json()
    own = cdist(vectors, vectors, "cityblock")
    own[groups[:, None] == groups[None]] = np.inf
    np.testing.assert_allclose([sound["to_target"] for sound in found["sounds"]], own.min(axis=1), rtol=1e-5)
    direct = cdist(vectors, pool, "cityblock").min(axis=1)
    np.testing.assert_allclose([sound["to_pool"] for sound in found["sounds"]], direct, rtol=1e-5)
    ratios = direct / own.min(axis=1)
    assert found["median_ratio"] == pytest.approx(np.median(ratios), rel=1e-5)
    assert [sound["name"] for sound in found["sounds"]] == names and found["pool"] == 70


def test_of_a_large_target_some_sounds_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 16)
    names = [str(k) for k in range(40)]
    found = reach(cloud(0, 40, 0), names, names, cloud(1, 50, 0), L1()).to_json()
    assert [sound["name"] for sound in found["sounds"]] == names[::3]


def test_one_group_has_no_other_sound(target) -> None:
    with pytest.raises(UserInputError, match="two groups"):
        reach(target[0], target[1], ["a"] * 40, target[0], L1())


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_target(tmp_path / "sounds", 20)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["nebula-tune", "reach", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    code, out, err = call("sounds", "--nebula", "drum", "--pool", "64", "--out", "reach.json", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert {"target", "embedding", "nebula", "pool", "sounds", "unreached", "median_ratio", "clusters"} <= set(found)
    assert (found["target"], found["embedding"], found["nebula"], found["pool"]) == ("sounds", "logmel", "drum", 64)
    assert sorted(sound["name"] for sound in found["sounds"]) == [f"{k:02d}.wav" for k in range(20)]
    assert json.loads((tmp_path / "reach.json").read_text()) == found
    code, out, _ = call("sounds", "--nebula", "drum", "--pool", "64")
    assert code == 0 and "out of reach" in out and "unreached" in out

    for wrong, message in (
        (("nowhere",), "nowhere"),
        (("sounds", "--nebula", "nothing"), "nothing"),
        (("sounds", "--embedding", "nose"), "no embedding 'nose'"),
        (("sounds", "--distance", "far"), "no distance 'far'"),
        (("sounds", "--group-by", "kit"), "--group-by 'kit'"),
        (("sounds", "--pool", "0"), "--pool 0"),
    ):
        code, out, err = call(*wrong)
        assert code == 2 and message in err and err.count("\n") == 1, err
