"""How much the server takes on: what is beyond is refused at once, before it is read, and no queue grows."""

import asyncio
import ctypes
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray
from typing import Any

from fastapi import HTTPException, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pneumonia.serving.api import Upload
from pneumonia.serving.errors import CLIENT_GONE, error_response
from pneumonia.serving.router import Router

RETRY_AFTER = {"Retry-After": "1"}
# A multipart body is its file and a few header lines.
MULTIPART_OVERHEAD = 64 * 2**10
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class Places:
    """A limit that the processes which speak HTTP share. It has to be made before they are forked.

    Each of them counts for itself and looks at the sum: there is no lock that a process could take to its grave. Two
    that look at the same instant may both take the last place, so that the limit can be passed by one a process.
    """

    def __init__(self, limit: int, processes: int) -> None:
        self.limit = limit
        self._taken = RawArray(ctypes.c_int64, processes)

    @property
    def taken(self) -> int:
        """By all processes together."""
        return sum(self._taken[:])

    @property
    def full(self) -> bool:
        """Whether nothing more can be taken."""
        return self.taken >= self.limit

    def take(self, process: int, amount: int = 1) -> bool:
        """Take this many places, or none and answer false."""
        if self.taken + amount > self.limit:
            return False
        self.add(process, amount)
        return True

    def add(self, process: int, amount: int) -> None:
        """Count what is there already, whatever the limit says."""
        self._taken[process] += amount

    def free(self, process: int, amount: int = 1) -> None:
        """Give places back."""
        self._taken[process] -= amount

    def forget(self, process: int) -> None:
        """Give back what a process held that has ended."""
        self._taken[process] = 0


@dataclass(frozen=True)
class Load:
    """What is limited: requests with a body, uploads that wait for a worker or are with one, and bytes of uploads."""

    requests: Places
    queue: Places
    held_bytes: Places


class Admission:
    """Take a request with a body on, or refuse it; read the body within its size, its time and the server's memory.

    Refused are 413 a body that is too large, as soon as that is known; 408 one that takes longer than `seconds`;
    503 with Retry-After whatever the server has no place for. A client that goes away leaves its place.
    """

    def __init__(self, app: ASGIApp, load: Load, max_body: int, seconds: float) -> None:
        self.app, self.load, self.max_body, self.seconds = app, load, max_body, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an HTTP request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self.app(scope, receive, send)
            return
        state, process = scope.setdefault("state", {}), _process_of(scope)
        if _declared_length(scope) > self.max_body:
            await error_response(413, state.get("request_id", ""))(scope, receive, send)
            return
        if self.load.queue.full or self.load.held_bytes.full or not self.load.requests.take(process):
            await error_response(503, state.get("request_id", ""), headers=RETRY_AFTER)(scope, receive, send)
            return
        state["deadline"] = asyncio.get_running_loop().time() + self.seconds
        body = _Body(self, receive, process, state["deadline"])
        try:
            await self.app(scope, body.receive, send)
        finally:
            self.load.requests.free(process)
            self.load.held_bytes.free(process, body.size)


class _Body:
    """A body as it arrives. Its errors are FastAPI's, which hands them on from where the body is parsed."""

    def __init__(self, admission: Admission, receive: Receive, process: int, deadline: float) -> None:
        self.admission, self._receive, self.process, self.deadline = admission, receive, process, deadline
        self.size, self.complete = 0, False

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408) from None
        self.complete = not message.get("more_body", False)
        self._count(len(message.get("body", b"")))
        return message

    def _count(self, size: int) -> None:
        if self.size + size > self.admission.max_body:
            raise HTTPException(413)
        if not self.admission.load.held_bytes.take(self.process, size):
            raise HTTPException(503, headers=RETRY_AFTER)
        self.size += size


async def predict_within(load: Load, request: Request, upload: Upload, router: Router) -> Response:
    """Predict, if the queue has a place, until the request's deadline or until its client goes away.

    What waits gives its place up at once then. A worker that is at work can't be interrupted: the place, and the bytes
    that it holds, stay taken until it has answered or ended, also when nobody waits for the answer any more.
    """
    process, size = _process_of(request.scope), len(upload.data)
    if not router.available or not load.queue.take(process):
        raise HTTPException(503, headers=RETRY_AFTER)
    load.held_bytes.add(process, size)

    def leave(answer: "asyncio.Future[Response]") -> None:
        load.queue.free(process)
        load.held_bytes.free(process, size)
        if not answer.cancelled():
            answer.exception()  # of one that nobody waits for, asyncio would log a trace

    ticket = router.submit(upload)
    ticket.answer.add_done_callback(leave)
    gone = asyncio.ensure_future(_departure(request))
    left = request.state.deadline - asyncio.get_running_loop().time()
    try:
        waited: set[asyncio.Future[Any]] = {ticket.answer, gone}
        await asyncio.wait(waited, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        if ticket.answer.done():
            return ticket.answer.result()
        raise HTTPException(CLIENT_GONE if gone.done() else 504)
    finally:
        gone.cancel()
        router.give_up(ticket)


async def _departure(request: Request) -> None:
    """Return when the client hangs up; its body has been read by now."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _process_of(scope: Scope) -> int:
    """Which of LitServe's HTTP processes this is; 0 where there are none."""
    return getattr(scope.get("app"), "response_queue_id", None) or 0


def _declared_length(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0
