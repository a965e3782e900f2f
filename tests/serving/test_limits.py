"""A server that is asked for more than it takes on says so at once, and takes on again what it can when it can."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from pneumonia.serving.schema import ErrorBody

if TYPE_CHECKING:
    from tests.serving.conftest import Running

CONCURRENT, QUEUE, TIMEOUT = 6, 3, 4.0
MAX_BYTES, IN_FLIGHT = 3_000_000, 4_000_000
AT_ONCE = 1.5  # on a busy machine
PART = b'--abc\r\nContent-Disposition: form-data; name="file"; filename="film"\r\n\r\n'


@pytest.fixture(scope="module")
def limited(starter: Callable[..., "Running"]) -> "Running":
    """A server with low limits, two workers and two processes that speak HTTP."""
    limits = {"--max-concurrent": CONCURRENT, "--max-queue": QUEUE, "--timeout": TIMEOUT}
    limits |= {"--max-bytes": MAX_BYTES, "--max-bytes-in-flight": IN_FLIGHT}
    return starter(*(word for pair in limits.items() for word in pair))


@pytest.fixture(autouse=True)
def recovered(limited: "Running", film: bytes) -> Iterator[None]:
    """Whatever a test did to it, the server is soon as before."""
    yield
    deadline = time.monotonic() + 20
    while post(limited, film).status_code != 200:
        assert time.monotonic() < deadline, limited.text
        time.sleep(0.1)


def post(server: "Running", data: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/predict", files={"file": ("film", data)}, timeout=60)


@contextmanager
def connected(server: "Running", sent: bytes = b"") -> Iterator[socket.socket]:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(sent)
        yield connection


def head(length: int, more: str = "") -> bytes:
    lines = ["POST /predict HTTP/1.1", "Host: x", "Content-Type: multipart/form-data; boundary=abc"]
    return "\r\n".join([*lines, f"Content-Length: {length}", *filter(None, [more]), "", ""]).encode()


def received(connection: socket.socket) -> bytes:
    """Everything until the server closes, or the answer's last byte."""
    answer = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            answer += part
            if answer.endswith(b'"}') and b"request_id" in answer:
                break
    return answer


def assert_refused(answer: bytes, status: int, code: str) -> None:
    lines, _, body = answer.partition(b"\r\n\r\n")
    assert lines.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert ErrorBody.model_validate_json(body).error.code == code
    assert (b"retry-after: 1" in lines) == (status == 503)
    assert b"x-content-type-options: nosniff" in lines


@contextmanager
def suspended(server: "Running") -> Iterator[None]:
    """Its workers do nothing for a while."""
    workers = server.workers()
    assert len(workers) >= 2
    for worker in workers:
        worker.suspend()
    try:
        yield
    finally:
        for worker in workers:
            with suppress(psutil.NoSuchProcess):  # it is replaced, after a while
                worker.resume()


def test_more_than_its_concurrent_uploads_are_refused_before_they_are_read(limited: "Running", film: bytes) -> None:
    with connected(limited) as late:
        opened = [connected(limited, head(1000) + PART) for _ in range(CONCURRENT)]
        for each in opened:
            each.__enter__()
        time.sleep(0.3)
        began = time.monotonic()
        late.sendall(head(1000, "Expect: 100-continue"))
        answer = received(late)
        assert time.monotonic() - began < AT_ONCE
        assert_refused(answer, 503, "unavailable")
        assert b"100 Continue" not in answer
        assert httpx.get(f"{limited.url}/health").status_code == 200
        for each in opened:  # the clients go away
            each.__exit__(None, None, None)
    time.sleep(0.3)
    assert post(limited, film).status_code == 200


def test_more_than_its_queue_is_refused_at_once_and_the_queue_is_answered(limited: "Running", film: bytes) -> None:
    with ThreadPoolExecutor(QUEUE) as pool:
        with suspended(limited):
            waiting = [pool.submit(post, limited, film) for _ in range(QUEUE)]
            time.sleep(1)
            began = time.monotonic()
            with connected(limited, head(1000)) as late:
                assert_refused(received(late), 503, "unavailable")
            assert time.monotonic() - began < AT_ONCE
            assert httpx.get(f"{limited.url}/metrics").status_code == 200
        assert [answer.result().status_code for answer in waiting] == [200] * QUEUE


def test_what_waits_longer_than_a_request_may_is_given_up_and_leaves_its_place(limited: "Running", film: bytes) -> None:
    with ThreadPoolExecutor(QUEUE) as pool, suspended(limited):
        began = time.monotonic()
        answers = list(pool.map(lambda _: post(limited, film), range(QUEUE)))
        assert TIMEOUT - 0.5 < time.monotonic() - began < TIMEOUT + 3
        assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [
            (504, "timeout")
        ] * QUEUE
        assert limited.metric('pneumonia_places_taken{of="queue"}') == 0
    assert "Traceback" not in limited.text
    assert "never retrieved" not in limited.text


def test_a_flood_is_answered_without_a_failure_and_nothing_grows(limited: "Running", film: bytes) -> None:
    # Sent whole, at once: a client of many threads may pause longer between head and body than an upload may take.
    body = PART + film + b"\r\n--abc--\r\n"
    sent = head(len(body), "Connection: close") + body

    def answer(_: int) -> bytes:
        with connected(limited, sent) as connection:
            return received(connection)

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(answer, range(200)))
    refused = [each for each in answers if not each.startswith(b"HTTP/1.1 200 ")]
    assert 0 < len(refused) < len(answers)
    for each in refused:
        assert_refused(each, 503, "unavailable")


def test_a_body_that_comes_too_slowly_is_given_up(limited: "Running") -> None:
    with connected(limited, head(100_000) + PART) as slow:
        ended = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                while not ended.wait(0.2):
                    slow.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        answer = received(slow)
        ended.set()
        thread.join()
    assert TIMEOUT - 0.5 < time.monotonic() - began < TIMEOUT + 2
    assert_refused(answer, 408, "slow_upload")


def test_a_body_that_says_it_is_too_large_is_not_waited_for(limited: "Running") -> None:
    with connected(limited, head(MAX_BYTES + 70_000)) as large:
        assert_refused(received(large), 413, "too_large")


def test_uploads_together_may_hold_no_more_than_the_memory_for_them(limited: "Running") -> None:
    half = head(MAX_BYTES) + PART + bytes(IN_FLIGHT // 2 - 50_000)
    with connected(limited, half), connected(limited, half):
        time.sleep(0.5)
        response = post(limited, bytes(1_000_000))
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("sent", [b"", b"POST /pre", b"GET /health HTTP/1.1\r\nHost: x\r\n"])
def test_a_header_that_does_not_come_ends_the_connection(limited: "Running", sent: bytes) -> None:
    with connected(limited, sent) as silent:
        began = time.monotonic()
        assert received(silent) == b""
        assert TIMEOUT - 0.5 < time.monotonic() - began < TIMEOUT + 2


def test_a_header_that_drips_ends_the_connection_too(limited: "Running") -> None:
    with connected(limited, b"GET /health HTTP/1.1\r\nX-Slow: ") as slow:
        assert seconds_until_hung_up(slow, b"x", pause=0.2) < TIMEOUT + 3


def seconds_until_hung_up(connection: socket.socket, sent: bytes, pause: float) -> float:
    began = time.monotonic()
    with suppress(OSError):
        while time.monotonic() - began < 2 * TIMEOUT:
            connection.sendall(sent)
            time.sleep(pause)
    return time.monotonic() - began


def test_an_endless_header_ends_the_connection(limited: "Running") -> None:
    with connected(limited, b"GET /health HTTP/1.1\r\nX-Long: ") as endless:
        assert seconds_until_hung_up(endless, b"x" * 4096, pause=0.01) < TIMEOUT - 1


def test_a_client_that_does_not_read_is_hung_up_on(limited: "Running") -> None:
    with connected(limited) as deaf:
        port = deaf.getsockname()[1]

        def is_held() -> bool:
            held = (each for process in limited.family() for each in process.net_connections("tcp"))
            return any(each.raddr and each.raddr.port == port for each in held)

        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(1)
        with suppress(OSError):
            deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 3000)
        assert is_held()
        deadline = time.monotonic() + TIMEOUT + 5
        while is_held():
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_a_connection_in_use_is_not_ended_by_the_clocks(limited: "Running", film: bytes) -> None:
    with httpx.Client(timeout=60) as client:
        until = time.monotonic() + TIMEOUT + 2
        while time.monotonic() < until:
            assert client.post(f"{limited.url}/predict", files={"file": film}).status_code == 200
            time.sleep(0.5)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_an_upload_is_never_in_a_file(limited: "Running") -> None:
    def files() -> set[str]:
        found = set()
        for process in limited.family():
            for entry in Path(f"/proc/{process.pid}/fd").iterdir():
                with suppress(OSError):
                    found.add(str(entry.readlink()))
        return {name for name in found if name.startswith("/") and not name.startswith(("/dev/", "/memfd"))}

    before = files()
    with connected(limited, head(2_500_000) + PART + bytes(2_400_000)):
        time.sleep(0.5)
        assert files() <= before
