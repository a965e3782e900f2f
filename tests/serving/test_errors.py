"""Every error of the HTTP contract, asked of a real server: a status, a code and a message that tells no more."""

import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from pneumonia.serving.schema import ErrorBody

if TYPE_CHECKING:
    from tests.serving.conftest import Running

FORM = {"content-type": "multipart/form-data; boundary=abc"}
# What an answer that told of the server's inside would hold.
INSIDE = re.compile(r"/(work|root|home|tmp|usr|site-packages)\b|Traceback|\.py\b|0x[0-9a-f]{6}")

FILES: dict[str, tuple[Callable[[bytes], bytes], int, str]] = {
    "empty": (lambda film: b"", 400, "damaged_image"),
    "truncated": (lambda film: film[: len(film) // 2], 400, "damaged_image"),
    "a header alone": (lambda film: film[:2] + b"\xff", 400, "damaged_image"),
    "text": (lambda film: b"no film", 415, "unsupported_image"),
    "a GIF": (lambda film: encoded("GIF"), 415, "unsupported_image"),
    "two frames": (lambda film: encoded("TIFF", save_all=True, append_images=[blank()]), 415, "unsupported_image"),
    "too many pixels": (lambda film: encoded("PNG", (501, 500)), 413, "image_too_large"),
    "a file too large": (lambda film: film.ljust(100_001, b"\0"), 413, "image_too_large"),
    "a body too large": (lambda film: bytes(300_000), 413, "too_large"),
}
REQUESTS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "an unknown path": ("GET", "/nowhere", {}, 404, "not_found"),
    "LitServe's own page": ("GET", "/", {}, 404, "not_found"),
    "LitServe's own info": ("GET", "/info", {}, 404, "not_found"),
    "another method": ("GET", "/predict", {}, 405, "method_not_allowed"),
    "another field": ("POST", "/predict", {"files": {"picture": b"film"}}, 422, "invalid_request"),
    "a field of text": ("POST", "/predict", {"data": {"file": "film"}}, 422, "invalid_request"),
    "no body": ("POST", "/predict", {}, 422, "invalid_request"),
    "JSON": ("POST", "/predict", {"json": {"file": "film"}}, 422, "invalid_request"),
    "a vague query": ("POST", "/predict?heatmap=perhaps", {"files": {"file": b"film"}}, 422, "invalid_request"),
    "a form that is none": ("POST", "/predict", {"content": b"film", "headers": FORM}, 400, "bad_request"),
}


def blank(size: tuple[int, int] = (80, 80)) -> Image.Image:
    return Image.new("L", size)


def encoded(name: str, size: tuple[int, int] = (80, 80), **options: Any) -> bytes:
    buffer = io.BytesIO()
    blank(size).save(buffer, format=name, **options)
    return buffer.getvalue()


def assert_error(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error", "request_id"}
    assert set(response.json()["error"]) == {"code", "message"}
    body = ErrorBody.model_validate(response.json(), strict=True)
    assert body.error.code == code
    assert len(body.error.message.split()) > 3
    assert body.request_id == response.headers["x-request-id"]
    assert not INSIDE.search(response.text)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_read_is_refused(talkative: "Running", film: bytes, name: str) -> None:
    spoil, status, code = FILES[name]
    response = httpx.post(f"{talkative.url}/predict", files={"file": ("film", spoil(film))}, timeout=60)
    assert_error(response, status, code)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_is_not_understood_is_refused(talkative: "Running", name: str) -> None:
    method, path, options, status, code = REQUESTS[name]
    assert_error(httpx.request(method, talkative.url + path, timeout=60, **options), status, code)


def test_a_wrong_method_is_told_the_right_one(server: str) -> None:
    assert httpx.get(f"{server}/predict").headers["allow"] == "POST"


def test_a_body_without_a_length_is_refused_once_it_is_too_large(talkative: "Running") -> None:
    def body() -> Iterator[bytes]:
        yield b'--abc\r\nContent-Disposition: form-data; name="file"; filename="film"\r\n\r\n'
        for _ in range(40):
            yield bytes(10_000)
        yield b"\r\n--abc--\r\n"

    response = httpx.post(f"{talkative.url}/predict", content=body(), headers=FORM, timeout=60)
    assert response.request.headers["transfer-encoding"] == "chunked"
    assert_error(response, 413, "too_large")


def test_the_server_still_answers_after_errors(talkative: "Running", film: bytes) -> None:
    for spoil, status, _ in FILES.values():
        response = httpx.post(f"{talkative.url}/predict", files={"file": ("film", spoil(film))}, timeout=60)
        assert response.status_code == status
    assert httpx.post(f"{talkative.url}/predict", files={"file": ("film", film)}, timeout=60).status_code == 200
