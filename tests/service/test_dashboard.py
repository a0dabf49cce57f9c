"""The dashboard: a study's page with its figures, and sounds that play."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import soundfile

from nebula_tune.storage.ledger import Ledger
from tests.service.postgres import free_port
from tests.service.studies import as_version_2, wait_for
from tests.study.tiny import TinyStudy, command

ROOT = Path(__file__).resolve().parents[2]


class Page:
    """A dashboard's server, asked over HTTP."""

    def __init__(self, study: TinyStudy) -> None:
        self.port = free_port()
        self.process = command(study.folder, "dashboard", "--port", str(self.port), "--storage", study.storage)
        wait_for(lambda: self._answers() or self.process.poll() is not None)
        self.study: dict[str, Any] = self.json("/api/studies/1")

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return bytes(answer.read())

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def _answers(self) -> bool:
        try:
            self.get("/api/studies")
        except OSError:
            return False
        return True

    @property
    def best(self) -> dict[str, Any]:
        """The best trial among those with decided flags."""
        attributes = [({a["key"]: a["value"] for a in trial["user_attrs"]}, trial) for trial in self.study["trials"]]
        decided = [
            trial
            for told, trial in attributes
            if str(told["relaxed"]).lower() == "false" and trial["state"] == "Complete"
        ]
        best: dict[str, Any] = min(decided, key=lambda trial: trial["values"][0])
        return best


@pytest.fixture(scope="module")
def page(undisturbed: TinyStudy) -> Iterator[Page]:
    made = Page(undisturbed)
    yield made
    made.process.terminate()
    made.process.communicate(timeout=300)


def audio(page: Page, artifacts: list[dict[str, Any]], path: str) -> tuple[Any, int]:
    found = next(a for a in artifacts if a["mimetype"] == "audio/wav")
    sound, rate = soundfile.read(io.BytesIO(page.get(f"/artifacts/{path}/{found['artifact_id']}")))
    return sound, rate


def test_the_study_has_its_target_to_hear_and_its_figures(page: Page) -> None:
    sound, rate = audio(page, page.study["artifacts"], "1")
    assert rate == 44100 and len(sound) == 8 * 1.5 * 44100 and 0.5 < abs(sound).max() < 0.8
    figures = {figure["id"] for figure in page.study["plotly_graph_objects"]}
    assert figures == {"convergence", "heldout"}


def test_artifacts_of_a_database_of_an_older_version_play(tmp_path: Path, undisturbed: TinyStudy) -> None:
    shutil.copytree(undisturbed.folder / "artifacts", tmp_path / "artifacts")
    older = TinyStudy(tmp_path, undisturbed.target)
    files = [folder / "studies.db" for folder in (undisturbed.folder, tmp_path)]
    with closing(sqlite3.connect(files[0])) as whole, closing(sqlite3.connect(files[1])) as copy:
        whole.backup(copy)
    as_version_2(Ledger(older.storage).engine)
    page = Page(older)
    try:
        assert len(audio(page, page.study["artifacts"], "1")[0]) == 8 * 1.5 * 44100
        assert len(audio(page, page.best["artifacts"], f"1/{page.best['trial_id']}")[0])
    finally:
        page.process.terminate()
        page.process.communicate(timeout=300)


def test_every_improving_trial_has_sounds_a_picture_and_a_note(page: Page) -> None:
    best = page.best
    sound, rate = audio(page, best["artifacts"], f"1/{best['trial_id']}")
    assert rate == 44100 and len(sound) == 8 * 1.5 * 44100
    picture = next(a for a in best["artifacts"] if a["mimetype"] == "image/png")
    assert page.get(f"/artifacts/1/{best['trial_id']}/{picture['artifact_id']}").startswith(b"\x89PNG")
    assert "Best so far" in best["note"]["body"]
    with_sounds = [trial for trial in page.study["trials"] if trial["artifacts"]]
    assert 1 <= len(with_sounds) < len(page.study["trials"])


def test_it_listens_here_only_and_warns_where_it_is_told_otherwise(undisturbed: TinyStudy) -> None:
    port = str(free_port())
    process = command(
        undisturbed.folder, "dashboard", "--host", "0.0.0.0", "--port", port, "--storage", undisturbed.storage
    )
    assert process.stderr is not None
    assert "no login" in process.stderr.readline()
    second = command(
        undisturbed.folder, "dashboard", "--host", "0.0.0.0", "--port", port, "--storage", undisturbed.storage
    )
    _, err = second.communicate(timeout=300)
    assert second.returncode == 2 and re.search(rf"cannot listen on 0\.0\.0\.0 port {port}: .*--port", err)
    process.terminate()
    process.communicate(timeout=300)


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_shows_the_figures_and_plays_a_trial(page: Page, tmp_path: Path) -> None:
    """`make browser-test` installs Chromium and runs this; NEBULA_TUNE_SCREENSHOT names files for pictures."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    from tests.browser import chromium

    with chromium(tmp_path, "autoplay-policy=no-user-gesture-required", "window-size=1400,1500") as browser:
        wait = WebDriverWait(browser, 60)
        browser.get(f"http://127.0.0.1:{page.port}/dashboard/studies/1")
        wait.until(lambda b: "Held-out sounds" in b.page_source and "Convergence" in b.page_source)
        assert len(browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot")) >= 2

        if picture := os.environ.get("NEBULA_TUNE_SCREENSHOT"):
            figure = browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot")[-1]
            browser.execute_script("arguments[0].scrollIntoView({block: 'end'})", figure)
            time.sleep(2)
            browser.save_screenshot(f"{picture}-study.png")
        best = page.best
        browser.get(f"http://127.0.0.1:{page.port}/dashboard/studies/1/trials?numbers={best['number']}")
        player = wait.until(lambda b: b.find_element(By.CSS_SELECTOR, "audio"))
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].play()", player)
        wait.until(lambda b: b.execute_script("return arguments[0].currentTime", player) > 0.5)
        assert browser.execute_script("return arguments[0].duration", player) == pytest.approx(12, abs=0.1)
        if picture := os.environ.get("NEBULA_TUNE_SCREENSHOT"):
            browser.save_screenshot(f"{picture}-trial.png")
        assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
