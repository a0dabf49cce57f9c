"""The report in headless Chromium: `make browser-test`. NEBULA_TUNE_SCREENSHOT names files for pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser import PHONE, Page, chromium
from tests.report.conftest import Reported

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def page(reported: Reported, tmp_path: Path) -> Iterator[Page]:
    with chromium(tmp_path) as driver:
        page = Page(driver, reported.page)
        yield page
        assert page.errors() == []
        assert page.requests() == []


def test_every_player_plays_and_a_second_press_stops(page: Page) -> None:
    buttons = page.driver.find_elements("css selector", ".sound")
    page.press("x")  # a browser plays nothing before the first key or click
    assert len(buttons) == 4 * 16 + page.script("return sounds.players.reach.length")
    for button in buttons:
        page.script("player.currentTime = 0; arguments[0].click()", button)
        page.until("player.currentTime > 0 && playing")
        assert page.script("return playing === arguments[0]", button)
    page.script("arguments[0].click()", button)
    page.until("player.paused && !playing")


def test_a_player_is_played_by_keyboard_to_its_end(page: Page) -> None:
    button = page.driver.find_elements("css selector", ".sound")[20]
    page.script("arguments[0].focus()", button)
    page.press(Keys.ENTER)
    page.until("player.currentTime > 0.1")
    page.until("player.ended")
    assert page.script("return player.duration") == pytest.approx(2, abs=0.1)


def test_marks_of_the_map_play_by_click_and_by_keyboard(page: Page) -> None:
    svg = page.driver.find_element("css selector", "#map")
    page.script("arguments[0].scrollIntoView({block: 'center'})", svg)
    for cloud in range(4):
        mark = page.script(f"return marks.find((mark) => mark.cloud === sounds.map[{cloud}]).path")
        ActionChains(page.driver).move_to_element(mark).click().perform()
        page.until("chosen && player.currentTime > 0.02")
        assert page.script("return player.duration") == pytest.approx(1, abs=0.1)
    page.script("arguments[0].focus()", svg)
    heard = set()
    for key in (Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ARROW_RIGHT):
        before = page.script("return chosen && [chosen.x, chosen.y]")
        page.press(key)
        page.until("player.currentTime > 0.02 && !player.paused")
        after = page.script("return [chosen.x, chosen.y]")
        heard.add(tuple(after))
        if before != after:
            axis, sign = {
                Keys.ARROW_LEFT: (0, -1), Keys.ARROW_RIGHT: (0, 1), Keys.ARROW_UP: (1, -1), Keys.ARROW_DOWN: (1, 1)
            }[key]  # fmt: skip
            assert (after[axis] - before[axis]) * sign > 0
    assert len(heard) > 2
    assert ": " in page.script("return byId('here').textContent")
    page.script("player.pause()")
    page.press(" ")
    page.until("!player.paused")


def test_all_marks_play(page: Page) -> None:
    """Every one of them is decoded by the browser."""
    count = page.script("return marks.length")
    lengths = page.driver.execute_async_script("""
        const done = arguments[arguments.length - 1];
        const context = new OfflineAudioContext(1, 1, 22050);
        const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
        Promise.all(marks.map((mark) => context.decodeAudioData(bytes(mark.cloud.audio[mark.sound]))))
            .then((all) => done(all.map((one) => one.duration)));
    """)
    assert len(lengths) == count >= 4 * 24
    assert all(0.95 < length < 1.1 for length in lengths)


def test_a_cloud_can_be_hidden(page: Page) -> None:
    toggle = page.driver.find_element("css selector", ".toggle")
    page.script("arguments[0].click()", toggle)
    assert toggle.get_attribute("aria-pressed") == "false"
    assert not page.script("return sounds.map[0].layer.getBoundingClientRect().width")


def test_no_accessibility_fault_in_light_dark_and_on_a_phone(page: Page) -> None:
    page.script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for size, dark in ((None, False), (None, True), (PHONE, False), (PHONE, True)):
        page.emulate(size, dark)
        assert page.faults() == [], (size, dark)
        assert page.script("return document.documentElement.scrollWidth <= innerWidth"), size
        if picture := os.environ.get("NEBULA_TUNE_SCREENSHOT"):
            name = f"{picture}-report-{'phone' if size else 'wide'}-{'dark' if dark else 'light'}.png"
            page.driver.save_screenshot(name)
