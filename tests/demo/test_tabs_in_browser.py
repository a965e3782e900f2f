"""Many films, the operating point, the model and its server, as a visitor meets them in a real browser."""

import csv
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from benchmarks.page_process import demo
from benchmarks.server_process import free_port, pneumonia_serve, serve

if TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api")

from tests.demo.visiting import MILLISECONDS, Api, Open, Scheme, Visit, axe_violations

pytestmark = pytest.mark.slow

Draw = Callable[..., Image.Image]

expect = sync_api.expect


def open_tab(page: Visit, key: str) -> None:
    page.tab.locator(f"#tab-{key}-button").click()


def wait_for_rows(page: Visit, said: str) -> list[list[str]]:
    """The texts of the table's rows once the line above it says this."""
    expect(page.tab.locator(".many-state")).to_have_text(said, timeout=3 * MILLISECONDS)
    rows: list[list[str]] = page.tab.locator(".many tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    return rows


def probabilities(rows: list[list[str]]) -> list[float]:
    shown = [row[3].strip().removeprefix("over ").removeprefix("under ") for row in rows]
    return [float(text.removesuffix("%")) if text else -1 for text in shown]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, draw_film: Draw) -> Path:
    """Six films, a blank image and a text."""
    folder = tmp_path_factory.mktemp("ward") / "films"
    folder.mkdir()
    for number in range(6):
        draw_film(number, "PNEUMONIA" if number % 2 else "NORMAL", 200, 160).save(folder / f"film-{number}.png")
    Image.new("L", (200, 180), 90).save(folder / "blank.png")
    (folder / "=notes.txt").write_text("no film")
    return folder


def test_a_folder_becomes_a_table_that_sorts_and_is_saved(visit: Open, folder: Path) -> None:
    page = visit()
    open_tab(page, "many")
    page.tab.set_input_files("input[type=file][webkitdirectory]", folder)
    rows = wait_for_rows(page, "All 8 films read.")
    assert [row[1] for row in rows] == ["=notes.txt", "blank.png", *(f"film-{number}.png" for number in range(6))]
    assert "no image" in rows[0][2] or "can be read" in rows[0][2] or "damaged" in rows[0][2]
    assert rows[1][2].startswith("No answer")
    assert page.tab.locator(".many tbody img").count() == 7

    head = page.tab.get_by_role("button", name="Probability of pneumonia")
    head.focus()
    page.tab.keyboard.press("Enter")
    expect(page.tab.locator("th[data-by=probability]")).to_have_attribute("aria-sort", "descending")
    falling = wait_for_rows(page, "All 8 films read.")
    assert probabilities(falling) == sorted(probabilities(falling), reverse=True)
    head.click()
    rising = wait_for_rows(page, "All 8 films read.")
    assert probabilities(rising) == sorted(probabilities(rising))

    with page.tab.expect_download() as saved:
        page.tab.locator("#many-csv").click()
    assert saved.value.suggested_filename == "films.csv"
    with Path(saved.value.path()).open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["file"] for line in lines][:2] == ["'=notes.txt", "blank.png"]
    assert [line["status"] for line in lines][:2] == ["failed", "refused"]
    # The small model takes some of the films for none.
    answered = {line["file"]: float(line["probability"]) for line in lines if line["status"] == "answered"}
    assert len(answered) >= 4
    shown = dict(zip([row[1] for row in falling], probabilities(falling), strict=True))
    assert all(abs(100 * value - shown[name]) < 0.11 for name, value in answered.items())

    with page.tab.expect_download() as saved:
        page.tab.locator("#many-report").click()
    report = Path(saved.value.path()).read_text(encoding="utf-8")
    assert report.count('<img src="data:image/jpeg;base64,') == 7
    assert "Research use only" in report
    assert all(name in report for name in answered)


def test_five_hundred_films_in_an_archive_are_all_there(visit: Open, tmp_path: Path, draw_film: Draw) -> None:
    films = [draw_film(number, "NORMAL") for number in range(5)]
    archive = tmp_path / "films.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for number in range(500):
            with zipped.open(f"ward/film-{number:03}.png", "w") as file:
                films[number % 5].save(file, format="PNG", compress_level=1)
    page = visit()
    open_tab(page, "many")
    page.tab.set_input_files("#many-upload input[type=file]", archive)
    # It can be used meanwhile.
    expect(page.tab.locator(".many tbody tr").first).to_be_visible()
    page.tab.get_by_role("button", name="File", exact=True).click()
    rows = wait_for_rows(page, "All 500 films read.")
    assert [row[1] for row in rows] == [f"ward/film-{number:03}.png" for number in range(500)]
    assert all(row[2] for row in rows)


def test_films_wait_for_an_api_that_is_down(visit: Open, folder: Path, api: Api) -> None:
    page = visit()
    open_tab(page, "many")
    api.stop()
    try:
        page.tab.set_input_files("#many-upload input[type=file]", sorted(folder.glob("film-*.png")))
        expect(page.tab.locator("#many-note")).to_contain_text("can't be reached")
        expect(page.tab.locator("#many-again")).to_be_visible()
    finally:
        api.start()
    page.tab.locator("#many-again").click()
    assert len(wait_for_rows(page, "All 6 films read.")) == 6
    expect(page.tab.locator("#many-note")).to_have_text("")


def test_an_archive_that_leads_out_is_refused_kindly(visit: Open, tmp_path: Path) -> None:
    archive = tmp_path / "films.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("../../film.png", b"x")
    page = visit()
    open_tab(page, "many")
    page.tab.set_input_files("#many-upload input[type=file]", archive)
    expect(page.tab.locator("#many-note")).to_contain_text("These files can't be taken.")


def test_the_operating_point_is_explored_by_the_keyboard(visit: Open) -> None:
    page = visit()
    open_tab(page, "operating_point")
    expect(page.tab.locator("#explored")).to_contain_text("This is the model's own operating point")
    before = page.tab.locator("#explored .people").get_attribute("aria-label")
    slider = page.tab.locator("#explore-threshold input[type=range]")
    own = slider.input_value()
    slider.focus()
    page.tab.keyboard.press("Home")
    expect(page.tab.locator("#explored-sensitivity")).to_contain_text("100.0%")
    expect(page.tab.locator("#explored-specificity")).to_contain_text("0.0%")
    expect(page.tab.locator("#explored-ppv")).to_have_text("20.0%")
    expect(page.tab.locator("#explored-npv")).to_have_text("-")
    prevalence = page.tab.locator("#explore-prevalence input[type=number]")
    prevalence.fill("40")
    prevalence.press("Tab")
    expect(page.tab.locator("#explored-ppv")).to_have_text("40.0%")
    expect(page.tab.locator("#explored table")).to_contain_text("400")
    prevalence.fill("20")
    prevalence.press("Tab")
    page.tab.locator("#explore-own").click()
    expect(slider).to_have_value(own)
    expect(page.tab.locator("#explored .people")).to_have_attribute("aria-label", before or "")


def test_the_model_is_shown_with_plots_failures_and_cards(visit: Open, bundle_dir: Path) -> None:
    page = visit()
    open_tab(page, "about")
    expect(page.tab.locator("#about table")).to_be_visible()
    expect(page.tab.locator("#about .failures")).to_be_visible()
    expect(page.tab.locator("#about-plots svg")).to_have_count(2)
    page.tab.locator("#about-model-card button").first.click()
    heading = (bundle_dir / "MODEL_CARD.md").read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
    expect(page.tab.locator("#about-model-card")).to_contain_text(heading)


def test_the_monitor_counts_what_was_asked(visit: Open, films: dict[str, Path], api: Api) -> None:
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.answered()
    open_tab(page, "monitor")
    expect(page.tab.locator("#monitored-workers")).to_have_text("1")
    expect(page.tab.locator("#monitored-predictions")).to_contain_text("%")
    expect(page.tab.locator("#monitored-drift")).to_contain_text("Called pneumonia")
    expect(page.tab.locator("#monitor-lock")).to_be_hidden()


@pytest.fixture(scope="module")
def locked(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of a page for a server that asks for keys, and a key that is not the page's."""
    folder = tmp_path_factory.mktemp("keys")
    keys = folder / "keys"
    words = [sys.executable, "-m", "pneumonia", "keys", "new"]
    page_key, other = (
        subprocess.run([*words, name, "--file", keys], capture_output=True, text=True, check=True).stdout.split()[-1]
        for name in ("page", "operator")
    )
    with (
        serve(pneumonia_serve(bundle_dir, "--workers", "1", "--api-keys", str(keys))) as running,
        demo(
            free_port(),
            "--url",
            f"http://127.0.0.1:{running.port}",
            log=folder / "page.log",
            folder=folder,
            PNEUMONIA_API_KEY=page_key,
        ) as url,
    ):
        yield url, other


def test_where_there_are_keys_the_monitor_asks_for_one(visit: Open, locked: tuple[str, str]) -> None:
    url, key = locked
    page = visit(url=url)
    open_tab(page, "monitor")
    expect(page.tab.locator("#monitored")).to_contain_text("asks for a key")
    page.tab.get_by_label("Key of the model's server").fill("wrong")
    page.tab.get_by_role("button", name="Show", exact=True).click()
    expect(page.tab.locator("#monitored")).to_contain_text("does not accept")
    page.tab.get_by_label("Key of the model's server").fill(key)
    page.tab.keyboard.press("Enter")
    expect(page.tab.locator("#monitored-workers")).to_have_text("1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_tab(visit: Open, folder: Path, scheme: Scheme) -> None:
    page = visit(scheme=scheme)
    open_tab(page, "many")
    page.tab.set_input_files("#many-upload input[type=file]", sorted(folder.iterdir()))
    wait_for_rows(page, "All 8 films read.")
    assert axe_violations(page.tab) == []
    for key, shown in (("operating_point", "#explored svg"), ("about", "#about table"), ("monitor", "#monitored dl")):
        open_tab(page, key)
        expect(page.tab.locator(shown).first).to_be_visible()
        assert axe_violations(page.tab) == [], key


def test_a_phone_scrolls_in_one_direction_on_every_tab(visit: Open, folder: Path) -> None:
    page = visit(width=390, height=844)
    open_tab(page, "many")
    page.tab.set_input_files("#many-upload input[type=file]", sorted(folder.iterdir()))
    wait_for_rows(page, "All 8 films read.")
    assert page.overflow() <= 0
    for key, shown in (("operating_point", "#explored svg"), ("about", "#about table"), ("monitor", "#monitored dl")):
        open_tab(page, key)
        expect(page.tab.locator(shown).first).to_be_visible()
        assert page.overflow() <= 0, key
