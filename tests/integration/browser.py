"""A headless Chromium for tests of local web pages. It cannot reach other machines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from selenium.webdriver.remote.webelement import WebElement

Found = TypeVar("Found")

TIMEOUT = 60.0  # seconds; pages take one or two unless the machine is busy
POLL_INTERVAL = 0.1
WIDTH, HEIGHT = 1280, 960
TALL = (WIDTH, 3 * HEIGHT)
PACKAGES = ("chromium", "chromium-driver")
# The directory for screenshots for the documentation. Default: none are saved.
SCREENSHOTS = os.environ.get("POLYTEIA_SCREENSHOTS")

# Raised while the page is still changing.
_TRANSIENT = (StaleElementReferenceException, ElementClickInterceptedException)
_WAIT_FOR_ANIMATIONS = """
const animations = document.getAnimations().filter(a => a.effect.getComputedTiming().endTime < 10000);
Promise.allSettled(animations.map(a => a.finished)).then(arguments[0]);
"""
# Whether the window has its new height and contains the whole element.
_IS_IN_WINDOW = """
const box = arguments[0].getBoundingClientRect();
return innerHeight === arguments[1] && box.top >= 0 && box.bottom <= innerHeight;
"""
_NETWORK = {"http", "https", "ws", "wss"}
_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--accept-lang=en-US",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def programs() -> tuple[str, str]:
    """Return the paths of Chromium and its driver; install them as root on Debian, else skip the test."""
    if not _found() and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", "--quiet", *arguments], env=environment, timeout=300, check=False)
    found = _found()
    if not found:
        pytest.skip(f"needs Chromium and its driver in the PATH; on Debian: apt-get install {' '.join(PACKAGES)}")
    return found


def _found() -> tuple[str, str] | None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


class Browser:
    """A browser with an empty profile; a context manager that starts and always stops it."""

    def __enter__(self) -> Self:
        chromium, driver = programs()
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for option in (*_OPTIONS, f"--user-data-dir={self._profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "SEVERE"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_page_load_timeout(TIMEOUT)
        self.resize(WIDTH, HEIGHT)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page, in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, url: str) -> None:
        """Open a page."""
        self.driver.get(url)

    def find(self, css: str, text: str = "") -> WebElement:
        """Wait for the first visible element that matches and whose text contains `text`."""
        return self.wait(lambda: next(iter(self.all(css, text)), None), f"visible {css!r} with {text!r}")

    def all(self, css: str, text: str = "") -> list[WebElement]:
        """Return all visible elements that currently match."""
        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return [element for element in found if element.is_displayed() and text in element.text]

    def click(self, css: str, text: str = "") -> None:
        """Click an element as soon as no other element covers it."""

        def click_first() -> bool:
            element = self.find(css, text)
            self.run("arguments[0].scrollIntoView({block: 'center'})", element)
            element.click()
            return True

        self.wait(click_first, f"{css!r} with {text!r} that can be clicked")

    def fill(self, css: str, value: str) -> None:
        """Replace the contents of a field."""
        field = self.find(css)
        field.clear()
        field.send_keys(value)

    def wait(self, find: Callable[[], Found | None], what: str) -> Found:
        """Wait until `find` returns a result.

        :param what: what is waited for, named in the exception.
        """
        waiting = WebDriverWait(self.driver, TIMEOUT, POLL_INTERVAL, ignored_exceptions=_TRANSIENT)
        try:
            return waiting.until(lambda _: find())  # type: ignore[return-value]  # until returns no None
        except TimeoutException:
            text = self.run("return document.body.innerText")
            raise AssertionError(f"no {what} on {self.driver.current_url}; the page contains:\n{text}") from None

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page."""
        return self.driver.execute_script(script, *arguments)

    def hide(self, css: str) -> None:
        """Make an element invisible that would be cut off in a screenshot."""
        self.run("arguments[0].style.visibility = 'hidden'", self.find(css))

    def external_requests(self) -> list[str]:
        """Return the URLs on other machines that pages have requested since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [message for message in messages if message["method"] == "Network.requestWillBeSent"]
        urls = [message["params"]["request"]["url"] for message in sent]
        parts = {url: urlsplit(url) for url in urls}
        return [url for url in urls if parts[url].scheme in _NETWORK and parts[url].hostname != "127.0.0.1"]

    def errors(self) -> list[str]:
        """Return the errors that pages have logged to the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def screenshot(self, name: str, css: str = "", size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
        """Save a screenshot of the page, or of one of its elements, if POLYTEIA_SCREENSHOTS is set.

        :param size: Width and height of the window, which must contain the element. Default: that of all tests.
        """
        if not SCREENSHOTS:
            return
        folder = Path(SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        self.resize(*size)
        if css:
            self.wait(lambda: self.run(_IS_IN_WINDOW, self.find(css), size[1]), f"window that contains {css!r}")
        self.driver.execute_async_script(_WAIT_FOR_ANIMATIONS)
        if css:
            self.run("arguments[0].style.borderRadius = '0'", self.find(css))  # or what is behind shows at the corners
        picture = self.find(css).screenshot_as_png if css else self.driver.get_screenshot_as_png()
        (folder / f"{name}.png").write_bytes(picture)
        self.resize(WIDTH, HEIGHT)
