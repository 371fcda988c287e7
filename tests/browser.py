"""Headless Chromium, driven over its own protocol by a WebSocket.

    with browser(tmp_path) as tab: tab.open(url); tab.run("document.title"); tab.requests, tab.log

Skips by name where Chromium or the WebSocket client is not installed.
"""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest


class Tab:
    """One page; `requests` are the addresses it asked, `log` what its console and security said,
    `dialogs` the alerts it opened (each is dismissed)."""

    def __init__(self, socket):
        self.socket, self.number = socket, 0
        self.requests, self.log, self.dialogs = [], [], []

    def call(self, method, **values):
        """One command; its result."""
        self.number += 1
        own = self.number
        self.socket.send(json.dumps({"id": own, "method": method, "params": values}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == own:
                assert "error" not in message, message
                return message["result"]
            self.hear(message)

    def hear(self, message):
        """Keep what an event tells."""
        kind, values = message.get("method"), message.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif kind == "Log.entryAdded":
            self.log.append(values["entry"]["text"])
        elif kind in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled"}:
            self.log.append(json.dumps(values)[:500])
        elif kind == "Page.javascriptDialogOpening":
            self.dialogs.append(values["message"])
            self.number += 1
            message = {"id": self.number, "method": "Page.handleJavaScriptDialog",
                       "params": {"accept": False}}  # fmt: skip
            self.socket.send(json.dumps(message))

    def open(self, url):
        """Go there, and wait until it has loaded."""
        self.call("Page.navigate", url=url)
        start = json.dumps(url.partition("#")[0])
        self.until(f"document.readyState === 'complete' && location.href.startsWith({start})")

    def run(self, script):
        """The value of a script in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True,
                          awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script, seconds=60):
        """Wait for a script to be true."""
        ends = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < ends, f"never true: {script}; {self.log}"
            time.sleep(0.05)

    def click(self, selector):
        """Press the mouse in the middle of an element, as a person would."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def write(self, selector, text):
        """Click into a field and type."""
        self.click(selector)
        self.call("Input.insertText", text=text)

    def look(self, *, width=900, height=900, dark=False, phone=False):
        """Choose the window and the colours."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)  # fmt: skip
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": scheme}])  # fmt: skip

    def picture(self):
        """The whole page as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(found["data"])


@contextmanager
def browser(folder):
    """A tab of a new Chromium, whose profile is in `folder`."""
    websocket = pytest.importorskip("websocket", reason="websocket-client is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("chromium is not installed")
    profile = folder / "profile"
    command = [
        found, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", "--disable-background-networking", "--no-first-run",
        "--disable-component-update", "--remote-debugging-port=0", "--remote-allow-origins=*",
        "--lang=en", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = _port(profile / "DevToolsActivePort")
        socket = websocket.create_connection(_address(port), timeout=90)
        tab = Tab(socket)
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.call(f"{domain}.enable")
        yield tab
        socket.close()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _port(path):
    ends = time.monotonic() + 90
    while time.monotonic() < ends:
        if path.exists() and path.read_text().strip():
            return int(path.read_text().split()[0])
        time.sleep(0.1)
    raise AssertionError("chromium did not start")


def _address(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=60) as answer:
        return next(row["webSocketDebuggerUrl"] for row in json.load(answer)
                    if row["type"] == "page")  # fmt: skip
