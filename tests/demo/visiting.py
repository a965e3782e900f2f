"""What tests of the page share: an API that comes and goes, a page, a visitor's browser tab, and films."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image
from playwright import sync_api

from benchmarks.page_process import wait_until_it_answers

Draw = Callable[..., Image.Image]
Open = Callable[..., "Visit"]
Scheme = Literal["light", "dark"]

MILLISECONDS = 60_000

# The lowest contrast ratio of visible text on a plain ground (WCAG 2.2, 1.4.3), less what large text may have less.
WORST_CONTRAST = """
() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let worst = [99, ''];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (['SCRIPT', 'STYLE'].includes(element.tagName)) continue;
    let ground = element;
    while (ground && (channels(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
    const back = ground ? channels(getComputedStyle(ground).backgroundColor) : [255, 255, 255];
    const style = getComputedStyle(element);
    const [a, b] = [light(channels(style.color)), light(back)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = ((a + 0.05) / (b + 0.05)) * (large ? 1.5 : 1);
    if (ratio < worst[0]) worst = [ratio, text];
  }
  return worst;
}
"""


class Api:
    """`pneumonia serve` on one port, to be stopped and started again."""

    def __init__(self, bundle: Path, port: int, *options: object) -> None:
        self.url, self._port, self._bundle = f"http://127.0.0.1:{port}", port, bundle
        self._options = list(map(str, options))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "pneumonia", "serve", "--bundle", str(self._bundle), "--port", str(self._port)]
        self._process = subprocess.Popen([*words, "--workers", "1", *self._options], stdout=subprocess.DEVNULL)
        wait_until_it_answers(f"{self.url}/health")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def predictions(self) -> int:
        """How many films it has been asked about, by its own count."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith("pneumonia_predictions_total{"))


class Visit:
    """One browser tab on the page, and what went on in it."""

    def __init__(self, tab: "sync_api.Page", url: str, state: str = "ready") -> None:
        self.tab = tab
        self.errors: list[str] = []
        self.addresses: list[str] = []
        self.sent = 0
        tab.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("request", self._note)
        tab.set_default_timeout(MILLISECONDS)
        sync_api.expect.set_options(timeout=MILLISECONDS)
        tab.goto(url)
        tab.wait_for_selector(f".state.{state}")

    def _note(self, request: "sync_api.Request") -> None:
        self.addresses.append(request.url)
        self.sent += request.method != "GET"

    def choose(self, path: Path, key: str = "read") -> None:
        self.tab.set_input_files(f"#{key}-upload input[type=file]", path)

    def read(self, text: str, key: str = "read") -> None:
        """Wait until the answer's part says `text`."""
        sync_api.expect(self.tab.locator(f"#{key}-answer")).to_contain_text(text)

    def answered(self, key: str = "read") -> None:
        """Wait until the answer gives a probability."""
        self.read("The calibrated probability of pneumonia is", key)

    def shown(self, key: str = "read") -> "sync_api.Locator":
        """The viewer of a film that is drawn."""
        viewer = self.tab.locator(f"#{key}-viewer[data-ready]")
        sync_api.expect(viewer).to_be_visible()
        return viewer

    def state(self, key: str = "read") -> dict[str, Any]:
        """How the viewer shows its film: zoom, x, y, turn, window, level, inverted."""
        told: dict[str, Any] = json.loads(self.shown(key).get_attribute("data-view") or "{}")
        return told

    def pixel(self, x: float, y: float, key: str = "read") -> list[int]:
        """Red, green and blue on the viewer's canvas, at a part of its width and height, when it is drawn."""
        told: list[int] = self.shown(key).evaluate(
            """(viewer, [x, y]) => new Promise((tell) => requestAnimationFrame(() => requestAnimationFrame(() => {
                 const { canvas } = viewer;
                 const at = canvas.getContext('2d').getImageData(x * canvas.width, y * canvas.height, 1, 1);
                 tell([...at.data.slice(0, 3)]); })))""",
            [x, y],
        )
        return told

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        wider: int = self.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return wider


def axe_violations(tab: "sync_api.Page") -> list[str]:
    """What axe-core finds serious or critical on the page as it is, by rule and place."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(tab).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['html'][:120]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
