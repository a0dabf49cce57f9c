"""Headless Chromium for pages on disk: opened without a network, watched for errors and requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

PHONE = (390, 844)


class Page:
    """A file open in a browser."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver, self.path = driver, path
        self.wait = WebDriverWait(driver, 20, poll_frequency=0.02)
        driver.get("about:blank")
        for log in ("browser", "performance"):  # what the browser's own first page did
            driver.get_log(log)
        self.open()

    def open(self) -> None:
        self.driver.get(self.path.as_uri())

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def until(self, script: str) -> Any:
        """Wait until the script returns something true, and return that."""
        return self.wait.until(lambda _: self.script(f"return {script}"))

    def press(self, *keys: str) -> None:
        """Keys as a listener types them, into whatever has the focus."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def requests(self) -> list[str]:
        """Addresses outside the file that it has asked for so far."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:")) and url != self.path.as_uri()]

    def errors(self) -> list[str]:
        """What the console told, of any level but debug."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def faults(self) -> list[str]:
        """Serious and critical accessibility faults that axe-core finds in what is shown now."""
        axe = files("axe_core_python").joinpath("axe.min.js").read_text()
        # through the debugger, as the page's own policy lets no foreign script in
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
        found = self.driver.execute_async_script("axe.run(document).then(arguments[arguments.length - 1])")
        assert len(found["passes"]) > 10  # it has looked
        return [
            f"{fault['id']}: {node['html']}: {node['failureSummary']}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    def emulate(self, size: tuple[int, int] | None = None, dark: bool = False) -> None:
        """A phone's screen, or a dark theme."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        if size:
            metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": True}
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        else:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@contextmanager
def chromium(folder: Path, *flags: str) -> Iterator[webdriver.Chrome]:
    """A browser with a profile and downloads in that folder, and these flags beside its own."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert program and driver, "make browser-test installs Chromium"
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "window-size=1200,1000", f"user-data-dir={folder}/profile",
        *flags,
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()
