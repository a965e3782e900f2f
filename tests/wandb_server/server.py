"""A server on this machine that speaks enough of W&B's API for its real client: GraphQL, file stream, storage."""

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.wandb_server.graphql import execute
from tests.wandb_server.schema import Schema
from tests.wandb_server.store import Store

API_KEY = "0123456789abcdef" * 2 + "01234567"


@dataclass
class WandbServer:
    """The address, what is known, and each operation that was asked for, with what was wrong with it."""

    url: str
    store: Store
    asked: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What points W&B's client to it."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": API_KEY, "WANDB_MODE": "online"}


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """A server with an empty store, on a free port."""
    server = _Quiet(("127.0.0.1", 0), BaseHTTPRequestHandler)
    made = WandbServer(f"http://127.0.0.1:{server.server_port}", Store())
    server.RequestHandlerClass = _handler(made)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *arguments: object) -> None:
        """The client is a process of its own, which may end whenever it likes."""


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    schema = Schema(server.store, lambda place: f"{server.url}/storage/{quote(place)}")
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body, path = self._body(), urlsplit(self.path).path
            if path.startswith("/sdk/otel/"):  # the client's telemetry of itself
                self._answer(200, {})
                return
            expected = "Basic " + base64.b64encode(f"api:{API_KEY}".encode()).decode()
            if self.headers.get("Authorization") != expected:
                server.refused.append(f"401 {path}")
                self._answer(401, {"errors": [{"message": "invalid API key"}]})
            elif path == "/graphql":
                with lock:
                    self._answer(200, self._graphql(json.loads(body)))
            elif path.endswith("/file_stream"):
                with lock:
                    self._stream(path, json.loads(body))
                self._answer(200, {"exitcode": None, "limits": {}})
            else:
                server.refused.append(f"POST {path}")
                self._answer(404, {})

        def do_PUT(self) -> None:
            server.store.blobs[self._place()] = self._body()
            self._answer(200, {})

        def do_GET(self) -> None:
            content = server.store.blobs.get(self._place())
            if content is None:
                server.refused.append(f"GET {self.path}")
                self._answer(404, {})
            else:
                self._send(200, content, "application/octet-stream")

        def _graphql(self, asked: dict[str, Any]) -> dict[str, Any]:
            try:
                answer = execute(asked["query"], asked.get("variables") or {}, schema.roots)
            except Exception as error:  # a test that asks what is refused shows it
                answer = {"errors": [{"message": f"{type(error).__name__}: {error}"}]}
            operation = str(asked.get("operationName") or asked["query"].split("(")[0].split()[1])
            server.asked.append(operation)
            if "errors" in answer:
                server.refused.append(f"{operation}: {answer['errors'][0]['message']}")
            return answer

        def _stream(self, path: str, content: dict[str, Any]) -> None:
            _, _, entity, project, name, _ = path.split("/")
            run = server.store.run(entity, project, name)
            assert run is not None, path
            for stream, part in (content.get("files") or {}).items():
                lines = run.streams.setdefault(stream, [])
                lines[part["offset"] :] = part["content"]
                if stream == "wandb-summary.json":
                    run.summary = part["content"][-1]
            if content.get("complete"):
                run.state = "finished" if content.get("exitcode") == 0 else "failed"

        def _place(self) -> str:
            return unquote(urlsplit(self.path).path.removeprefix("/storage/"))

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

        def _answer(self, status: int, content: object) -> None:
            self._send(status, json.dumps(content).encode(), "application/json")

        def _send(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
