"""A headless Chromium that loads a page and gives back what a script in it computed, over the DevTools protocol.

    with Browser() as browser: browser.outcome("http://127.0.0.1:1234/page.html", "globalThis.outcome")
    with browser.tab("http://127.0.0.1:1234/page.html") as tab: tab.press("Tab"); tab.value("document.activeElement.id")

Every wait has a deadline. The profile is a directory of its own, gone at the end.
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from websockets.sync.client import ClientConnection, connect

from penstock.testing.programs import program

START_S = 30.0
_PAUSE_S = 0.05


class Browser:
    """One browser without a window. Raises ProgramMissing if there is no Chromium here."""

    def __init__(self) -> None:
        self._program = program("chromium")
        self._profile = Path(tempfile.mkdtemp(prefix="penstock-browser-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self._profile / "log"

    def outcome(self, url: str, expression: str, within_s: float = 60.0) -> Any:
        """Load a page and wait for the value of a JavaScript expression, which may be a promise; JSON values only.

        Raises RuntimeError with what the page says if the expression throws, TimeoutError if it takes too long.
        """
        with self.tab(url, within_s) as tab:
            return tab.value(expression)

    @contextmanager
    def tab(self, url: str, within_s: float = 60.0, *, media: Mapping[str, str] | None = None, width: int = 0) -> Iterator["Tab"]:
        """A page that has been loaded; all that is done with it ends `within_s`. `media` are features of the user's, such as
        `prefers-color-scheme`; `width` is the page's, in CSS pixels (0: the window's)."""
        target = self._ask("PUT", f"/json/new?{quote('about:blank')}")
        with connect(target["webSocketDebuggerUrl"], max_size=None) as page:
            tab = Tab(page, url, time.monotonic() + within_s)
            tab.call("Page.enable")
            tab.call("Runtime.enable")
            tab.call("Log.enable")
            if media:
                tab.call("Emulation.setEmulatedMedia", features=[{"name": name, "value": text} for name, text in media.items()])
            if width:
                tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            tab.call("Page.navigate", url=url)
            tab.until("Page.loadEventFired")
            yield tab

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port()}{path}", method=method)
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            return json.load(answer)

    def _port(self) -> str:
        """Where it listens, once it has written that down whole: the port and a path, a line each."""
        file = self._profile / "DevToolsActivePort"
        lines = file.read_text().splitlines() if file.exists() else []
        return lines[0] if len(lines) > 1 else ""

    def __enter__(self) -> Self:
        options = ["--headless=new", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0", "--disable-dev-shm-usage"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        with self._log.open("wb") as log:
            command = [self._program, *options, f"--user-data-dir={self._profile}", "about:blank"]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._port():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(errors="replace")[-2000:]
                self.close()
                raise RuntimeError(f"chromium did not start:\n{said}")
            time.sleep(_PAUSE_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it and remove its profile."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)


class Tab:
    """One page's side of the DevTools protocol: calls with answers, and events between them. `complaints` is what the page has
    logged as an error or a warning, or thrown."""

    def __init__(self, connection: ClientConnection, url: str, deadline: float) -> None:
        self.complaints: list[str] = []
        self._connection = connection
        self._url = url
        self._deadline = deadline
        self._ids = itertools.count(1)
        self._events: set[str] = set()

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression, which may be a promise; JSON values only. Raises RuntimeError if it throws."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{self._url}: {json.dumps(found['exceptionDetails'])[:2000]}")
        return found["result"].get("value")

    def wait(self, expression: str) -> Any:
        """The value of an expression once it is true. Raises TimeoutError with the page's text."""
        while not (found := self.value(expression)):
            if time.monotonic() > self._deadline - 1:
                raise TimeoutError(f"{expression}: not in time; the page says:\n{self.value('document.body.innerText')}")
            time.sleep(_PAUSE_S)
        return found

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key: `Tab`, `Enter`, `Escape`, or a single character."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}.get(key, ord(key[0].upper()))
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **({"text": text} if text else {}), **common
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Put text where the focus is."""
        self.call("Input.insertText", text=text)

    def picture(self, path: Path) -> None:
        """A PNG of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(found["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the protocol. Raises RuntimeError for an error, TimeoutError."""
        id = next(self._ids)
        self._connection.send(json.dumps({"id": id, "method": method, "params": parameters}))
        while True:
            said = self._read()
            if said.get("id") == id:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']}")
                result: dict[str, Any] = said["result"]
                return result

    def until(self, event: str) -> None:
        """Wait for an event of the protocol."""
        while event not in self._events:
            self._read()

    def _read(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self._connection.recv(max(0.0, self._deadline - time.monotonic())))
        if "method" in said:
            self._events.add(said["method"])
            self._note(said["method"], said.get("params", {}))
        return said

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"])[:2000])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])
