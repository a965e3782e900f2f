"""The page's HTTP client against the real API, and against servers in states that the real one is rarely in."""

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pneumonia.demo import problems
from pneumonia.demo.client import ApiClient
from pneumonia.demo.problems import Problem
from pneumonia.demo.strings import Strings
from pneumonia.inference.prediction import Prediction

SAY = Strings("en")

Draw = Callable[..., Image.Image]


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[ApiClient]:
    """A client of a server that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with closing(ApiClient(f"http://127.0.0.1:{server.server_port}")) as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def error(code: str, message: str = "It failed.") -> bytes:
    return json.dumps({"error": {"code": code, "message": message}, "request_id": "abc123"}).encode()


@pytest.fixture
def client(server: str) -> Iterator[ApiClient]:
    with closing(ApiClient(server)) as client:
        yield client


def test_a_film_is_answered_with_a_prediction_and_a_heatmap_of_its_size(client: ApiClient, draw_film: Draw) -> None:
    answer = client.predict(as_png(draw_film(1, "PNEUMONIA", 110, 90)))
    assert isinstance(answer, Prediction)
    assert answer.prediction in ("NORMAL", "PNEUMONIA")
    assert 0 <= answer.probability <= 1
    assert answer.class_index == int(answer.probability >= answer.threshold)
    assert answer.heatmap is not None
    heatmap = Image.open(io.BytesIO(answer.heatmap))
    assert (heatmap.mode, heatmap.size) == ("L", (110, 90))


def test_a_blank_image_is_answered_with_an_abstention(client: ApiClient) -> None:
    answer = client.predict(as_png(Image.fromarray(np.full((90, 100), 128, dtype=np.uint8))))
    assert isinstance(answer, Prediction)
    assert answer.abstained
    assert answer.input_check.reasons


def test_the_model_is_described(client: ApiClient) -> None:
    model = client.model_info()
    assert isinstance(model, dict)
    assert model["name"] == "cnn"
    assert "synthetic" in model


def test_what_is_no_image_comes_back_in_the_servers_own_words(client: ApiClient) -> None:
    problem = client.predict(b"These are notes.")
    assert isinstance(problem, Problem)
    assert "DICOM" in problem.detail
    assert not problem.retry


def test_the_servers_answer_for_a_film_names_the_model_it_describes(client: ApiClient, draw_film: Draw) -> None:
    answer, model = client.predict(as_png(draw_film(2, "NORMAL"))), client.model_info()
    assert isinstance(answer, Prediction)
    assert isinstance(model, dict)
    assert answer.model == f"{model['name']}:{model['version']}"


def test_a_server_that_is_not_there_is_a_problem_that_can_pass(free_port: int) -> None:
    with closing(ApiClient(f"http://127.0.0.1:{free_port}")) as client:
        assert client.predict(b"film") == problems.DOWN
        assert client.model_info() == problems.DOWN
    assert problems.DOWN.retry


def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = ApiClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        assert client.predict(b"film") == problems.SLOW
        client.close()


def test_a_server_that_hangs_up_is_a_problem_that_can_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            connection, _ = rude.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with closing(ApiClient(f"http://127.0.0.1:{rude.getsockname()[1]}")) as client:
            assert client.predict(b"film") == problems.INTERRUPTED
        thread.join()


def test_a_server_that_starts_is_said_to() -> None:
    with answering(503, b'{"status": "starting"}') as client:
        assert client.model_info() == problems.STARTING


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_server_says_how_long_to_wait(status: int) -> None:
    with answering(status, error("too_many_requests"), Retry_After="7") as client:
        problem = client.predict(b"film")
    assert isinstance(problem, Problem)
    assert "7 seconds" in problem.advice(SAY)
    assert problem.retry


def test_an_overloaded_server_that_names_no_time_is_no_error() -> None:
    with answering(503, b"upstream is gone", Retry_After="Fri, 31 Dec 1999 23:59:59 GMT") as client:
        problem = client.predict(b"film")
    assert isinstance(problem, Problem)
    assert "a moment" in problem.advice(SAY)


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        (400, "damaged_image", False),
        (413, "image_too_large", False),
        (413, "too_large", False),
        (415, "unsupported_image", False),
        (422, "invalid_request", False),
        (401, "unauthorized", True),
        (403, "forbidden", True),
        (500, "internal_error", True),
        (504, "timeout", True),
    ],
)
def test_every_error_of_the_contract_has_a_sentence_and_advice(status: int, code: str, retry: bool) -> None:
    with answering(status, error(code)) as client:
        problem = client.predict(b"film")
    assert isinstance(problem, Problem)
    assert problem.what(SAY).endswith(".")
    assert problem.advice(SAY).endswith(".")
    assert problem.retry == retry


def test_an_internal_error_tells_the_number_to_ask_about() -> None:
    with answering(500, error("internal_error")) as client:
        problem = client.predict(b"film")
    assert isinstance(problem, Problem)
    assert "abc123" in problem.advice(SAY)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>Welcome to nginx</html>"),
        (200, b"[1, 2]"),
        (200, b'{"prediction": "PNEUMONIA"}'),
        (200, b"\xff\xfe"),
        (404, b"Not Found"),
        (301, b""),
    ],
)
def test_another_server_at_the_address_is_recognised(status: int, body: bytes) -> None:
    with answering(status, body) as client:
        assert client.predict(b"film") == problems.STRANGER


def test_a_heatmap_that_is_no_base64_is_recognised() -> None:
    content: dict[str, Any] = {
        "prediction": "NORMAL",
        "class_index": 0,
        "probability": 0.1,
        "threshold": 0.5,
        "probabilities": {"NORMAL": 0.9, "PNEUMONIA": 0.1},
        "prediction_set": ["NORMAL"],
        "coverage": 0.95,
        "abstained": False,
        "input_check": {"passed": True, "reasons": [], "score": -1.0},
        "model": "cnn:1",
    }
    with answering(200, json.dumps({**content, "heatmap": "@@@"}).encode()) as client:
        assert client.predict(b"film") == problems.STRANGER
    with answering(200, json.dumps(content).encode()) as client:
        answer = client.predict(b"film")
    assert isinstance(answer, Prediction)
    assert answer.heatmap is None
