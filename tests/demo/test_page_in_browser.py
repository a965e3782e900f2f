"""The page as a visitor meets it: in a real browser, with a real API behind it that comes and goes."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from pneumonia import DISCLAIMER

if TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.slow

Draw = Callable[..., Image.Image]
Scheme = Literal["light", "dark"]

# No name but this machine's address is resolved: a page that needs another one fails, as on a closed network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
MILLISECONDS = 30_000

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

    def __init__(self, bundle: Path, port: int) -> None:
        self.url, self._port, self._bundle = f"http://127.0.0.1:{port}", port, bundle
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "pneumonia", "serve", "--bundle", str(self._bundle), "--port", str(self._port)]
        self._process = subprocess.Popen([*words, "--workers", "1"], stdout=subprocess.DEVNULL)
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

    def __init__(self, tab: "sync_api.Page", url: str) -> None:
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
        tab.wait_for_selector(".state.ready")

    def _note(self, request: "sync_api.Request") -> None:
        self.addresses.append(request.url)
        self.sent += request.method != "GET"

    def choose(self, path: Path) -> None:
        self.tab.set_input_files("#read-upload input[type=file]", path)

    def read(self, text: str) -> None:
        """Wait until the answer's part says `text`."""
        sync_api.expect(self.tab.locator("#read-answer")).to_contain_text(text)

    def see_heat(self, opacity: str) -> None:
        """Wait until the heatmap is this opaque over the film."""
        sync_api.expect(self.tab.locator("#read-box .heat")).to_have_css("opacity", opacity)

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        wider: int = self.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return wider


Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def api(bundle_dir: Path) -> Iterator[Api]:
    api = Api(bundle_dir, unused_port())
    api.start()
    yield api
    api.stop()


@pytest.fixture(scope="module")
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's process keeps its temporary files."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "page.log"


@pytest.fixture(scope="module")
def page_url(api: Api, page_files: Path, page_log: Path) -> Iterator[str]:
    port = unused_port()
    words = [sys.executable, "-m", "pneumonia", "demo", "--url", api.url, "--port", str(port)]
    with page_log.open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(page_files)})
    wait_until_it_answers(f"http://127.0.0.1:{port}/")
    yield f"http://127.0.0.1:{port}/"
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: "sync_api.Browser", page_url: str) -> Iterator[Open]:
    """Open the page; at the end no error may be in the console, and no request may have left this machine."""
    contexts, visits = [], []

    def open_page(width: int = 1400, height: int = 900, scheme: Scheme = "light") -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        visits.append(Visit(context.new_page(), page_url))
        return visits[-1]

    yield open_page
    for context in contexts:
        context.close()
    for each in visits:
        assert each.errors == []
        hosts = {urlsplit(address).hostname for address in each.addresses if not address.startswith(("data:", "blob:"))}
        assert hosts == {"127.0.0.1"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, draw_film: Draw) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    film = draw_film(3, "PNEUMONIA", 420, 360)
    film.save(folder / "chest-of-somebody.jpeg", quality=90)
    write_dicom(folder / "film.dcm", np.asarray(film).astype(np.uint16) * 16)
    write_dicom(folder / "loop.dcm", np.ones((64, 64), dtype=np.uint16), frames=3)
    Image.new("L", (200, 180), 90).save(folder / "blank.png")
    (folder / "notes.txt").write_text("These are notes, and no film.")
    return {path.name: path for path in folder.iterdir()}


def test_a_jpeg_is_shown_and_answered_with_probability_and_heatmap(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.read("The calibrated probability of pneumonia is")
    assert page.tab.inner_text(".verdict") in ("Normal", "Pneumonia")
    page.read("calibrated probability of pneumonia is")
    assert "Operating point" in (page.tab.get_attribute(".scale", "aria-label") or "")
    page.read("Input check passed.")
    sync_api.expect(page.tab.locator("#read-answer [aria-live=polite] .card")).to_have_count(1)
    page.read(DISCLAIMER)
    assert page.tab.locator("#read-box .film").evaluate("image => image.naturalWidth") == 420
    film, heat = (page.tab.locator(f"#read-box .{name}").bounding_box() for name in ("film", "heat"))
    assert film == heat
    assert page.tab.locator("#read-box .heat").evaluate("image => image.naturalWidth") > 0


def test_a_dicom_file_is_shown_and_answered(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["film.dcm"])
    page.read("The calibrated probability of pneumonia is")
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_have_text("film.dcm, DICOM, 420 x 360 pixels")


def test_the_slider_changes_the_overlay_and_asks_nobody(visit: Open, films: dict[str, Path], api: Api) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.read("The calibrated probability of pneumonia is")
    page.see_heat("0.55")
    asked, sent = api.predictions(), page.sent
    slider = page.tab.get_by_role("slider", name="Heatmap strength")
    slider.focus()
    slider.press("ArrowRight")
    page.see_heat("0.56")
    slider.press("Home")
    page.see_heat("0")
    slider.press("End")
    page.see_heat("1")
    assert page.sent == sent
    assert api.predictions() == asked


def test_a_text_file_is_refused_kindly_and_the_next_film_is_read(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["notes.txt"])
    page.read("JPEG, PNG, TIFF, WebP or DICOM")
    page.read("Choose a file that holds one grayscale chest film")
    sync_api.expect(page.tab.locator("#read-box")).to_contain_text("notes.txt")
    sync_api.expect(page.tab.locator("#read-retry")).to_be_hidden()
    page.choose(films["film.dcm"])
    page.read("The calibrated probability of pneumonia is")


def test_a_dicom_file_of_several_frames_is_refused_kindly(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["loop.dcm"])
    page.read("3 frames")


def test_a_refused_file_takes_the_film_before_it_off_the_page(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.read("The calibrated probability of pneumonia is")
    page.choose(films["notes.txt"])
    page.read("No answer yet")
    sync_api.expect(page.tab.locator("#read-box img")).to_have_count(0)
    sync_api.expect(page.tab.locator(".verdict")).to_have_count(0)


def test_a_blank_image_gets_no_decision(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["blank.png"])
    page.read("The model abstains")
    page.read("Input check failed.")
    page.read(DISCLAIMER)
    sync_api.expect(page.tab.locator("#read-box .heat")).to_have_count(0)


def test_a_synthetic_film_is_one_key_away(visit: Open) -> None:
    page = visit()
    button = page.tab.get_by_role("button", name="Consolidation")
    if not button.count():
        pytest.skip("phantoms can't be drawn here")
    button.focus()
    button.press("Enter")
    page.read("The model")  # which learned from other drawings, and may say that these are none of its kind
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_contain_text("Synthetic film: Consolidation")


def test_the_model_is_described_with_its_figures(visit: Open, api: Api) -> None:
    page = visit()
    page.tab.get_by_role("tab", name="About this model").click()
    table = page.tab.locator("#about table")
    sync_api.expect(table).to_contain_text("Sensitivity")
    sync_api.expect(table).to_contain_text(" to ")


def test_the_film_waits_for_an_api_that_is_down(visit: Open, films: dict[str, Path], api: Api) -> None:
    page = visit()
    api.stop()
    try:
        page.choose(films["chest-of-somebody.jpeg"])
        page.read("can't be reached")
        page.read("Your film is kept.")
        sync_api.expect(page.tab.locator("#read-box .film")).to_be_visible()
        sync_api.expect(page.tab.locator(".state.lost")).to_be_visible()
        ratio, words = page.tab.evaluate(WORST_CONTRAST)
        assert ratio >= 4.5, words
        page.tab.get_by_role("button", name="Try again").click()
        page.read("can't be reached")
    finally:
        api.start()
    sync_api.expect(page.tab.locator(".state.ready")).to_be_visible()
    page.tab.get_by_role("button", name="Try again").click()
    page.read("The calibrated probability of pneumonia is")
    sync_api.expect(page.tab.locator("#read-box .heat")).to_be_visible()
    sync_api.expect(page.tab.locator("#read-retry")).to_be_hidden()


def test_of_two_films_in_a_hurry_the_second_is_answered(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.tab.wait_for_selector("#read-box .film")
    page.choose(films["film.dcm"])
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_contain_text("film.dcm")
    page.read("The calibrated probability of pneumonia is")
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_contain_text("film.dcm")


def test_nothing_of_a_film_stays_on_the_disk_or_in_the_log(
    visit: Open, films: dict[str, Path], page_files: Path, page_log: Path
) -> None:
    page = visit()
    for name in ("chest-of-somebody.jpeg", "notes.txt"):
        page.choose(films[name])
        sync_api.expect(page.tab.locator("#read-box")).to_contain_text(name)
    assert [path for path in page_files.rglob("*") if path.is_file() and path.stat().st_size] == []
    log = page_log.read_text()
    assert "somebody" not in log
    assert "notes.txt" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(visit: Open, films: dict[str, Path], scheme: Scheme) -> None:
    page = visit(scheme=scheme)
    page.tab.get_by_role("tab", name="About this model").click()
    sync_api.expect(page.tab.locator("#about table")).to_be_visible()
    ratio, words = page.tab.evaluate(WORST_CONTRAST)
    assert ratio >= 4.5, words
    page.tab.get_by_role("tab", name="Read one film").click()
    for name, text in (
        ("chest-of-somebody.jpeg", "calibrated probability"),
        ("blank.png", "abstains"),
        ("notes.txt", "yet"),
    ):
        page.choose(films[name])
        page.read(text)
        ratio, words = page.tab.evaluate(WORST_CONTRAST)
        assert ratio >= 4.5, words


def test_every_control_has_a_name(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.read("The calibrated probability of pneumonia is")
    nameless = page.tab.locator("button, input, select, textarea").evaluate_all(
        """controls => controls.filter(control => control.checkVisibility()
             && !(control.innerText?.trim() || control.ariaLabel || control.labels?.length || control.title))
           .map(control => control.outerHTML)"""
    )
    assert nameless == []
    assert page.tab.locator("img:not([alt])").count() == 0


def test_a_phone_scrolls_in_one_direction_only(visit: Open, films: dict[str, Path]) -> None:
    page = visit(width=390, height=844)
    assert page.overflow() <= 0
    page.choose(films["notes.txt"])
    page.read("No answer yet")
    assert page.overflow() <= 0
    page.choose(films["chest-of-somebody.jpeg"])
    page.read("The calibrated probability of pneumonia is")
    film, heat = (page.tab.locator(f"#read-box .{name}").bounding_box() for name in ("film", "heat"))
    assert film == heat
    page.tab.get_by_role("tab", name="About this model").click()
    sync_api.expect(page.tab.locator("#about table")).to_be_visible()
    assert page.overflow() <= 0


def write_dicom(path: Path, pixels: np.ndarray, frames: int = 1) -> None:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 16, 12, 11
    dataset.PixelRepresentation, dataset.NumberOfFrames = 0, frames
    dataset.PixelData = pixels.astype("<u2").tobytes() * frames
    dataset.save_as(path, enforce_file_format=True)


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_it_answers(url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"nothing answers at {url}")
