"""When things fail, the page says what happened and what to do, and the film is still there."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.page_process import demo
from benchmarks.server_process import free_port as unused_port
from tests.conftest import Command
from tests.demo.visiting import Api, Open, Visit, axe_violations, sync_api
from tests.stand_in import ANSWER, Asked, Reply, StandIn, _run

pytestmark = pytest.mark.slow


@dataclass
class Busy(StandIn):
    """A server that is there, and gives its replies to films in turn."""

    def take(self, asked: Asked) -> Reply:
        if asked.path.startswith("/predict"):
            return super().take(asked)
        self.lock.acquire()
        self.at_once += 1
        self.lock.release()
        known = {"/health": {"status": "ok"}, "/model/info": {"name": "cnn", "version": "1", "synthetic": False}}
        return Reply(content=known.get(asked.path, {}), status=200 if asked.path in known else 404)


@pytest.fixture(scope="module")
def pages(bundle_dir: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Pages without a key, with a wrong one and with a right one, for an API that asks for one and takes 150 kB."""
    folder = tmp_path_factory.mktemp("keys")
    key = command("keys", "new", "page", "--file", folder / "keys").stdout.strip()
    api = Api(bundle_dir, unused_port(), "--api-keys", folder / "keys", "--max-bytes", 150_000)
    api.start()
    with ExitStack() as stack:
        stack.callback(api.stop)
        variables = {"none": {}, "wrong": {"PNEUMONIA_API_KEY": "wrong"}, "right": {"PNEUMONIA_API_KEY": key}}
        yield {
            name: stack.enter_context(
                demo(unused_port(), "--url", api.url, log=folder / name, folder=folder, **variable)
            )
            for name, variable in variables.items()
        }


def kept(page: Visit) -> None:
    """The film is still shown, and what is said of it carries no decision."""
    page.shown()
    sync_api.expect(page.tab.locator(".verdict")).to_have_count(0)


@pytest.mark.parametrize(
    ("name", "what", "advice"),
    [
        ("none", "asks for a key, and this page has none", "--api-key-file"),
        ("wrong", "does not accept this page's key", "ask for a new key"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_said_to_be(
    visit: Open, films: dict[str, Path], pages: dict[str, str], name: str, what: str, advice: str
) -> None:
    page = visit(url=pages[name], state="lost")
    page.choose(films["chest-of-somebody.jpeg"])
    page.read(what)
    page.read(advice)
    page.read("Your film is kept.")
    kept(page)
    sync_api.expect(page.tab.locator("#read-retry")).to_be_visible()
    assert axe_violations(page.tab) == []


def test_with_its_key_the_page_is_answered_and_a_film_too_large_is_kept(
    visit: Open, films: dict[str, Path], pages: dict[str, str], tmp_path: Path
) -> None:
    page = visit(url=pages["right"])
    page.choose(films["chest-of-somebody.jpeg"])
    page.answered()
    noise = np.random.default_rng(0).integers(0, 256, (500, 500), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    page.choose(tmp_path / "large.png")
    page.read("Export the film at a smaller size")
    kept(page)
    sync_api.expect(page.tab.locator("#read-retry")).to_be_hidden()


def test_a_busy_server_says_how_long_to_wait_and_answers_the_same_film_later(
    visit: Open, films: dict[str, Path], tmp_path: Path
) -> None:
    refused = {"error": {"code": "overloaded", "message": "Full."}, "request_id": "abc123"}
    failed = {"error": {"code": "internal_error", "message": "It failed."}, "request_id": "abc123"}
    replies = [
        Reply(503, refused, {"Retry-After": "7"}),
        Reply(500, failed),
        Reply(broken=True),
        Reply(content=ANSWER, after=6),
    ]
    with (
        _run(Busy(replies)) as server,
        demo(unused_port(), "--url", server.url, log=tmp_path / "log", folder=tmp_path) as url,
    ):
        page = visit(url=url)
        page.choose(films["chest-of-somebody.jpeg"])
        for words in ("Wait about 7 seconds", "under the number", "broke off"):
            page.read(words)
            kept(page)
            page.tab.get_by_role("button", name="Try again").click()
        sync_api.expect(page.tab.locator(".slow")).to_be_visible()
        page.answered()
        assert len({asked.body.partition(b"\r\n\r\n")[2][:1000] for asked in server.asked}) == 1
        page.tab.close()
