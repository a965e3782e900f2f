"""Requests that are answered together are answered as if each were alone."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi.routing import APIRoute
from litserve.callbacks import CallbackRunner
from litserve.loops.base import _SENTINEL_VALUE
from litserve.transport.base import MessageTransport

from pneumonia.bundle import load_bundle
from pneumonia.images import DEFAULT_LIMITS
from pneumonia.inference.predictor import Predictor
from pneumonia.serving.api import RadiographAPI, Upload
from pneumonia.serving.server import ServerOptions, build_server

if TYPE_CHECKING:
    from tests.serving.conftest import Running


@pytest.fixture(scope="module")
def api(bundle_dir: Path) -> RadiographAPI:
    api = RadiographAPI(bundle_dir, DEFAULT_LIMITS, max_batch_size=4)
    api.request_timeout = 30.0
    api.setup("cpu")
    return api


def answers_of(api: RadiographAPI, uploads: list[Upload]) -> list[tuple[int, dict[str, Any]]]:
    decoded = api.batch([api.decode_request(upload) for upload in uploads])
    responses = [api.encode_response(output) for output in api.unbatch(api.predict(decoded))]
    return [(response.status_code, json.loads(response.body)) for response in responses]


def test_a_bad_file_fails_alone(api: RadiographAPI, film: bytes) -> None:
    uploads = [Upload(film, False, "a"), Upload(b"", False, "b"), Upload(film, True, "c"), Upload(b"x", True, "d")]
    answers = answers_of(api, uploads)
    assert [status for status, _ in answers] == [200, 400, 200, 415]
    assert [body["request_id"] for _, body in answers] == ["a", "b", "c", "d"]
    assert ["heatmap" in body for _, body in answers] == [False, False, True, False]


def test_a_batch_of_bad_files_alone_is_answered(api: RadiographAPI) -> None:
    assert [status for status, _ in answers_of(api, [Upload(b"", False, "a")] * 3)] == [400] * 3


def test_an_upload_is_logged_without_its_bytes() -> None:
    assert "DOE" not in repr(Upload(b"DOE", False, "a"))


@pytest.mark.parametrize(("waiting", "taken"), [(0, 0), (1, 1), (3, 3), (4, 4), (9, 4)])
def test_what_waits_is_taken_up_to_the_largest_batch(api: RadiographAPI, waiting: int, taken: int) -> None:
    queue = queue_of(range(waiting))
    batch, timed_out = api.loop.get_batch_requests(api, queue, None)
    assert [payload for _, _, payload in batch] == list(range(taken))
    assert (timed_out, queue.qsize()) == ([], waiting - taken)


def test_a_request_that_has_waited_too_long_is_not_run(api: RadiographAPI) -> None:
    batch, timed_out = api.loop.get_batch_requests(api, queue_of([0, 1], since=-1e9), None)
    assert (batch, timed_out) == ([], [(0, "uid-0"), (0, "uid-1")])


@pytest.mark.parametrize("key", [None, "secret"])
def test_a_key_of_litserve_s_own_is_still_asked_for(
    bundle_dir: Path, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.setattr("litserve.server.LIT_SERVER_API_KEY", key)
    app = build_server(load_bundle(bundle_dir), None, ServerOptions(1, DEFAULT_LIMITS)).app
    (route,) = [route for route in app.router.routes if isinstance(route, APIRoute) and route.path == "/predict"]
    assert len(route.dependencies) == (key is not None)


class Answers(MessageTransport):
    """What the loop sends, by uid: a status and a body, or the status of an error."""

    def __init__(self) -> None:
        self.sent: dict[str, Any] = {}

    def send(self, item: Any, consumer_id: int) -> None:
        uid, (answer, status, *_) = item
        assert (consumer_id, status) == (0, "ERROR" if isinstance(answer, Exception) else "OK")
        self.sent[uid] = answer.status_code if hasattr(answer, "status_code") else answer

    async def areceive(self, timeout: int | None = None, consumer_id: int | None = None) -> dict[str, Any]:
        raise AssertionError


def test_the_loop_answers_each_once_until_it_is_enough(
    api: RadiographAPI, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = [Upload(film, False, "a"), Upload(b"x", False, "b"), *[Upload(film, False, "c")] * 2]

    def answered() -> dict[str, Any]:
        queue, answers = queue_of(films), Answers()
        queue.queue.appendleft((0, "late", -1e9, films[0]))
        queue.put(_SENTINEL_VALUE)
        api.loop(api, "cpu", 0, queue, answers, {}, CallbackRunner())
        return answers.sent

    assert answered() == {"late": 504, "uid-0": 200, "uid-1": 415, "uid-2": 200, "uid-3": 200}
    monkeypatch.setattr(api, "predict", None)
    assert {uid: type(answer) for uid, answer in answered().items() if uid != "late"} == {
        f"uid-{index}": TypeError for index in range(4)
    }


def test_fifty_clients_at_once_each_get_the_answer_to_their_own_film(
    talkative: "Running", bundle_dir: Path, tree: Path
) -> None:
    paths = sorted(tree.rglob("*.jpeg"))[:50]
    predictor = Predictor(load_bundle(bundle_dir))
    expected = [predictor.predict([predictor.read(path)])[0].probability for path in paths]

    def ask(path: Path) -> tuple[float, str]:
        files, headers = {"file": path.read_bytes()}, {"X-Request-ID": path.stem}
        response = httpx.post(f"{talkative.url}/predict", files=files, headers=headers, timeout=60)
        return response.json()["probability"], response.json()["request_id"]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, paths))
    assert [name for _, name in answers] == [path.stem for path in paths]
    assert [probability for probability, _ in answers] == pytest.approx(expected, abs=1e-5)
    assert len({round(probability, 6) for probability, _ in answers}) > 25


def queue_of(payloads: "Sequence[object]", since: float | None = None) -> "Queue[Any]":
    queue: Queue[Any] = Queue()
    for index, payload in enumerate(payloads):
        queue.put((0, f"uid-{index}", time.monotonic() if since is None else since, payload))
    return queue
