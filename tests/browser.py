"""Chromium without a window, driven through its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from websockets.sync.client import connect


class Browser:
    """A browser with one page.

    Attributes:
        addresses: of all requests of the page.
        errors: messages of errors, of the page's script and of the browser about the page.
    """

    def __init__(self):
        chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
        assert chromium, "this test needs Chromium (Debian: apt install chromium)"
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        self.process = subprocess.Popen(
            [chromium, *flags, f"--user-data-dir={self.profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        place, end = Path(self.profile.name) / "DevToolsActivePort", time.monotonic() + 60
        while not (place.exists() and place.read_text().count("\n")):
            assert time.monotonic() < end, "Chromium does not start"
            time.sleep(0.05)
        port, path = place.read_text().split("\n")
        self.socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None)
        self.number, self.session = 0, None
        self.addresses, self.errors = [], []
        (page,) = (t for t in self.do("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.do("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.do(f"{domain}.enable")

    def do(self, method, **params):
        """Returns the result of a command, and keeps what the browser reports meanwhile."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        self.socket.send(json.dumps(command))
        while True:
            message = json.loads(self.socket.recv(timeout=30))
            if message.get("id") == self.number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._keep(message.get("method"), message.get("params"))

    def _keep(self, method, params):
        if method == "Network.requestWillBeSent":
            self.addresses.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])

    def open(self, address, width, height=900):
        """Opens an address, in a page as wide as the screen of a device."""
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.do("Page.navigate", url=address)
        self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    def value(self, script):
        """Returns the value of an expression in the page."""
        found = self.do("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value")

    def until(self, script, seconds=60.0):
        """Waits until an expression in the page is true."""
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, script
            time.sleep(0.05)

    def screenshot(self, path):
        """Writes a picture of the whole page."""
        found = self.do("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def end(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()
        self.profile.cleanup()
