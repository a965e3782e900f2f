"""Clients that ask a server over HTTP as cheaply as they can: they share the machine with what they measure.

One process and one event loop; bodies are made before, connections are kept alive, and of an answer only the status,
the length and the bytes are read. A request costs about a tenth of a millisecond; `Load.cpu` says how much it was.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count as counting
from itertools import cycle
from typing import cast

import numpy as np

_BOUNDARY = "a-boundary-that-no-film-holds"
_RECONNECT = 0.05
_REMEMBERED = 20

# What an answer to the request of that index should have been, or nothing where it is right: (index, status, body).
Check = Callable[[int, int, bytes], str]


def multipart(data: bytes, name: str = "film.jpeg", kind: str = "image/jpeg", path: str = "/predict") -> bytes:
    """A whole `POST` of one file as form field `file`."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {kind}'
    body = head.encode() + b"\r\n\r\n" + data + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def expect_success(index: int, status: int, body: bytes) -> str:
    """Any answer but 200 is a failure."""
    del index, body
    return "" if status == 200 else f"status {status}"


@dataclass
class Load:
    """What came of it.

    `seconds` is the time that was measured, `in_time` how many answers came within it; `latencies` are of all answers,
    in seconds; `statuses` counts answers by status; `failures` counts by what was wrong, with one example of each in
    `examples`; `cpu` is the CPU time in seconds that the clients themselves took.
    """

    seconds: float = 0.0
    in_time: int = 0
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.in_time / self.seconds

    @property
    def failed(self) -> int:
        """How many requests had another answer than they should, or none."""
        return sum(self.failures.values())

    def latency(self, quantile: float) -> float:
        """In seconds; of 0.5 the median. Not a number where nothing was answered."""
        return float(np.quantile(self.latencies, quantile)) if self.latencies else float("nan")


def run_load(
    port: int,
    requests: Sequence[bytes],
    clients: int,
    *,
    seconds: float = float("inf"),
    count: int | None = None,
    check: Check = expect_success,
    patience: float = 60.0,
) -> Load:
    """Let clients ask in turn, each one request at a time, for so many seconds or until so many were asked.

    Requests are gone through from the first on, again and again. One without an answer within `patience` seconds, or
    whose connection breaks, is a failure; the client then connects anew. The event loop is uvloop's, which takes a
    third of the time of Python's.
    """
    import uvloop

    run = _Run(port, requests, seconds, count, check)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run.play(clients, patience))
    return run.load


class _Run:
    """What the clients of one load share."""

    def __init__(self, port: int, requests: Sequence[bytes], seconds: float, count: int | None, check: Check) -> None:
        self.port, self.seconds, self.check = port, seconds, check
        self.load, self._deadline = Load(), 0.0
        self._indices: Iterator[int] = counting() if count is None else iter(range(count))
        self._requests = cycle(requests)

    async def play(self, clients: int, patience: float) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        self._deadline = began + self.seconds
        await asyncio.gather(*(self.client(patience) for _ in range(clients)))
        self.load.seconds = min(self.seconds, time.perf_counter() - began)
        self.load.cpu = time.process_time() - cpu

    def next(self) -> tuple[int, bytes] | None:
        """The next request and its index; none at the end."""
        if time.perf_counter() >= self._deadline:
            return None
        index = next(self._indices, None)
        return None if index is None else (index, next(self._requests))

    def answered(self, index: int, status: int, body: bytes, asked: float) -> None:
        now = time.perf_counter()
        self.load.latencies.append(now - asked)
        self.load.statuses[status] += 1
        self.load.in_time += now <= self._deadline
        if wrong := self.check(index, status, body):
            self.fail(index, wrong, body[:200].decode(errors="replace"))

    def fail(self, index: int, wrong: str, body: str = "") -> None:
        self.load.failures[wrong] += 1
        if len(self.load.examples) < _REMEMBERED:
            self.load.examples.setdefault(wrong, f"request {index}: {body}")

    async def client(self, patience: float) -> None:
        loop = asyncio.get_running_loop()
        while (first := self.next()) is not None:
            connection = _Connection(self, first, loop.create_future())
            try:
                await loop.create_connection(partial(_itself, connection), "127.0.0.1", self.port)
            except OSError:
                self.fail(first[0], "no connection")
                await asyncio.sleep(_RECONNECT)
                continue
            clock = loop.create_task(connection.watch(patience))
            await connection.ended
            clock.cancel()


class _Connection(asyncio.Protocol):
    """One connection of a client; it sends the next request as soon as it has the answer to the last."""

    def __init__(self, run: _Run, first: tuple[int, bytes], ended: "asyncio.Future[None]") -> None:
        self.run, self.ended = run, ended
        self._pending: tuple[int, bytes] | None = first
        self._late = False
        self._received, self._needed, self._asked = bytearray(), 0, time.perf_counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, which is none of asyncio's
        self._send()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self._needed:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._body = end + 4
            self._needed = self._body + _content_length(received[:end].lower())
        if len(received) < self._needed or self._pending is None:
            return
        status, body, (index, _) = int(received[9:12]), bytes(received[self._body : self._needed]), self._pending
        closes = received.startswith(b"HTTP/1.0") or b"\r\nconnection: close" in received[: self._body].lower()
        received.clear()
        self._needed, self._pending = 0, None
        self.run.answered(index, status, body, self._asked)
        if closes:
            self._transport.close()
            return
        self._pending = self.run.next()
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._pending is not None:
            self.run.fail(self._pending[0], "no answer in time" if self._late else "connection broken")
        if not self.ended.done():
            self.ended.set_result(None)

    async def watch(self, patience: float) -> None:
        """Give an answer up that takes too long."""
        while True:
            await asyncio.sleep(1.0)
            if self._pending is not None and time.perf_counter() - self._asked > patience:
                self._late = True
                self._transport.abort()

    def _send(self) -> None:
        if self._pending is None:
            self._transport.close()
            return
        self._asked = time.perf_counter()
        self._transport.write(self._pending[1])


def _itself(connection: _Connection) -> _Connection:
    return connection


def _content_length(head: bytes | bytearray) -> int:
    """Of a head in lower case. A server that answers without one is none of those measured here."""
    name = b"\r\ncontent-length:"
    place = head.find(name)
    return int(head[place + len(name) :].split(b"\r\n", 1)[0]) if place >= 0 else 0
