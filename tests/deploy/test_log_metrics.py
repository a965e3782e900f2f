"""What deploy/gcp looks for in the log is what a server writes there."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.server_process import pneumonia_serve, serve
from pneumonia.bundle import REFERENCE
from pneumonia.client import Client
from pneumonia.client.retries import NO_RETRIES
from pneumonia.errors import PneumoniaError
from tests.deploy.conftest import GCP

Line = dict[str, Any]
METRICS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in GCP.glob("monitoring/metrics/*.json")}
CONDITION = re.compile(r'jsonPayload\.(\w+)=("[^"]*"|\d+|\([^)]*\))')


def conditions(metric: Line) -> dict[str, list[Any]]:
    """Of each field of a line, the values that a metric's filter admits."""
    return {
        name: [json.loads(value) for value in text.strip("()").split(" OR ")]
        for name, text in CONDITION.findall(metric["filter"])
    }


def counts(metric: Line, line: Line) -> bool:
    return all(line.get(name) in values for name, values in conditions(metric).items())


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, draw_film: Callable[..., Image.Image]) -> list[Line]:
    """Of a server that has answered a film, failed none, refused one for lack of room, and lost a worker."""

    if sys.platform == "win32":
        pytest.skip("a worker is killed by a signal")
    film = tmp_path_factory.mktemp("films") / "film.png"
    draw_film(1, "NORMAL").save(film)
    words = pneumonia_serve(REFERENCE, "--log-format", "json", "--workers", "1", "--max-bytes-in-flight", "1000000")
    with serve(words) as server:
        with Client(f"http://127.0.0.1:{server.port}", retries=NO_RETRIES) as client:
            client.predict(film)
            with pytest.raises(PneumoniaError):
                client.predict(b"x" * 2_000_000)
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while "Another is started" not in server.log.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "at_least"), [("predict_time", 1), ("refusals", 1), ("problems", 1), ("failures", 0)]
)
def test_a_metric_counts_lines_that_a_server_writes(lines: list[Line], metric: str, at_least: int) -> None:
    counted = [line for line in lines if counts(METRICS[metric], line)]
    assert len(counted) >= at_least
    extracted = [METRICS[metric].get("valueExtractor", ""), *METRICS[metric].get("labelExtractors", {}).values()]
    fields = re.findall(r"jsonPayload\.(\w+)", " ".join(extracted))
    assert all(set(fields) <= set(line) for line in counted)
    access = next(line for line in lines if line["logger"] == "pneumonia.access")
    assert set(conditions(METRICS[metric])) <= set(access)


def test_what_is_counted_as_a_failure_is_what_the_contract_calls_one() -> None:
    document = Path(GCP.parents[1], "docs", "http.md").read_text(encoding="utf-8")
    for metric, statuses in (("failures", [500, 504]), ("refusals", [503])):
        assert conditions(METRICS[metric])["status"] == statuses
        assert all(f"| {status} |" in document for status in statuses)
