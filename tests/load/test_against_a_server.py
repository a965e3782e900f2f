"""A real server under Locust's users, under hostile files, and held against its own OpenAPI document."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.abuse import abuse
from benchmarks.hostile_files import sound_films

HERE = Path(__file__).parent
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def module(name: str, *words: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", name, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})


def test_locusts_users_get_their_answers(server: str, tmp_path: Path) -> None:
    words = ["--host", server, "--users", 4, "--data", tmp_path / "none", "--output", tmp_path]
    for seconds in (3, 10, 30):  # users choose at random what they send, and send little on a busy machine
        done = module("benchmarks.load", *words, "--seconds", seconds)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "report.html").stat().st_size > 1000
        if "hostile" in (tmp_path / "locust.json").read_text():
            return
    pytest.fail("no user sent a hostile file")


def test_a_failure_of_locusts_users_is_one_of_the_command(free_port: int, tmp_path: Path) -> None:
    words = ["--host", f"http://127.0.0.1:{free_port}", "--users", 1, "--seconds", 2, "--output", tmp_path]
    assert module("benchmarks.load", *words, "--data", tmp_path / "none").returncode == 1


@pytest.mark.parametrize("words", [["--host", "http://192.0.2.1:8000"], ["--users", "100000"], ["--seconds", "0"]])
def test_load_on_another_machine_or_without_bounds_is_refused(words: list[str], tmp_path: Path) -> None:
    done = module("benchmarks.load", *words, "--output", tmp_path)
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


def test_hostile_files_are_refused_and_the_films_between_them_are_answered(bundle_dir: Path) -> None:
    run, failures, _ = abuse(bundle_dir, count=120, seed=3, clients=4, patience=30.0)
    assert failures == {}
    assert sum(sum(counts.values()) for counts in run.answers.values()) == 120
    assert run.answers["empty"] == Counter({400: 10})


def test_answers_are_those_that_the_openapi_document_describes(server: str, tmp_path: Path) -> None:
    film, cassette = tmp_path / "film", tmp_path / "answers.har"
    film.write_bytes(sound_films()["JPEG"])
    words = ["run", f"{server}/openapi.json", "--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing"]
    words += [
        "--max-examples",
        "15",
        "--seed",
        "1",
        "--no-color",
        "--report",
        "har",
        "--report-har-path",
        str(cassette),
    ]
    code = "from schemathesis.cli import schemathesis; schemathesis()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.load.schemathesis_hooks",
            "SCHEMATHESIS_FILM": str(film),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    entries = json.loads(cassette.read_text())["log"]["entries"]
    seen = Counter(entry["response"]["status"] for entry in entries if "/predict" in entry["request"]["url"])
    assert seen[200], seen
    assert seen[415] + seen[400], seen
    assert seen[422], seen
