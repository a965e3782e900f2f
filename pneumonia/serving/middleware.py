"""What every HTTP answer passes through: a request id, headers that protect it, and its place in the metrics."""

import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pneumonia.serving.logs import REQUEST_ID, log_request

REQUEST_ID_HEADER = b"x-request-id"
# Answers are data: no browser is to guess at them, keep them, show them within a page or run anything in them.
SECURITY_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
}
_ACCEPTED_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """Give each request an id, the client's own when it is fit to be logged; count and log it when it is answered."""

    def __init__(self, app: ASGIApp, routes: frozenset[str]) -> None:
        self.app, self.routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an HTTP request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        REQUEST_ID.set(request_id)
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        status, received, sent = 500, 0, 0

        async def take() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def answer(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", []))
                said = {name.lower() for name, _ in headers}  # the page for people has a policy of its own
                added = [(name, value) for name, value in SECURITY_HEADERS.items() if name not in said]
                message["headers"] = [*headers, (REQUEST_ID_HEADER, request_id.encode()), *added]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, take, answer)
        finally:
            # Paths are the client's: they would be endless labels, and may name a patient.
            route = scope["path"] if scope["path"] in self.routes else "other"
            seconds = time.perf_counter() - began
            _count(route, status, seconds)
            log_request(scope["method"], route, status, seconds, received, sent)


def _count(route: str, status: int, seconds: float) -> None:
    from pneumonia.serving.metrics import LATENCY, REQUESTS

    REQUESTS.labels(route, str(status)).inc()
    LATENCY.labels(route).observe(seconds)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and _ACCEPTED_ID.fullmatch(value):
            return str(value.decode())
    return uuid.uuid4().hex
