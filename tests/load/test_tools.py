"""The tools that measure and abuse a server notice what they are to notice."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.abuse import Abuse, check_body, table
from benchmarks.endurance import growth
from benchmarks.hostile_files import HostileFile, hostile_files, sound_films
from benchmarks.load_generator import multipart, run_load
from benchmarks.server_process import ProcessUse, serve
from benchmarks.serving_films import full_size_films, small_films
from benchmarks.serving_table import load_table
from pneumonia.images import read_radiograph
from tests.stand_in import Reply

REQUEST = multipart(b"film")
ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_clients_ask_as_often_as_they_are_told_and_each_gets_its_answer(stand_in) -> None:
    server = stand_in(Reply())
    load = run_load(port_of(server.url), [multipart(b"one"), multipart(b"two")], 3, count=20)
    assert (load.statuses, load.failed, len(load.latencies)) == ({200: 20}, 0, 20)
    assert sum(b"one" in asked.body for asked in server.asked) == 10
    assert server.most_at_once <= 3


def test_clients_stop_in_time(stand_in) -> None:
    load = run_load(port_of(stand_in(Reply()).url), [REQUEST], 2, seconds=0.3)
    assert load.seconds == 0.3
    assert 0 < load.in_time <= len(load.latencies)
    assert load.rate == load.in_time / 0.3


def test_a_refusal_and_a_broken_connection_are_failures(stand_in) -> None:
    server = stand_in(Reply(status=503), Reply(broken=True), Reply())
    load = run_load(port_of(server.url), [REQUEST], 1, count=5)
    assert load.failures == {"status 503": 1, "connection broken": 1}
    assert load.statuses == {503: 1, 200: 3}


def test_an_answer_that_does_not_come_is_given_up(stand_in) -> None:
    server = stand_in(Reply(after=3.0), Reply())
    load = run_load(port_of(server.url), [REQUEST], 1, count=2, patience=0.5)
    assert load.failures == {"no answer in time": 1}
    assert load.statuses == {200: 1}


def test_where_nothing_listens_every_request_is_a_failure(free_port: int) -> None:
    assert run_load(free_port, [REQUEST], 2, count=4).failures == {"no connection": 4}


def test_a_server_that_does_not_start_is_told_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="nothing here"), serve(lambda port: ["sh", "-c", "echo nothing here"]):
        pass


def test_a_server_leaves_no_process_behind() -> None:
    with serve(lambda port: [sys.executable, "-c", ANSWERS, str(port)]) as server:
        (use,) = server.use()
        assert (use.role, server.workers()) == ("leader", [use.pid])
        assert 0 < use.pss <= use.rss
    assert not psutil.pid_exists(use.pid)


def test_hostile_files_are_those_of_their_seed() -> None:
    once, again, other = (list(hostile_files(60, seed)) for seed in (1, 1, 2))
    assert once == again != other
    assert len({file.kind for file in once}) == 12


@pytest.mark.parametrize("kind", sound_films())
def test_sound_films_are_read(kind: str) -> None:
    assert read_radiograph(sound_films()[kind]).width > 0


def test_without_a_tree_phantoms_of_the_same_sizes_are_sent(tmp_path: Path) -> None:
    (full, *_), (small, *_) = full_size_films(tmp_path), small_films(tmp_path)
    assert (read_radiograph(full).width, read_radiograph(full).height) == (1776, 1416)
    assert (read_radiograph(small).width, read_radiograph(small).height) == (224, 224)


def abused() -> Abuse:
    known = {"prediction": "NORMAL", "probability": 0.25}
    return Abuse([HostileFile("cut", b"x", frozenset({400}))], [b"film"], [known])


ERROR = json.dumps({"error": {"code": "damaged_image", "message": "no"}, "request_id": "1"}).encode()
RIGHT = json.dumps({"prediction": "NORMAL", "probability": 0.25, "request_id": "1"}).encode()


@pytest.mark.parametrize(
    ("index", "status", "body", "wrong"),
    [
        (0, 400, ERROR, ""),
        (0, 415, ERROR, "cut: status 415"),
        (0, 500, ERROR, "cut: status 500"),
        (0, 400, b"Traceback", "cut: no JSON"),
        (0, 400, ERROR.replace(b"damaged_image", b"oops"), "cut: an error without code or message"),
        (1, 200, RIGHT, ""),
        (1, 400, ERROR, "a film: status 400"),
        (1, 200, RIGHT.replace(b"0.25", b"0.26"), "a film: another answer than alone"),
        (1, 200, RIGHT.replace(b"NORMAL", b"PNEUMONIA"), "a film: another answer than alone"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_a_violation(index: int, status: int, body: bytes, wrong: str) -> None:
    assert abused().check(index, status, body) == wrong


@given(st.integers(100, 599), st.dictionaries(st.text(), st.text() | st.none() | st.dictionaries(st.text(), st.text())))
def test_a_body_without_the_contracts_fields_is_never_right(status: int, content: dict) -> None:
    content = {key: value for key, value in content.items() if key != "request_id"}
    assert check_body(status, json.dumps(content).encode()) == "no request id"


def test_kinds_are_shown_by_status() -> None:
    run = abused()
    run.check(0, 400, ERROR)
    assert table(run.answers).splitlines()[-1] == "| cut | 400 |".replace("400", "1")


def samples(sizes: list[float]) -> Iterator[list[ProcessUse]]:
    for size in sizes:
        yield [ProcessUse(1, "worker", 0.0, size, size), ProcessUse(2, "http", 0.0, 50.0, 50.0)]


def test_growth_in_the_second_half_is_seen_and_that_of_the_start_is_not() -> None:
    (worker, http) = growth(list(samples([10.0, 90.0, 100.0, 100.0, *np.linspace(100, 180, 8)])))
    assert worker.end - worker.half > 50
    assert http.end == http.half
    (settled, _) = growth(list(samples([10.0, 50.0, *[100.0] * 10])))
    assert settled.end == settled.half


def test_a_goal_that_is_missed_is_marked() -> None:
    one = {"rate": 10.0, "median_ms": 100.0, "p99_ms": 200.0, "cpu_ms": 9.0}
    many = {"plain": one, "ours": one, "rate_of_plain": 9.0, "latency_of_plain": 1.0}
    many |= {"ceiling": {"rate": 12.0, "cpu_ms": 5.0}, "rate_of_ceiling": 0.83}
    load = {
        "bundle": "b:1",
        "cores": 2,
        "others": 0.0,
        "rounds": 1,
        "seconds": 1.0,
        "requests": 10,
        "errors": 0,
        "scenarios": {
            "full-size films, 20 clients": {**many, "ceiling": {"rate": 12.0, "cpu_ms": 5.0}, "rate_of_ceiling": 0.83}
        },
        "memory": {name: [{"role": "worker", "rss": 100.0, "pss": 90.0}] for name in ("plain", "ours")},
        "ready_seconds": {"plain": 1.0, "ours": 2.0},
        "clients_ms_per_request": 0.1,
    }
    text = load_table(load)
    assert "| full-size films, 20 clients: ours / plain | 9 | at least 10 | **no** |" in text
    assert "| full-size films, 20 clients: ours / ceiling | 0.83 | at least 0.6 | yes |" in text
