"""Pictures of the page for README and docs, taken of the page as it runs, with synthetic films alone.

`make screenshots` writes `docs/images/*.png` and, beside them, the digest of what they show: `--check` fails where the
page has changed since.
"""

import argparse
import hashlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from benchmarks.page_process import BROWSER_ARGUMENTS, api_and_page, browser_path
from benchmarks.server_process import PROJECT
from pneumonia.bundle import REFERENCE
from pneumonia.files import write_json

if TYPE_CHECKING:
    from playwright import sync_api

IMAGES = PROJECT / "docs" / "images"
_SOURCES = IMAGES / "sources.json"
_COLOURS = 256  # keeps them small


def main() -> None:
    """Take them, or check that they are current."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page has changed since")
    if parser.parse_args().check:
        sys.exit(None if is_current() else "The page has changed since its pictures were taken: make screenshots")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        phantoms = _phantoms(Path(folder))
        with api_and_page(REFERENCE, Path(folder) / "page.log", workers=1) as url:
            take(url, phantoms)
    write_json(_SOURCES, {"digest": digest()})


def digest() -> str:
    """SHA-256 of all that makes the page what it shows."""
    sources = (PROJECT / "pneumonia" / "demo").rglob("*")
    paths = sorted(path for path in sources if path.suffix in (".py", ".js", ".toml"))
    content = hashlib.sha256()
    for path in [*paths, REFERENCE / "bundle.json"]:
        content.update(str(path.relative_to(PROJECT)).encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return content.hexdigest()


def is_current() -> bool:
    """Whether the pictures are of this page."""
    try:
        kept = json.loads(_SOURCES.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(kept.get("digest") == digest())


def take(url: str, phantoms: list[Path]) -> None:
    """One picture of each tab, one of a phone, and one in the dark."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=BROWSER_ARGUMENTS)
        tab = browser.new_page(viewport={"width": 1280, "height": 860})
        tab.goto(url)
        _read(tab)
        _keep(tab, "read")
        for key, shown in (("operating_point", "#explored svg"), ("about", "#about-plots svg")):
            tab.locator(f"#tab-{key}-button").click()
            expect(tab.locator(shown).first).to_be_visible(timeout=60_000)
            _keep(tab, key)
        tab.locator("#tab-compare-button").click()
        for key, kind in (("first", "Clear lungs"), ("second", "Consolidation")):
            tab.locator(f"#{key}-examples").get_by_role("button", name=kind).click()
            expect(tab.locator(f"#{key}-answer .verdict")).to_be_visible(timeout=60_000)
        _keep(tab, "compare")
        tab.locator("#tab-many-button").click()
        tab.set_input_files("#many-upload input[type=file]", phantoms)
        expect(tab.locator(".many-state")).to_contain_text("All", timeout=60_000)
        tab.get_by_role("button", name="Probability of pneumonia").click()
        _keep(tab, "many")
        tab.locator("#tab-monitor-button").click()
        expect(tab.locator("#monitored dl")).to_be_visible(timeout=60_000)
        _keep(tab, "monitor")
        phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
        phone.goto(url)
        _read(phone)
        _keep(phone, "phone")
        browser.close()


def _read(tab: "sync_api.Page") -> None:
    from playwright.sync_api import expect

    tab.wait_for_selector(".state.ready", timeout=60_000)
    tab.get_by_role("button", name="Consolidation").first.click()
    expect(tab.locator("#read-answer")).to_contain_text("Model", timeout=60_000)
    expect(tab.locator("#read-viewer[data-ready]")).to_be_visible(timeout=60_000)


def _keep(tab: "sync_api.Page", name: str) -> None:
    tab.mouse.move(0, 0)
    tab.wait_for_timeout(500)
    with Image.open(io.BytesIO(tab.screenshot())) as picture:
        small = picture.convert("RGB").quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)
        small.save(IMAGES / f"{name}.png", optimize=True)


def _phantoms(folder: Path) -> list[Path]:
    from pneumonia.data.phantom import PhantomCounts, write_phantoms

    write_phantoms(folder / "phantoms", PhantomCounts(train=0, val=0, test=8), size=512)
    return sorted((folder / "phantoms").rglob("*.jpeg"))


if __name__ == "__main__":
    main()
