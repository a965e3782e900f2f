"""Fixtures of the page's tests: one API and one page a test process, and browser tabs that are looked at in the end."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from benchmarks.page_process import BROWSER_ARGUMENTS, demo, find_browser
from benchmarks.server_process import free_port as unused_port
from tests.demo.dicom_files import write_dicom
from tests.demo.visiting import Api, Draw, Open, Scheme, Visit, sync_api


@pytest.fixture(scope="session")
def api(bundle_dir: Path) -> Iterator[Api]:
    api = Api(bundle_dir, unused_port())
    api.start()
    yield api
    api.stop()


@pytest.fixture(scope="session")
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's process keeps its temporary files."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="session")
def page_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "page.log"


@pytest.fixture(scope="session")
def page_url(api: Api, page_files: Path, page_log: Path) -> Iterator[str]:
    with demo(unused_port(), "--url", api.url, log=page_log, folder=page_files) as url:
        yield url


@pytest.fixture(scope="module")  # as long as it runs, no other event loop can
def browser() -> Iterator["sync_api.Browser"]:
    executable = find_browser()
    if executable is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: "sync_api.Browser", page_url: str) -> Iterator[Open]:
    """Open the page; at the end no error may be in the console, and no request may have left this machine."""
    contexts, visits = [], []

    def open_page(
        width: int = 1400, height: int = 900, scheme: Scheme = "light", url: str = page_url, state: str = "ready"
    ) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        visits.append(Visit(context.new_page(), url, state))
        return visits[-1]

    yield open_page
    for context in contexts:
        context.close()
    for each in visits:
        assert each.errors == []
        hosts = {urlsplit(address).hostname for address in each.addresses if not address.startswith(("data:", "blob:"))}
        assert hosts == {"127.0.0.1"}


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory, draw_film: Draw) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    film = draw_film(3, "PNEUMONIA", 420, 360)
    film.save(folder / "chest-of-somebody.jpeg", quality=90)
    write_dicom(folder / "film.dcm", np.asarray(film).astype(np.uint16) * 16)
    lies = {"PatientOrientation": ["L", "F"], "ViewPosition": "PA", "ImagerPixelSpacing": [0.8, 0.8]}
    named = {"PatientName": "Doe^Jane", "PatientID": "4711"}
    write_dicom(folder / "oriented.dcm", np.asarray(film).astype(np.uint16) * 16, **lies, **named)
    write_dicom(folder / "loop.dcm", np.ones((64, 64), dtype=np.uint16), frames=3)
    Image.new("L", (200, 180), 90).save(folder / "blank.png")
    (folder / "notes.txt").write_text("These are notes, and no film.")
    return {path.name: path for path in folder.iterdir()}
