"""The page by keyboard, for screen readers, on a phone, in dark and light, and in another language."""

from pathlib import Path

import pytest

from benchmarks.page_process import demo
from benchmarks.server_process import free_port as unused_port
from tests.demo.visiting import WORST_CONTRAST, Api, Open, Scheme, axe_violations, sync_api

pytestmark = pytest.mark.slow

# How the element that has the focus shows it.
RING = """() => { const style = getComputedStyle(document.activeElement);
  return [style.outlineStyle, parseFloat(style.outlineWidth)]; }"""


@pytest.mark.parametrize(("width", "height", "scheme"), [(1400, 900, "light"), (390, 844, "dark")])
def test_axe_finds_nothing_serious_before_and_after_an_answer(
    visit: Open, films: dict[str, Path], width: int, height: int, scheme: Scheme
) -> None:
    page = visit(width, height, scheme)
    assert axe_violations(page.tab) == []
    for name, text in (("oriented.dcm", "calibrated"), ("blank.png", "abstains"), ("notes.txt", "No answer yet")):
        page.choose(films[name])
        page.read(text)
        assert axe_violations(page.tab) == [], name
    for tab in page.tab.get_by_role("tab").all():
        tab.click()
        assert axe_violations(page.tab) == [], tab.inner_text()
        assert page.overflow() <= 0, tab.inner_text()


def test_everything_on_the_way_to_an_answer_is_reached_by_tab_and_shows_its_focus(
    visit: Open, films: dict[str, Path]
) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.answered()
    page.tab.wait_for_selector("canvas[data-heat=shown]")
    wanted = {"Drop File Here", "Zoom in", "Invert", "window", "level", "strength", "stage", "Consolidation"}
    met: set[str] = set()
    for _ in range(60):
        page.tab.keyboard.press("Tab")
        name: str = page.tab.evaluate(
            "(({ activeElement: e }) => e.ariaLabel || e.name || e.innerText || e.className || '')(document)"
        )
        class_name: str = page.tab.evaluate("document.activeElement.className")
        met |= {part for part in wanted if name.startswith(part) or class_name == part}
        if page.tab.evaluate("document.activeElement !== document.body"):
            style, width = page.tab.evaluate(RING)
            assert style != "none", name
            assert width >= 2, name
    assert met == wanted


def test_the_page_speaks_german_from_its_title_to_its_problems(
    visit: Open, films: dict[str, Path], api: Api, tmp_path: Path
) -> None:
    words = ("--url", api.url, "--language", "de")
    with demo(unused_port(), *words, log=tmp_path / "log", folder=tmp_path) as url:
        page = visit(url=url)
        assert page.tab.evaluate("document.documentElement.lang") == "de"
        sync_api.expect(page.tab.get_by_role("heading", level=1)).to_contain_text("Röntgenbild")
        sync_api.expect(page.tab.get_by_role("button", name="Datei hier ablegen")).to_be_visible()
        page.choose(films["chest-of-somebody.jpeg"])
        page.read("Die kalibrierte Wahrscheinlichkeit einer Pneumonie beträgt")
        page.read("Nur für die Forschung.")
        page.choose(films["blank.png"])
        page.read("Das Bild ist leer oder fast leer.")
        page.choose(films["notes.txt"])
        page.read("Wählen Sie eine Datei")
        assert page.tab.locator("#read-answer [lang=en]").count() == 1  # what the decoder says
        for tab in page.tab.get_by_role("tab").all():
            tab.click()
            ratio, text = page.tab.evaluate(WORST_CONTRAST)
            assert ratio >= 4.5, text
            assert page.overflow() <= 0
        page.tab.close()
