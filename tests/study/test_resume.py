"""One seed, one nebula: over executors, workers, kills and interruptions."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.service.studies import assert_same
from tests.study.tiny import TRIALS, TinyStudy, let_go, make_target


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_study_killed_and_run_again_equals_an_undisturbed_one(
    share: float, tmp_path: Path, target: Path, undisturbed: TinyStudy
) -> None:
    study = TinyStudy(tmp_path, target)
    process = study.run_until(round(share * TRIALS))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 0 < study.count() < TRIALS
    _, err = (again := study.start()).communicate(timeout=300)
    assert again.returncode == 0
    assert "watching" not in err  # a dead owner on this host is not waited for
    assert_same(study, undisturbed)


def test_ctrl_c_stops_with_130_and_says_how_to_go_on(tmp_path: Path, target: Path, undisturbed: TinyStudy) -> None:
    study = TinyStudy(tmp_path, target)
    process = study.run_until(8)
    let_go(process, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "the same command goes on" in err.splitlines()[-1]
    assert "Traceback" not in err
    study.run()
    assert_same(study, undisturbed)


def test_a_time_limit_stops_cleanly_and_the_study_goes_on(tmp_path: Path, target: Path, undisturbed: TinyStudy) -> None:
    study = TinyStudy(tmp_path, target)
    process = study.start("--time-limit", "0.001")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "time limit" in err
    study.run()
    assert_same(study, undisturbed)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ray_gives_the_same_nebula_with_any_number_of_workers(
    workers: str, tmp_path: Path, target: Path, undisturbed: TinyStudy
) -> None:
    study = TinyStudy(tmp_path, target)
    study.run("--executor", "ray", "--workers", workers)
    assert_same(study, undisturbed)


def test_a_finished_study_run_again_tells_its_result_and_changes_nothing(undisturbed: TinyStudy) -> None:
    counts = {"grid": 5, "witness": 12, "cmaes": 8, "re-evaluate": 10}
    before = undisturbed.nebula.stat().st_mtime_ns, undisturbed.trials()
    first = undisturbed.run()
    assert undisturbed.run() == first and first["trials"] == counts
    assert (undisturbed.nebula.stat().st_mtime_ns, undisturbed.trials()) == before


def test_other_settings_or_another_target_are_refused_naming_the_difference(
    undisturbed: TinyStudy, tmp_path: Path
) -> None:
    process = undisturbed.start("--sounds", "48")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "study.sounds: 40 -> 48" in err

    other = TinyStudy(undisturbed.folder, make_target(tmp_path / "other", sounds=31))
    process = other.start()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "other target" in err and "usable: 30 -> 31" in err


def test_a_file_of_another_study_is_not_replaced(tmp_path: Path, target: Path) -> None:
    study = TinyStudy(tmp_path, target)
    study.nebula.parent.mkdir()
    study.nebula.write_text("mine")
    process = study.start()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "--force" in err
    assert study.nebula.read_text() == "mine"


def test_two_coordinators_cannot_run_one_study(tmp_path: Path, target: Path) -> None:
    study = TinyStudy(tmp_path, target)
    let_go(first := study.run_until(2, "--trials", "2000"))
    second = study.start("--trials", "2000")
    _, err = second.communicate(timeout=300)
    first.kill()
    first.communicate(timeout=300)
    assert second.returncode == 2
    assert f"is being run by process {first.pid}" in err
