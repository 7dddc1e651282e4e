"""Headless Chromium by chromedriver's plain HTTP (W3C WebDriver), as much of it as the tests of the page need."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"enter": "\ue007", "tab": "\ue004", "escape": "\ue00c", "right": "\ue014", "left": "\ue012", "home": "\ue011", "end": "\ue010",
        "space": " ", "shift": "\ue008"}


def is_there():
    return shutil.which("chromedriver") and (shutil.which("chromium") or shutil.which("chromium-browser"))


class WebDriverError(Exception):
    pass


class Browser:
    def __init__(self, width=1280, height=860):
        self.profile = tempfile.mkdtemp(prefix="moec-chromium-")
        self.driver = subprocess.Popen([shutil.which("chromedriver"), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       text=True, env={**os.environ, "HOME": self.profile})
        self.session = None
        try:
            self.base = f"http://127.0.0.1:{self.port()}"
            options = {"binary": shutil.which("chromium") or shutil.which("chromium-browser"),
                       "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                                "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
                                "--force-device-scale-factor=1", "--lang=en-GB", f"--user-data-dir={self.profile}",
                                f"--window-size={width},{height}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                      "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}
            self.session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except BaseException:
            self.close()
            raise

    def port(self):
        for line in self.driver.stdout:  # "ChromeDriver was started successfully on port 12345."
            if "on port" in line and "success" in line:
                return int(line.split("on port")[1].strip(" .\n"))
        raise WebDriverError("chromedriver ended before it said its port")

    def call(self, method, path, body=None):
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise WebDriverError(f"{path}: {value['error']}: {value['message'].splitlines()[0]}") from None

    def on(self, method, path, body=None):
        return self.call(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self.on("POST", "/url", {"url": url})

    def script(self, text, *arguments):
        return self.on("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def find(self, selector):
        return self.on("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.on("POST", f"/element/{self.find(selector)}/click")

    def type(self, selector, text):
        self.on("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, *keys):
        """Keys by name, or characters, to whatever has the focus; "shift+tab" holds the first while it presses the second."""
        actions = []
        for key in keys:
            held = [KEYS.get(k, k) for k in (key.split("+") if len(key) > 1 else [key])]
            actions += [{"type": "keyDown", "value": k} for k in held] + [{"type": "keyUp", "value": k} for k in reversed(held)]
        self.on("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def hover(self, selector):
        origin = {ELEMENT: self.find(selector)}
        move = {"type": "pointerMove", "duration": 0, "origin": origin, "x": 0, "y": 0}
        self.on("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]})

    def rest_pointer(self):
        move = {"type": "pointerMove", "duration": 0, "x": 1, "y": 1}
        self.on("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]})

    def wait(self, expression, what, seconds=60):
        end = time.monotonic() + seconds
        while not self.script(f"return Boolean({expression})"):
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s for: {what}")
            time.sleep(0.05)

    def cdp(self, command, **parameters):
        return self.on("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def media(self, **features):
        """media(color_scheme="dark") as if the user preferred that."""
        self.cdp("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-" + name.replace("_", "-"), "value": value} for name, value in features.items()])

    def size(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.on("GET", "/screenshot")))

    def log(self, kind):
        return self.on("POST", "/se/log", {"type": kind})

    def close(self):
        try:
            if self.session:
                self.on("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(20)
            self.driver.stdout.close()
            shutil.rmtree(self.profile, ignore_errors=True)
