"""Processes that are killed or hang are replaced, nobody is kept waiting for them, and nothing they held is lost."""

import io
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from benchmarks.server_process import processor_time
from pneumonia.serving.schema import ErrorBody
from tests.serving.test_limits import PART, connected, head

if TYPE_CHECKING:
    from tests.serving.conftest import Running

    Start = Callable[..., Running]

TIMEOUT = 6.0
PLACES = [f'pneumonia_places_taken{{of="{name}"}}' for name in ("requests", "queue", "bytes")]
RESTARTS = 'pneumonia_worker_restarts_total{{why="{}"}}'.format


@pytest.fixture(scope="module")
def faulty(starter: "Start") -> "Running":
    """A server with two workers that has been through a lot."""
    return starter("--timeout", TIMEOUT)


@pytest.fixture(autouse=True)
def recovered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did to the server, it is soon as before."""
    yield
    if "faulty" in request.fixturenames:
        server: Running = request.getfixturevalue("faulty")
        server.eventually(lambda: httpx.get(f"{server.url}/health").status_code == 200)
        server.eventually(lambda: server.metric("pneumonia_workers_ready") == 2)
        server.eventually(lambda: not any(server.metric(name) for name in PLACES))
        assert "Traceback" not in server.text


@pytest.fixture(scope="module")
def large() -> bytes:
    """A film that takes a worker a second or more: time to do something to the worker."""
    noise = np.random.default_rng(1).integers(0, 256, (7000, 7000), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def post(server: "Running", data: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/predict", files={"file": ("film", data)}, timeout=60)


def held_at_work(
    server: "Running", pool: ThreadPoolExecutor, film: bytes
) -> "tuple[psutil.Process, Future[httpx.Response]]":
    """A worker that was stopped in the midst of a film, and the answer to the film.

    On a busy machine a film may be answered before its worker is stopped: another one is sent then.
    """
    for _ in range(10):
        before = {worker.pid: processor_time(worker) for worker in server.workers()}
        answer = pool.submit(post, server, film)
        while not is_at_work(server) and not answer.done():
            time.sleep(0.02)
        at_work = max(server.workers(), key=lambda worker: processor_time(worker) - before.get(worker.pid, 0))
        at_work.suspend()
        if is_at_work(server):
            return at_work, answer
        at_work.resume()
        assert answer.result().status_code == 200
    pytest.fail("No film was caught with a worker.")


def is_at_work(server: "Running") -> bool:
    """Whether an upload is with a worker."""
    return server.metric(PLACES[1]) - server.metric("pneumonia_queue_length") == 1


def assert_error(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, ErrorBody.model_validate(answer.json()).error.code) == (status, code)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_what_a_killed_worker_was_at_work_on_is_answered_at_once(faulty: "Running", film: bytes, large: bytes) -> None:
    killed = faulty.metric(RESTARTS("killed"))
    with ThreadPoolExecutor() as pool:
        worker, answer = held_at_work(faulty, pool, large)
        assert post(faulty, film).status_code == 200  # of the other worker
        worker.kill()
        assert_error(answer.result(), 500, "internal_error")  # and not 504, when its time is over
    assert post(faulty, film).status_code == 200
    faulty.eventually(lambda: len(faulty.workers()) == 2)
    assert worker.pid not in [each.pid for each in faulty.workers()]
    assert faulty.metric(RESTARTS("killed")) == killed + 1


def test_a_worker_that_hangs_is_replaced_and_its_film_is_answered_in_time(
    faulty: "Running", film: bytes, large: bytes
) -> None:
    hung = faulty.metric(RESTARTS("hung"))
    with ThreadPoolExecutor() as pool:
        worker, answer = held_at_work(faulty, pool, large)
        assert {post(faulty, film).status_code for _ in range(10)} == {200}
        assert_error(answer.result(), 504, "timeout")
    faulty.eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    faulty.eventually(lambda: faulty.metric(RESTARTS("hung")) == hung + 1)


def test_what_waits_for_a_worker_that_stops_goes_to_another(faulty: "Running", film: bytes) -> None:
    faulty.workers()[0].suspend()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(faulty, film), range(40)))
    assert {answer.status_code for answer in answers} == {200}


def test_workers_that_are_killed_at_random_under_load_take_only_what_they_are_at_work_on(
    faulty: "Running", film: bytes
) -> None:
    answers, ended = Counter[int](), threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not ended.is_set():
                answers[client.post(f"{faulty.url}/predict", files={"file": film}).status_code] += 1

    counted, chance = [0.0], random.Random(11)
    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(ask) for _ in range(8)]
        try:
            for _ in range(6):
                faulty.eventually(lambda: faulty.metric("pneumonia_workers_ready") == 2)
                time.sleep(chance.uniform(0, 0.3))
                chance.choice(faulty.workers()).kill()
                counted.append(faulty.metric('pneumonia_requests_total{route="/predict",status="200"}'))
        finally:
            ended.set()
    assert [client.result() for client in clients] == [None] * 8
    assert set(answers) <= {200, 500}
    assert answers[500] <= 6 * 8
    assert answers[200] > answers[500]
    assert counted == sorted(counted)  # a counter never goes down


def test_an_http_process_that_is_killed_is_replaced_and_leaves_no_place_taken(faulty: "Running", film: bytes) -> None:
    before = faulty.metric("pneumonia_http_restarts_total")
    with connected(faulty, head(1_000_000) + PART), connected(faulty, head(1_000_000) + PART):
        faulty.eventually(lambda: faulty.metric(PLACES[0]) == 2)
        old = faulty.http_processes()
        for process in old:
            process.kill()
            psutil.wait_procs([process], timeout=10)
    with suppress(httpx.TransportError):  # one that had been accepted may be lost with its process
        post(faulty, film)
    faulty.eventually(lambda: len(faulty.http_processes()) == 2)
    assert not {process.pid for process in old} & {process.pid for process in faulty.http_processes()}
    assert {post(faulty, film).status_code for _ in range(10)} == {200}
    assert faulty.metric("pneumonia_http_restarts_total") == before + 2


def test_an_http_process_that_stands_still_is_replaced_too(faulty: "Running", film: bytes) -> None:
    before = faulty.metric("pneumonia_http_restarts_total")
    stopped = faulty.http_processes()[0]
    stopped.suspend()
    faulty.eventually(lambda: faulty.metric("pneumonia_http_restarts_total") == before + 1)
    faulty.eventually(lambda: len(faulty.http_processes()) == 2)
    assert not psutil.pid_exists(stopped.pid)
    assert {post(faulty, film).status_code for _ in range(10)} == {200}


def test_a_client_that_goes_away_while_it_waits_leaves_its_place(faulty: "Running", film: bytes) -> None:
    workers = faulty.workers()
    for worker in workers:
        worker.suspend()
    body = PART + film + b"\r\n--abc--\r\n"
    with connected(faulty, head(len(body)) + body), connected(faulty, head(len(body)) + body):
        faulty.eventually(lambda: faulty.metric(PLACES[1]) == 2)
    faulty.eventually(lambda: not any(faulty.metric(name) for name in PLACES))
    for worker in workers:
        worker.resume()
    assert faulty.metric('pneumonia_requests_total{route="/predict",status="499"}') >= 2


def test_replacements_that_do_not_start_are_spaced_out_and_told_of(
    starter: "Start", film: bytes, tmp_path: Path
) -> None:
    server = starter(env={**os.environ, "TMPDIR": str(tmp_path)})
    (graph,) = tmp_path.glob("pneumonia-*/bundle-*/model.onnx")  # the copy that workers load
    whole = graph.read_bytes()
    graph.write_bytes(whole + b"x")
    server.workers()[0].kill()
    server.eventually(lambda: httpx.get(f"{server.url}/health").status_code == 503)
    assert post(server, film).status_code == 200  # of the other worker
    assert httpx.get(f"{server.url}/health/live").status_code == 200
    time.sleep(3)
    assert 2 <= server.metric(RESTARTS("not_started")) <= 5
    assert "did not start" in server.text
    assert "SHA-256" in server.text
    graph.write_bytes(whole)
    server.wait_until_ready()
    assert server.end() == (0, [])


def test_sigterm_waits_for_the_film_that_a_worker_is_at_work_on(starter: "Start", large: bytes) -> None:
    server = starter()
    with ThreadPoolExecutor() as pool:
        worker, answer = held_at_work(server, pool, large)
        os.killpg(server.process.pid, signal.SIGTERM)  # as a supervisor of services does
        time.sleep(0.5)
        assert server.process.poll() is None
        worker.resume()
        assert answer.result().status_code == 200
    assert server.process.wait(timeout=60) == 0
    assert "ERROR" not in server.text


def test_when_the_parent_is_killed_no_process_is_left(starter: "Start") -> None:
    server = starter()
    family = server.family()
    server.process.kill()
    assert psutil.wait_procs(family, timeout=30)[1] == []
