"""The page as a visitor meets it: in a real browser, with a real API behind it that comes and goes."""

from pathlib import Path

import pytest

from pneumonia import DISCLAIMER
from tests.demo.visiting import WORST_CONTRAST, Api, Open, Scheme, sync_api

pytestmark = pytest.mark.slow


def test_a_jpeg_is_shown_and_answered_with_probability_and_heatmap(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.answered()
    assert page.tab.inner_text(".verdict") in ("Normal", "Pneumonia")
    page.read("calibrated probability of pneumonia is")
    assert "Operating point" in (page.tab.get_attribute(".scale", "aria-label") or "")
    page.read("Input check passed.")
    sync_api.expect(page.tab.locator("#read-answer [aria-live=polite] .card")).to_have_count(1)
    page.read(DISCLAIMER)
    sync_api.expect(page.tab.locator("#read-box canvas[data-heat=shown]")).to_be_visible()


def test_a_dicom_file_is_shown_and_answered(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["film.dcm"])
    page.answered()
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_have_text("film.dcm, DICOM, 420 x 360 pixels")


def test_a_text_file_is_refused_kindly_and_the_next_film_is_read(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["notes.txt"])
    page.read("JPEG, PNG, TIFF, WebP or DICOM")
    page.read("Choose a file that holds one grayscale chest film")
    sync_api.expect(page.tab.locator("#read-box")).to_contain_text("notes.txt")
    sync_api.expect(page.tab.locator("#read-retry")).to_be_hidden()
    page.choose(films["film.dcm"])
    page.answered()


def test_a_dicom_file_of_several_frames_is_refused_kindly(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["loop.dcm"])
    page.read("3 frames")


def test_a_refused_file_takes_the_film_before_it_off_the_page(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.answered()
    page.choose(films["notes.txt"])
    page.read("No answer yet")
    sync_api.expect(page.tab.locator("#read-box film-viewer")).to_have_count(0)
    sync_api.expect(page.tab.locator(".verdict")).to_have_count(0)


def test_a_blank_image_gets_no_decision(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["blank.png"])
    page.read("The model abstains")
    page.read("Input check failed.")
    page.read(DISCLAIMER)
    sync_api.expect(page.tab.locator("#read-box canvas[data-heat=shown]")).to_have_count(0)


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
        page.shown()
        sync_api.expect(page.tab.locator(".state.lost")).to_be_visible()
        ratio, words = page.tab.evaluate(WORST_CONTRAST)
        assert ratio >= 4.5, words
        page.tab.get_by_role("button", name="Try again").click()
        page.read("can't be reached")
    finally:
        api.start()
    sync_api.expect(page.tab.locator(".state.ready")).to_be_visible()
    page.tab.get_by_role("button", name="Try again").click()
    page.answered()
    sync_api.expect(page.tab.locator("#read-box canvas[data-heat=shown]")).to_be_visible()
    sync_api.expect(page.tab.locator("#read-retry")).to_be_hidden()


def test_of_two_films_in_a_hurry_the_second_is_answered(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.shown()
    page.choose(films["film.dcm"])
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_contain_text("film.dcm")
    page.answered()
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_contain_text("film.dcm")


def test_two_visitors_with_the_same_film_at_a_time_are_both_answered(visit: Open, films: dict[str, Path]) -> None:
    slow, quick = visit(), visit()
    with slow.tab.expect_request("**/gradio_api/queue/join*"):
        held: list[sync_api.Route] = []
        slow.tab.route("**/gradio_api/queue/join*", lambda route: held.append(route), times=1)
        slow.choose(films["chest-of-somebody.jpeg"])
    quick.choose(films["chest-of-somebody.jpeg"])
    quick.answered()
    held[0].continue_()
    slow.answered()


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
    page.answered()
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
    page.answered()
    page.tab.get_by_role("tab", name="About this model").click()
    sync_api.expect(page.tab.locator("#about table")).to_be_visible()
    assert page.overflow() <= 0
