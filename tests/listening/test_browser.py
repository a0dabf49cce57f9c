"""The listening page in headless Chromium: `make browser-test`. NEBULA_TUNE_SCREENSHOT names files for pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from nebula_tune.listening.design import AmongKey, Key
from tests.browser import PHONE, Page, chromium
from tests.listening.made import side_of

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def listen(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nebula_tune.cli", "listen", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("listening")


@pytest.fixture(scope="module")
def make(folder: Path) -> Callable[..., tuple[Path, Key]]:
    """Tests of drum against default, made by the command: page and key."""

    def made(name: str, *options: str) -> tuple[Path, Key]:
        page = folder / f"{name}.html"
        listen("drum", "default", "--target-kind", "drum hits", "--out", str(page), *options, folder=folder)
        return page, Key.model_validate_json((folder / f"{name}.key.json").read_bytes())

    return made


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with chromium(tmp_path) as driver:
        yield driver


def begin(page: Page, name: str = "") -> None:
    page.press(Keys.TAB, *name, Keys.ENTER)  # the first stop is the name's field
    page.until("state.stage === 'volume'")
    page.press("1")
    page.until("!byId('volume-done').disabled && player.currentTime > 0.05")
    page.press(Keys.ENTER)
    page.until("state.stage === 'trial'")


def answer(page: Page, key: Key, trials: int, replay: bool = False) -> None:
    """So many trials, by keyboard alone: like A, keep B, and never the wrong one."""
    told = {trial.id: trial for trial in key.trials}
    for _ in range(trials):
        trial = told[page.script("return trial().id")]
        page.press("3")  # too early: neither was played
        assert page.script("return answer().like") is None
        for number, side in (("1", "left"), ("2", "right")):
            page.press(number)
            page.until(f"answer().{side}_plays === 1")
        if replay:
            page.press("2")
            page.until("answer().right_plays === 2")
        like, keep = (side_of(trial, owner) for owner in ("A", "B"))
        if trial.kind == "catch":
            like = keep = "right" if trial.left == "wrong" else "left"
        page.press({"left": "3", "right": "4"}[like], {"left": "5", "right": "6"}[keep], Keys.ENTER)


def finish(page: Page, downloads: Path) -> Path:
    """The browse page and the download, by keyboard; the ballot's file."""
    page.until("state.stage === 'browse'")
    for _ in range(3):
        for number, which in (("1", "one"), ("2", "two")):
            plays = page.script(f"return state.browse.{which}_plays")
            page.press(number)
            page.until(f"state.browse.{which}_plays === {plays + 1}")
    page.press("4", Keys.ENTER)
    page.until("state.stage === 'done'")
    page.press(Keys.ENTER)
    page.wait.until(lambda _: list(downloads.glob("ballot-*.json")))
    return next(downloads.glob("ballot-*.json"))


def quiet(page: Page) -> None:
    assert page.errors() == []
    assert page.requests() == []


def test_a_whole_session_by_keyboard_reloaded_in_the_middle(
    make: Callable[..., tuple[Path, Key]], browser: Any, tmp_path: Path, folder: Path
) -> None:
    path, key = make("full")
    assert path.stat().st_size < 20e6
    assert len(key.trials) == 76
    page = Page(browser, path)
    begin(page, "Ann")
    answer(page, key, 30)
    page.open()
    assert page.script("return [state.stage, state.at]") == ["trial", 30]
    answer(page, key, 46)
    ballot = finish(page, tmp_path)
    quiet(page)

    analysed = listen("--analyse", str(ballot), "--key", str(path.with_name("full.key.json")), "--json", folder=folder)
    test = json.loads(analysed.stdout)["tests"][0]
    one = test["listeners"][0]
    assert one["listener"] == "Ann" and one["finished"]
    assert (one["like"]["wins"], one["keep"]["wins"], one["like"]["n"]) == (64, 0, 64)
    assert one["repeats"] == {"n": 8, "like": 8, "keep": 8} and one["catches"] == {"n": 4, "failed": 0}
    assert one["browse"] == key.browse["two"]
    assert (test["a"]["name"], test["b"]["name"]) == ("drum", "default")


def test_a_session_among_three_ends_after_the_last_pair(browser: Any, tmp_path: Path, folder: Path) -> None:
    listen("--among", "drum", "default", "white-noise", "--pairs", "8", "--out", "among.html", folder=folder)
    key = AmongKey.model_validate_json((folder / "among.key.json").read_bytes())
    page = Page(browser, folder / "among.html")
    begin(page, "Ann")
    for number in range(len(key.trials)):
        assert page.script("return state.at") == number
        for press, side in (("1", "left"), ("2", "right")):
            page.press(press)
            page.until(f"answer().{side}_plays === 1")
        page.press("3", "6", Keys.ENTER)
    page.until("state.stage === 'done'")
    page.press(Keys.ENTER)
    page.wait.until(lambda _: list(tmp_path.glob("ballot-*.json")))
    quiet(page)
    (ballot,) = tmp_path.glob("ballot-*.json")
    analysed = listen("--analyse", str(ballot), "--key", "among.key.json", "--json", folder=folder)
    (listener,) = json.loads(analysed.stdout)["among"][0]["listeners"]
    assert listener["finished"] and listener["n"] == 8 and listener["left_chosen"] == {"like": 1, "keep": 0}


def test_a_short_session_replays_counted_and_no_accessibility_fault(
    make: Callable[..., tuple[Path, Key]], browser: Any, tmp_path: Path
) -> None:
    path, key = make("short", "--pairs", "8", "--seed", "3")
    page = Page(browser, path)
    looks = [(None, False), (None, True), (PHONE, False), (PHONE, True)]

    def no_fault(stage: str) -> None:
        for size, dark in looks:
            page.emulate(size, dark)
            assert page.faults() == [], (stage, size, dark)
            assert page.script("return document.documentElement.scrollWidth <= innerWidth"), (stage, size)
            if picture := os.environ.get("NEBULA_TUNE_SCREENSHOT"):
                name = f"{picture}-{stage}-{'phone' if size else 'wide'}-{'dark' if dark else 'light'}.png"
                browser.save_screenshot(name)
        page.emulate()

    no_fault("intro")
    page.press(Keys.TAB, "B", "o", Keys.ENTER)
    no_fault("volume")
    page.open()
    assert page.script("return state.stage") == "volume"  # a reload goes on there too
    page.press("1")
    page.until("!byId('volume-done').disabled")
    page.press(Keys.ENTER)
    answer(page, key, 1, replay=True)
    no_fault("trial")
    answer(page, key, len(key.trials) - 1, replay=True)
    page.until("state.stage === 'browse'")
    no_fault("browse")
    ballot = json.loads(finish(page, tmp_path).read_text())
    no_fault("done")
    assert [one["right_plays"] for one in ballot["answers"]] == [2] * len(key.trials)
    assert ballot["listener"] == "Bo" and ballot["browse"] == {"vote": "two", "one_plays": 3, "two_plays": 3}
    quiet(page)


def test_a_sound_plays_to_its_end_with_no_network(make: Callable[..., tuple[Path, Key]], browser: Any) -> None:
    path, _ = make("play", "--pairs", "8")
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    page = Page(browser, path)
    begin(page)
    page.press("1")
    page.until("player.ended")
    assert page.script("return player.duration") == pytest.approx(3, abs=0.1)
    assert page.script("return fetch('https://example.com').then(() => 'sent', () => 'refused')") == "refused"
    assert any("Content Security Policy" in error for error in page.errors())
