"""A server that answers by a script, for what the real one rarely does: refuse, reset, hang, talk nonsense."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

ANSWER: dict[str, Any] = {
    "prediction": "NORMAL",
    "class_index": 0,
    "probability": 0.1,
    "threshold": 0.5,
    "probabilities": {"NORMAL": 0.9, "PNEUMONIA": 0.1},
    "prediction_set": ["NORMAL"],
    "coverage": 0.95,
    "abstained": False,
    "input_check": {"passed": True, "reasons": [], "score": -1.0},
    "model": "cnn:1",
    "request_id": "abc123",
}


@dataclass(frozen=True)
class Reply:
    """One answer of the stand-in; `broken` resets the connection instead, `after` seconds."""

    status: int = 200
    content: object = field(default_factory=lambda: ANSWER)
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    broken: bool = False

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


@dataclass
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: HTTPMessage
    body: bytes


@dataclass
class StandIn:
    """A server that gives its replies in turn, and the last one from then on."""

    replies: list[Reply]
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def take(self, asked: Asked) -> Reply:
        with self.lock:
            self.asked.append(asked)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            return self.replies[min(len(self.asked), len(self.replies)) - 1]

    def done(self) -> None:
        with self.lock:
            self.at_once -= 1


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            reply = stand_in.take(Asked(self.command, self.path, self.headers, body))
            time.sleep(reply.after)
            stand_in.done()
            if reply.broken:
                self._reset()
                return
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_POST = do_GET

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # The file objects keep the socket open; only then would it be reset.
            self.rfile.close()
            self.wfile.close()
            self.connection.close()

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):  # it was reset, or the client has given up
                self.close_connection = True

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


@contextmanager
def _run(stand_in: StandIn) -> Iterator[StandIn]:
    class Server(ThreadingHTTPServer):
        request_queue_size = 64

        def handle_error(self, *arguments: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), _handler(stand_in))
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def content() -> dict[str, Any]:
    """The server's JSON of a prediction."""
    return ANSWER


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def stand_in() -> Iterator[Callable[..., StandIn]]:
    """Start a server that gives these replies in turn."""
    with ExitStack() as stack:
        yield lambda *replies: stack.enter_context(_run(StandIn(list(replies))))


@pytest.fixture
def refusal() -> Callable[..., dict[str, Any]]:
    """The contract's body of an error."""

    def body(code: str, message: str = "It failed.") -> dict[str, Any]:
        return {"error": {"code": code, "message": message}, "request_id": "abc123"}

    return body
