"""Two films side by side, several models on one film, and what a page's own options show."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.page_process import demo
from benchmarks.server_process import free_port as unused_port
from tests.demo.visiting import Api, Draw, Open, axe_violations, sync_api

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def furnished(api: Api, tmp_path_factory: pytest.TempPathFactory, draw_film: Draw) -> Iterator[str]:
    """A page with a name, another model (of the same server; and one that is not there), and a folder of examples."""
    folder = tmp_path_factory.mktemp("furnished")
    (folder / "own").mkdir()
    draw_film(8, "PNEUMONIA", 300, 260).save(folder / "own" / "teaching-case.png")
    Image.new("L", (20, 20)).save(folder / "own" / "tiny.png")
    others = ("--other", f"twin={api.url}", "--other", f"gone=http://127.0.0.1:{unused_port()}")
    words = ("--url", api.url, *others, "--name", "Ward <7>", "--examples", folder / "own")
    with demo(unused_port(), *words, log=folder / "log", folder=folder) as url:
        yield url


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
def test_two_films_are_answered_side_by_side_and_shown_alike(
    visit: Open, films: dict[str, Path], width: int, height: int
) -> None:
    page = visit(width, height)
    page.tab.get_by_role("tab", name="Compare").click()
    page.choose(films["chest-of-somebody.jpeg"], "first")
    page.choose(films["oriented.dcm"], "second")
    for key in ("first", "second"):
        page.answered(key)
    sync_api.expect(page.tab.locator("[aria-live=polite] .verdict:visible")).to_have_count(2)
    page.tab.locator("#first-box").get_by_role("button", name="Zoom in").click()
    page.tab.locator("#first-box").get_by_role("button", name="Turn right").click()
    assert page.state("second")["zoom"] == page.state("first")["zoom"] == 1.25
    assert page.state("second")["turn"] == 1
    page.tab.locator("#compare-films").get_by_role("checkbox").uncheck()
    page.tab.locator("#second-box").get_by_role("button", name="Reset").click()
    assert (page.state("first")["zoom"], page.state("second")["zoom"]) == (1.25, 1)
    assert page.overflow() <= 0
    assert axe_violations(page.tab) == []


def test_without_another_model_the_page_says_how_to_add_one(visit: Open) -> None:
    page = visit()
    page.tab.get_by_role("tab", name="Compare").click()
    sync_api.expect(page.tab.locator("#compare-none")).to_contain_text("--other NAME=URL")


def test_each_model_says_what_it_makes_of_one_film(visit: Open, films: dict[str, Path], furnished: str) -> None:
    page = visit(url=furnished)
    page.tab.get_by_role("tab", name="Compare").click()
    page.choose(films["chest-of-somebody.jpeg"], "same")
    for key in ("model0", "model1"):
        page.answered(key)
        page.shown(key)
    page.read("can't be reached", "model2")
    page.shown("model2")
    assert page.tab.inner_text("#model0-answer .verdict") == page.tab.inner_text("#model1-answer .verdict")
    sync_api.expect(page.tab.locator("#model1-title")).to_have_text("twin")
    # The page's own model is there: its head does not follow the others.
    sync_api.expect(page.tab.locator(".state.ready")).to_be_visible()
    assert axe_violations(page.tab) == []


def test_a_page_has_its_own_name_and_the_films_of_its_folder(visit: Open, furnished: str) -> None:
    page = visit(url=furnished)
    sync_api.expect(page.tab.locator("#top .place")).to_have_text("Ward <7>")
    page.tab.get_by_role("button", name="teaching-case").click()
    page.answered()
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_contain_text("teaching-case.png, PNG, 300 x 260")
    page.tab.get_by_role("button", name="tiny").click()
    page.read("too small to be read")
