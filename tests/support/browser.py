"""A page in a headless Chromium, driven through the pipes of its DevTools protocol.

The protocol is JSON with a NUL behind each message, on descriptors 3 (to Chromium) and 4 (from
it) of its process: chromium --remote-debugging-pipe, and https://chromedevtools.github.io.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WAIT = 60.0
"""Seconds after which Chromium is given up; it takes one or two, and more the first time."""

NAMES = ("chromium", "chromium-browser", "google-chrome")
COMMAND = next(filter(None, map(shutil.which, NAMES)), "")

needs_browser = pytest.mark.skipif(
    not COMMAND and os.environ.get("CI") != "true",
    reason="no browser here: apt-get install chromium; with CI=true it must be there",
)

LINE = (
    "--headless",
    "--no-sandbox",  # the tests may run as root, and the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # nobody is asked for anything
    "--remote-debugging-pipe",
)


class Page:
    """One page: `send` asks Chromium, `events` has what it told unasked."""

    def __init__(self, to: int, back: int) -> None:
        self.to, self.back = to, back
        self.buffer = b""
        self.number = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """The result of a command; AssertionError if Chromium refuses it."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            assert select.select([self.back], [], [], max(0.0, left))[0], "Chromium says nothing"
            part = os.read(self.back, 1 << 16)
            assert part, "Chromium ended"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def attach(self) -> None:
        """Takes a new page, and asks to be told what it fetches and what goes wrong in it."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in "Network", "Log", "Runtime", "Page":
            self.send(f"{domain}.enable")

    def open(self, path: Path, *, width: int, height: int, scheme: str) -> None:
        """Shows a file in a window of so many pixels, with "light" or "dark" preferred."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        preferred = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[preferred])
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait_event("Page.loadEventFired")

    def wait_event(self, method: str) -> None:
        """Takes events until one of this name has come."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._next())

    def told(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of the events of these names so far."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def value(self, script: str) -> Any:
        """What a JavaScript expression gives."""
        return self.send("Runtime.evaluate", expression=script, returnByValue=True)["result"][
            "value"
        ]

    def picture(self, selector: str) -> bytes:
        """What is to be seen of the first element that a CSS selector means, as PNG."""
        where = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()"
        box = self.value(where)
        clip = {key: box[key] for key in ("x", "y", "width", "height")} | {"scale": 1}
        shot = self.send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A page of a Chromium of its own, whose files go into a folder."""
    assert COMMAND, "CI needs a browser: apt-get install chromium"
    read_theirs, to = os.pipe()
    back, write_theirs = os.pipe()
    # The shell gives the two pipes the numbers that Chromium expects, whatever these had before.
    line = f'exec "$0" "$@" 3<&{read_theirs} 4>&{write_theirs}'
    browser = subprocess.Popen(
        ["bash", "-c", line, COMMAND, *LINE, f"--user-data-dir={profile}"],
        pass_fds=(read_theirs, write_theirs),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_theirs)
    os.close(write_theirs)
    page = Page(to, back)
    try:
        page.attach()
        yield page
        page.session = None
        page.send("Browser.close")
        browser.wait(WAIT)
    finally:
        os.close(to)
        os.close(back)
        if browser.poll() is None:
            browser.kill()
        browser.wait()
