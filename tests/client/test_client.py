"""Both clients against servers on the loopback: stand-ins for what goes wrong, and the real API."""

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from pneumonia.client import Client, Retries
from pneumonia.errors import (
    ApiError,
    DamagedImageError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from pneumonia.inference.prediction import Prediction

if TYPE_CHECKING:
    from tests.client.conftest import Face
    from tests.stand_in import Reply, StandIn

    Start = Callable[..., StandIn]
    Body = Callable[..., dict[str, Any]]

Draw = Callable[..., Image.Image]


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def film(draw_film: Draw) -> bytes:
    return as_png(draw_film(1, "PNEUMONIA", 110, 90))


# ---- what is sent


def test_film_key_and_request_id_are_sent_and_no_name(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", tmp_path: Path
) -> None:
    server = stand_in(reply())
    path = tmp_path / "DOE_Jane.png"
    path.write_bytes(b"the film")
    ask(server.url, "predict", path, heatmap=True, request_id="visit-7", client={"api_key": "secret"})
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/predict?heatmap=true")
    assert (asked.headers["x-api-key"], asked.headers["x-request-id"]) == ("secret", "visit-7")
    assert b"the film" in asked.body
    assert b"DOE" not in asked.body


def test_without_a_key_none_is_sent_and_each_request_has_an_id_of_its_own(
    ask: "Face", stand_in: "Start", reply: "type[Reply]"
) -> None:
    server = stand_in(reply())
    ask(server.url, "predict_many", [b"a", b"b"])
    assert all("x-api-key" not in asked.headers for asked in server.asked)
    assert len({asked.headers["x-request-id"] for asked in server.asked}) == 2


def test_a_path_in_the_address_is_kept(ask: "Face", stand_in: "Start", reply: "type[Reply]") -> None:
    server = stand_in(reply(content={"name": "cnn"}))
    assert ask(f"{server.url}/pneumonia/", "model_info") == {"name": "cnn"}
    assert server.asked[0].path == "/pneumonia/model/info"


def test_neither_film_nor_key_follows_a_redirect(ask: "Face", stand_in: "Start", reply: "type[Reply]") -> None:
    elsewhere = stand_in(reply())
    server = stand_in(reply(307, b"", {"Location": f"{elsewhere.url}/predict"}))
    with pytest.raises(ApiError) as raised:
        ask(server.url, "predict", b"film", client={"api_key": "secret"})
    assert (raised.value.status, raised.value.code) == (307, "unexpected_answer")
    assert elsewhere.asked == []


# ---- what is asked again


@pytest.mark.parametrize("status", [429, 503, 504])
def test_a_busy_server_is_asked_again_with_the_same_request_id(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", refusal: "Body", status: int
) -> None:
    server = stand_in(reply(status, refusal("busy")), reply(status, b"<html>"), reply())
    assert isinstance(ask(server.url, "predict", b"film"), Prediction)
    assert len({asked.headers["x-request-id"] for asked in server.asked}) == 1
    assert all(b"film" in asked.body for asked in server.asked)
    first, second = ask.slept
    assert 0 <= first <= 0.25
    assert 0 <= second <= 0.5


def test_retry_after_is_waited_for(ask: "Face", stand_in: "Start", reply: "type[Reply]", refusal: "Body") -> None:
    server = stand_in(reply(503, refusal("unavailable"), {"Retry-After": "3"}), reply())
    ask(server.url, "predict", b"film")
    (slept,) = ask.slept
    assert 3.0 <= slept <= 3.25


def test_who_names_too_long_a_time_is_not_waited_for(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", refusal: "Body"
) -> None:
    server = stand_in(reply(429, refusal("too_many_requests"), {"Retry-After": "3600"}))
    with pytest.raises(ApiError) as raised:
        ask(server.url, "predict", b"film")
    assert raised.value.retry_after == 3600
    assert (len(server.asked), ask.slept) == (1, [])


def test_a_server_that_stays_busy_is_given_up(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", refusal: "Body"
) -> None:
    server = stand_in(reply(503, refusal("unavailable", "Busy.")))
    with pytest.raises(ApiError, match="Busy"):
        ask(server.url, "predict", b"film", client={"retries": Retries(times=3)})
    assert len(server.asked) == 4


def test_a_connection_that_is_reset_is_made_again(ask: "Face", stand_in: "Start", reply: "type[Reply]") -> None:
    server = stand_in(reply(broken=True), reply())
    assert isinstance(ask(server.url, "predict", b"film"), Prediction)
    assert len(server.asked) == 2


def test_a_connection_that_is_always_reset_is_an_error(ask: "Face", stand_in: "Start", reply: "type[Reply]") -> None:
    server = stand_in(reply(broken=True))
    with pytest.raises(ApiError) as raised:
        ask(server.url, "predict", b"film", request_id="visit-7", client={"retries": Retries(times=1)})
    assert (raised.value.code, raised.value.status, raised.value.request_id) == ("interrupted", None, "visit-7")


def test_an_answer_that_takes_too_long_is_asked_for_again(ask: "Face", stand_in: "Start", reply: "type[Reply]") -> None:
    server = stand_in(reply(after=0.5), reply())
    assert isinstance(ask(server.url, "predict", b"film", client={"timeout": 0.2}), Prediction)
    assert len(server.asked) == 2


def test_a_server_that_is_not_there_is_an_error_with_its_address(ask: "Face", free_port: int) -> None:
    with pytest.raises(ApiError) as raised:
        ask(f"http://127.0.0.1:{free_port}", "health")
    assert raised.value.code == "unreachable"
    assert f"127.0.0.1:{free_port}" in str(raised.value)
    assert len(ask.slept) == 4


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad_request"),
        (401, "unauthorized"),
        (413, "too_large"),
        (422, "invalid_request"),
        (500, "internal_error"),
    ],
)
def test_an_error_that_stays_is_not_asked_again(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", refusal: "Body", status: int, code: str
) -> None:
    server = stand_in(reply(status, refusal(code), {"Retry-After": "0"}))
    with pytest.raises(ApiError) as raised:
        ask(server.url, "predict", b"film")
    assert (raised.value.status, raised.value.code, raised.value.request_id) == (status, code, "abc123")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 413, 415])
def test_an_image_that_is_refused_is_not_sent_again(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", refusal: "Body", status: int
) -> None:
    server = stand_in(reply(status, refusal("unsupported_image", "A GIF is not read.")))
    with pytest.raises(UnsupportedImageError, match="A GIF is not read"):
        ask(server.url, "predict", b"film")
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"[1]", b"\xff\xfe", b"", b'{"prediction": "NORMAL"}'])
def test_another_server_is_recognised(ask: "Face", stand_in: "Start", reply: "type[Reply]", body: bytes) -> None:
    server = stand_in(reply(200, body, {"X-Request-ID": "proxy-1"}))
    with pytest.raises(ApiError) as raised:
        ask(server.url, "predict", b"film")
    assert (raised.value.code, raised.value.request_id) == ("unexpected_answer", "proxy-1")
    assert len(server.asked) == 1


def test_the_log_tells_of_retries_and_nothing_of_film_or_key(
    ask: "Face",
    stand_in: "Start",
    reply: "type[Reply]",
    refusal: "Body",
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server = stand_in(reply(503, refusal("unavailable")), reply())
    path = tmp_path / "DOE_Jane.png"
    path.write_bytes(b"GEHEIM")
    address = server.url.replace("//", "//me:word@")
    ask(address, "predict", path, client={"api_key": "key-4711"})
    told = [record.getMessage() for record in caplog.records if record.name == "pneumonia.client"]
    assert len(told) == 1
    assert "Retry 1" in told[0]
    for secret in ("DOE", "GEHEIM", "key-4711", "me:word"):
        assert secret not in caplog.text


# ---- files


def test_a_file_that_can_not_be_read_is_the_error_of_decoding_it_and_not_sent(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", tmp_path: Path
) -> None:
    server = stand_in(reply())
    (tmp_path / "empty.png").touch()
    for path in (tmp_path / "nowhere.png", tmp_path, tmp_path / "empty.png"):
        with pytest.raises(DamagedImageError) as raised:
            ask(server.url, "predict", path)
        assert str(tmp_path) not in str(raised.value)
    with pytest.raises(ImageTooLargeError):
        ask(server.url, "predict", bytes(101), client={"max_bytes": 100})
    assert server.asked == []


# ---- the real server


def test_a_film_is_answered_with_a_prediction_and_a_heatmap_of_its_size(ask: "Face", server: str, film: bytes) -> None:
    answer = ask(server, "predict", film, heatmap=True)
    assert answer.class_index == int(answer.probability >= answer.threshold)
    heatmap = Image.open(io.BytesIO(answer.heatmap))
    assert (heatmap.format, heatmap.mode, heatmap.size) == ("PNG", "L", (110, 90))
    assert ask(server, "predict", film).heatmap is None


def test_the_server_says_of_a_film_what_its_bundle_says_here(
    ask: "Face", server: str, bundle_dir: Path, tree: Path
) -> None:
    from pneumonia.bundle import load_bundle
    from pneumonia.inference.predictor import Predictor

    paths = sorted((tree / "val").rglob("*.jpeg"))
    here = list(Predictor(load_bundle(bundle_dir), threads=1).predict_files(paths))
    there = ask(server, "predict_many", paths)
    for mine, its in zip(here, there, strict=True):
        assert isinstance(mine, Prediction)
        assert its.probability == pytest.approx(mine.probability, abs=1e-5)
        assert (its.prediction, its.threshold, its.model) == (mine.prediction, mine.threshold, mine.model)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda film: film[: len(film) // 2], DamagedImageError),
        (lambda film: b"These are notes.", UnsupportedImageError),
    ],
)
def test_what_is_not_decoded_there_is_the_error_of_decoding_it_here(
    ask: "Face", server: str, film: bytes, spoil: Callable[[bytes], bytes], kind: type[ImageError]
) -> None:
    from pneumonia.images import read_radiograph

    with pytest.raises(kind) as here:
        read_radiograph(spoil(film))
    with pytest.raises(kind) as there:
        ask(server, "predict", spoil(film))
    assert str(there.value) == str(here.value)


def test_the_model_and_its_health_are_told(ask: "Face", server: str) -> None:
    assert ask(server, "health") == "ok"
    assert ask(server, "model_info")["name"] == "cnn"


def test_a_request_id_comes_back_with_what_is_refused(ask: "Face", server: str) -> None:
    with pytest.raises(ImageError) as raised:
        ask(server, "predict", b"These are notes.", request_id="visit-7")
    assert raised.value.__notes__ == ["Request visit-7."]


def test_one_client_serves_many_threads(server: str, film: bytes) -> None:
    answers: list[Prediction] = []
    with Client(server) as client:
        threads = [threading.Thread(target=lambda: answers.append(client.predict(film))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 6
    assert len({answer.probability for answer in answers}) <= 2  # a batch may round otherwise


# ---- without httpx


def test_without_its_library_the_import_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from pneumonia.errors import PneumoniaError\n"
        "try:\n    import pneumonia.client\n"
        "except ImportError as error:\n    print(isinstance(error, PneumoniaError), error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == (
        "True `pneumonia.client` needs httpx, which is not installed: pip install 'pneumonia[client]'\n"
    )
