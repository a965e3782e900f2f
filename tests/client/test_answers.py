"""What a response is read as, without a network."""

import base64
import contextlib
import json
import pickle
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.client.answers import lost, read_health, read_prediction, retry_after
from pneumonia.client.calls import connection, predict_call, shown_address
from pneumonia.errors import (
    ApiError,
    ConfigError,
    DamagedImageError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction

PNG = b"\x89PNG\r\n\x1a\n..."
FIELDS = (
    *("prediction", "class_index", "probability", "threshold", "probabilities"),
    *("prediction_set", "coverage", "abstained", "input_check", "model"),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def refused(status: int, code: str, message: str = "It failed.", **headers: str) -> httpx.Response:
    content = {"error": {"code": code, "message": message}, "request_id": "abc123"}
    return httpx.Response(status, json=content, headers=headers)


@given(
    st.builds(
        Prediction,
        prediction=st.sampled_from(["NORMAL", "PNEUMONIA"]),
        class_index=st.integers(0, 5),
        probability=st.floats(0, 1),
        threshold=st.floats(0, 1),
        probabilities=st.dictionaries(st.sampled_from(["NORMAL", "BACTERIAL", "VIRAL"]), st.floats(0, 1)),
        prediction_set=st.lists(st.sampled_from(["NORMAL", "PNEUMONIA"]), max_size=2),
        coverage=st.floats(0, 1),
        abstained=st.booleans(),
        input_check=st.builds(
            InputCheck, st.booleans(), st.lists(st.just("This is blank.")), st.floats(allow_nan=False)
        ),
        model=st.just("cnn:1"),
        heatmap=st.none() | st.binary().map(PNG.__add__),
    )
)
def test_a_prediction_comes_back_as_it_was_sent(sent: Prediction) -> None:
    encoded = {} if sent.heatmap is None else {"heatmap": base64.b64encode(sent.heatmap).decode()}

    assert read_prediction(httpx.Response(200, content=json.dumps({**sent.to_dict(), **encoded}))) == sent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("probability", float("nan")),
        ("probability", 1.5),
        ("threshold", "high"),
        ("class_index", float("inf")),
        ("abstained", "false"),
        ("abstained", 0),
        ("input_check", {"passed": "no", "reasons": [], "score": 1.0}),
        ("input_check", None),
        ("probabilities", [0.9, 0.1]),
        ("heatmap", "@@@"),
        ("heatmap", base64.b64encode(b"GIF89a").decode()),
    ],
)
def test_an_answer_that_is_not_quite_a_prediction_is_none(content: dict[str, Any], field: str, value: object) -> None:

    with pytest.raises(ApiError) as raised:
        read_prediction(httpx.Response(200, content=json.dumps({**content, field: value})))
    assert (raised.value.code, raised.value.status) == ("unexpected_answer", 200)


@given(st.sampled_from(FIELDS), json_values)
def test_whatever_a_field_holds_the_answer_is_a_prediction_or_an_error(
    content: dict[str, Any], field: str, value: object
) -> None:

    with contextlib.suppress(ApiError):
        answer = read_prediction(httpx.Response(200, content=json.dumps({**content, field: value})))
        assert isinstance(answer, Prediction)
        assert 0 <= answer.probability <= 1
        assert isinstance(answer.abstained, bool)


@given(st.integers(200, 599), st.binary(max_size=40) | json_values.map(lambda value: repr(value).encode()))
def test_whatever_a_stranger_says_is_an_error_of_the_package(status: int, body: bytes) -> None:
    with pytest.raises((ApiError, ImageError)):
        read_prediction(httpx.Response(status, content=body))


@pytest.mark.parametrize("kind", [DamagedImageError, UnsupportedImageError, ImageTooLargeError])
def test_an_image_that_is_refused_is_the_error_of_decoding_it_here(kind: type[ImageError]) -> None:
    with pytest.raises(kind) as raised:
        read_prediction(refused(400, kind.code, "The file is cut off."))
    assert str(raised.value) == "The file is cut off."
    assert raised.value.__notes__ == ["Request abc123."]


def test_an_error_keeps_what_a_program_and_an_administrator_need() -> None:
    with pytest.raises(ApiError) as raised:
        read_prediction(refused(503, "unavailable", "Busy.", **{"Retry-After": "7"}))
    error = raised.value
    assert (error.status, error.code, error.message) == (503, "unavailable", "Busy.")
    assert (error.request_id, error.retry_after) == ("abc123", 7.0)
    assert str(error) == "Busy. (HTTP 503, request abc123)"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_a_message_is_one_line_that_no_terminal_obeys() -> None:
    with pytest.raises(ApiError) as raised:
        read_prediction(refused(500, "internal_error", "Failed.\n\x1b[2J" + 5000 * "x"))
    assert raised.value.message.isprintable()
    assert len(raised.value.message) <= 1000


def test_a_server_that_starts_gives_an_answer_and_no_error() -> None:
    assert read_health(httpx.Response(503, json={"status": "starting"})) == "starting"
    assert read_health(httpx.Response(200, json={"status": "ok"})) == "ok"
    for status, content in [(200, {"status": "starting"}), (200, {}), (503, {"status": "ok"}), (503, None)]:
        with pytest.raises(ApiError):
            read_health(httpx.Response(status, json=content))


NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("9" * 5000, None),
        ("\u0667", None),
        ("Wed, 99 Oct 2026 07:28:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(value: str, seconds: float | None) -> None:
    assert retry_after(httpx.Headers([("Retry-After", value), ("Date", NOW)], encoding="utf-8")) == seconds


def test_a_date_without_the_servers_clock_says_nothing() -> None:
    assert retry_after(httpx.Headers({"Retry-After": NOW})) is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_no_value_of_retry_after_breaks_the_client(value: str) -> None:
    wait = retry_after(httpx.Headers({"Retry-After": value, "Date": NOW}))
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://[::1", "http://host:99999", "http://a\nb", "/path"]
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        connection(url, None, 1.0)


@pytest.mark.parametrize("key", ["", "two words", "new\nline", "schlüssel"])
def test_a_key_that_no_header_carries_is_refused_without_being_told(key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        connection("http://host", key, 1.0)
    assert not key or key not in str(raised.value)


def test_a_password_in_the_address_is_sent_and_never_shown() -> None:
    made = connection("https://me:geheim@host:8443/pneumonia?x=geheim", None, 1.0)
    assert made["auth"] == ("me", "geheim")
    assert "geheim" not in str(made["base_url"].copy_with(query=None))
    assert shown_address("https://me:geheim@host:8443/pneumonia?x=geheim") == "https://host:8443/pneumonia"


@pytest.mark.parametrize(
    "url", ["ftp://me:geheim@host", "me:geheim@host", "http://me:geheim@[::1", "http://me:geheim@"]
)
def test_a_password_in_what_is_no_address_is_not_shown_either(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        connection(url, None, 1.0)
    assert "geheim" not in str(raised.value)


def test_a_request_id_that_no_header_carries_is_refused() -> None:
    with pytest.raises(ConfigError, match="request id"):
        predict_call(b"film", heatmap=False, request_id="a\r\nb")


def test_a_call_keeps_the_film_out_of_what_is_printed() -> None:
    assert "geheim" not in repr(predict_call(b"geheim", heatmap=True, request_id=None))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx.ConnectError("x"), "unreachable"),
        (httpx.ConnectTimeout("x"), "unreachable"),
        (httpx.ReadTimeout("x"), "no_answer"),
        (httpx.PoolTimeout("x"), "no_answer"),
        (httpx.ReadError("x"), "interrupted"),
        (httpx.RemoteProtocolError("x"), "interrupted"),
        (httpx.DecodingError("x"), "unexpected_answer"),
    ],
)
def test_what_is_lost_on_the_way_has_a_code_and_the_address(error: httpx.HTTPError, code: str) -> None:
    told = lost(error, "http://host:8000", "abc")
    assert (told.code, told.status, told.request_id) == (code, None, "abc")
    assert "http://host:8000" in str(told)
