# SPDX-License-Identifier: Apache-2.0
"""Chromium without a window, driven through a pair of pipes: no port, no further library."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE_S = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
_COMPLAINTS = (
    "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Audits.issueAdded",
    "Network.loadingFailed",
)  # fmt: skip


def find_browser() -> str | None:
    """Path of an installed Chromium."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    paths = (Path(folder, name) for name in _NAMES for folder in folders)
    return next((str(path) for path in paths if os.access(path, os.X_OK)), None)


@dataclass(frozen=True)
class Loaded:
    """A page as the browser shows it."""

    seconds: float
    width: float
    """Of the content, in pixels: more than the window where it would have to be scrolled."""
    height: float
    complaints: list[str]
    """Console messages, policy violations, requests that failed."""
    requests: list[str]


class Browser:
    """One browser with one page. A context manager."""

    def __init__(self, path: str, profile: Path) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4.
        script = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, "browser", path, *_SWITCHES, f"--user-data-dir={profile}"],
            pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._pending = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Network", "Audits", "DOM", "CSS"):
            self.call(f"{domain}.enable")
        self.call("Network.setCacheDisabled", cacheDisabled=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; RuntimeError when it is an error."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result = answer["result"]
                assert isinstance(result, dict)
                return result
            self._events.append(answer)

    def look(self, width: int, scheme: str, height: int = 900) -> None:
        """Show pages in a window of that size, in the ``light`` or ``dark`` scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def load(self, url: str) -> Loaded:
        """Go to ``url`` and wait until all of it is there."""
        self._events.clear()
        started = time.monotonic()
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self._wait("Page.loadEventFired")
        spent = time.monotonic() - started
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        complaints = [json.dumps(e["params"])[:600] for e in self._events
                      if e.get("method") in _COMPLAINTS]  # fmt: skip
        requests = [e["params"]["request"]["url"] for e in self._events
                    if e.get("method") == "Network.requestWillBeSent"]  # fmt: skip
        return Loaded(spent, size["width"], size["height"], complaints, requests)

    def screenshot(self, path: Path, loaded: Loaded, most_height: int = 4000) -> None:
        """Put a picture of the page into ``path``."""
        clip = {"x": 0, "y": 0, "width": loaded.width, "scale": 1,
                "height": min(loaded.height, most_height)}  # fmt: skip
        shot = self.call("Page.captureScreenshot", format="png", clip=clip,
                         captureBeyondViewport=True)  # fmt: skip
        path.write_bytes(base64.b64decode(shot["data"]))

    def evaluate(self, expression: str) -> Any:
        """What ``expression`` comes to on the page; works where the page's own scripts may not."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _wait(self, method: str) -> None:
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the browser says nothing for {PATIENCE_S} s")
            read = os.read(self._read, 1 << 20)
            if not read:
                raise EOFError(f"the browser ended with status {self._process.wait()}")
            self._pending += read
        message, self._pending = self._pending.split(b"\0", 1)
        value = json.loads(message)
        assert isinstance(value, dict)
        return value


def about(complaints: Sequence[str], word: str) -> list[str]:
    """Those of ``complaints`` that have ``word`` in them."""
    return [each for each in complaints if word in each]
