"""What the server prints as JSON: one object a line, a line for each request, and nothing that is the client's."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pneumonia.serving.keys import new_key
from pneumonia.serving.logs import REQUEST_ID, JsonFormatter
from pneumonia.serving.options import parse

if TYPE_CHECKING:
    from tests.serving.conftest import Running

FIELDS = {"time", "level", "logger", "message", "request_id"}
ACCESS_FIELDS = {"method", "route", "status", "milliseconds", "bytes", "bytes_received"}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("logs") / "keys"
    return path, new_key(path, "ward-7")


@pytest.fixture(scope="module")
def logged(
    starter: "Callable[..., Running]", key: tuple[Path, str], film: bytes
) -> "tuple[Running, list[dict[str, Any]]]":
    """A server that was asked for several things, and its lines once it has ended."""
    server = starter("--log-format", "json", "--log-level", "debug", "--api-keys", key[0])
    headers = {"X-API-Key": key[1], "X-Request-ID": "visit-7"}
    files = {"file": ("DOE^Jane-geheim.jpeg", film, "image/jpeg")}
    httpx.post(f"{server.url}/predict?patient=geheim", files=files, headers=headers, timeout=60)
    httpx.post(f"{server.url}/predict", files={"file": b"geheim"}, headers={**headers, "X-Request-ID": "visit-8"})
    httpx.get(f"{server.url}/films/geheim", headers={**headers, "X-Request-ID": "visit 9"})
    httpx.get(f"{server.url}/health/live", headers={"X-Request-ID": "visit-10"})
    server.workers()[0].kill()
    server.eventually(lambda: "Another is started" in server.text)
    server.wait_until_ready()
    assert server.end(signal.SIGTERM) == (0, [])
    return server, [json.loads(line) for line in server.text.splitlines()]


def test_each_line_is_an_object_with_time_level_logger_message_and_request_id(
    logged: "tuple[Running, list[dict[str, Any]]]",
) -> None:
    for line in logged[1]:
        assert set(line) >= FIELDS
        time = datetime.fromisoformat(line["time"])
        assert time.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - time) < timedelta(hours=1)
        assert line["level"] in ("debug", "info", "warning", "error")
    assert any("http://" in line["message"] for line in logged[1])
    assert {line["logger"].partition(".")[0] for line in logged[1]} >= {"pneumonia", "uvicorn"}


def test_each_request_has_a_line(logged: "tuple[Running, list[dict[str, Any]]]", film: bytes) -> None:
    lines = {line["request_id"]: line for line in logged[1] if line["logger"] == "pneumonia.access"}
    assert all(set(line) == FIELDS | ACCESS_FIELDS for line in lines.values())
    said = {name: (lines[name]["method"], lines[name]["route"], lines[name]["status"]) for name in lines}
    assert said["visit-7"] == ("POST", "/predict", 200)
    assert said["visit-8"] == ("POST", "/predict", 415)
    assert said["visit-10"] == ("GET", "/health/live", 200)
    assert ("GET", "other", 404) in said.values()
    assert "visit 9" not in lines
    assert lines["visit-7"]["bytes_received"] > len(film)
    assert 100 < lines["visit-7"]["bytes"] < 2000
    assert 0 < lines["visit-7"]["milliseconds"] < 60_000


def test_what_the_server_says_of_a_request_has_the_requests_id(
    logged: "tuple[Running, list[dict[str, Any]]]",
) -> None:
    assert [line for line in logged[1] if "the key ward-7" in line["message"] and line["request_id"] == "visit-7"]
    (replaced,) = [line for line in logged[1] if "Another is started" in line["message"]]
    assert (replaced["level"], replaced["request_id"]) == ("warning", None)


def test_nothing_of_a_file_a_query_or_a_key_is_logged(
    logged: "tuple[Running, list[dict[str, Any]]]", key: tuple[Path, str]
) -> None:
    assert not [secret for secret in ("geheim", "DOE", "Jane", key[1], key[1][5:20]) if secret in logged[0].text]


@pytest.mark.parametrize(
    ("form", "level", "lines"), [("json", "warning", 2), ("text", "warning", 1), ("text", "info", 2)]
)
def test_a_notice_is_always_printed_and_a_request_at_info_or_as_json(form: str, level: str, lines: int) -> None:
    code = (
        "import sys\n"
        "from pneumonia.serving.logs import LogOptions, log_request, log_to_stdout, notice\n"
        "log_to_stdout(LogOptions(*sys.argv[1:]))\n"
        "notice('Now serving')\n"
        "log_request('GET', '/metrics', 200, 0.01, 0, 100)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, level, form], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == lines
    assert "Now serving" in done.stdout
    assert done.stderr == ""


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "f", 1, "it %s", ("failed",), sys.exc_info())
    token = REQUEST_ID.set("visit-7")
    line = JsonFormatter().format(record)
    REQUEST_ID.reset(token)
    assert "\n" not in line
    content = json.loads(line)
    assert (content["message"], content["request_id"]) == ("it failed", "visit-7")
    assert "ValueError" in content["exception"]


def test_the_format_is_a_flag_or_a_variable_and_the_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse([]).log_format == "text"
    monkeypatch.setenv("PNEUMONIA_LOG_FORMAT", "json")
    assert parse([]).log_format == "json"
    assert parse(["--log-format", "text"]).log_format == "text"
    monkeypatch.setenv("PNEUMONIA_LOG_FORMAT", "xml")
    with pytest.raises(SystemExit):
        parse([])
