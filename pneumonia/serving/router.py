"""In a process that speaks HTTP: which worker gets an upload, and what becomes of it when the worker ends.

Each upload is with one worker. It goes to the one with least to do that has shown a sign of life; while none of its
worker's is, it can move to another. When a worker ends, what waited for it goes to another. So do, once, the films of a
batch that it was at work on, since most of them have not ended it. A film that it was at work on alone, or that was
with two workers that ended, is answered by 500 at once.
"""

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from pneumonia.serving.channel import Channel, Unpacker, packed
from pneumonia.serving.described import Described
from pneumonia.serving.vitals import State, Vitals

# A worker that is silent for this long gets nothing while another is not: it beats four times as often.
SUSPECT_SECONDS = 2.0
_TICK_SECONDS = 0.5
_UID_BITS = 62


def _new_uid() -> int:
    """Unlike any other of all HTTP processes, and not 0."""
    return random.getrandbits(_UID_BITS) + 1


@dataclass(eq=False)
class Ticket:
    """An upload on its way: `answer` becomes the response, or an `HTTPException`."""

    payload: Any
    answer: "asyncio.Future[Response]"
    uid: int = field(default_factory=_new_uid)
    since: float = field(default_factory=time.monotonic)
    link: "_Link | None" = None
    tried: bool = False  # a worker that was at work on it and others has ended
    abandoned: bool = False  # nobody waits for the answer


class _Link(asyncio.Protocol):
    """The connection to a worker."""

    def __init__(self, router: "Router", number: int, slot: int) -> None:
        self.router, self.number, self.slot = router, number, slot
        self.tickets: dict[int, Ticket] = {}
        self.draining = False
        self._unpacker = Unpacker()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        for kind, uid, *details in self._unpacker.feed(data):
            self.router.heard(self, kind, uid, *details)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self.router.lost(self)

    def send(self, message: object) -> None:
        if self._transport is not None:
            self._transport.write(packed(message))

    def close_if_drained(self) -> None:
        if self.draining and not self.tickets and self._transport is not None:
            self._transport.close()


class Router:
    """The workers as an HTTP process sees them.

    Args:
        process: which of the HTTP processes this is.
        vitals: shared with all processes.
        parent: to the supervisor, which names the workers and the bundle that they run.
    """

    def __init__(self, process: int, vitals: Vitals, parent: Channel) -> None:
        self.process, self.vitals, self.parent = process, vitals, parent
        self.described: Described | None = None
        self._links: dict[int, _Link] = {}
        self._routed: list[_Link] = []
        self._waiting: dict[int, Ticket] = {}
        self._latest: _Link | None = None
        self._news: asyncio.Queue[tuple[Any, socket.socket | None]] = asyncio.Queue()
        self._reloads: dict[str, asyncio.Future[tuple[int, dict[str, Any]]]] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect to the workers that the parent names, for as long as the process serves."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.parent.fileno(), self._hear_parent)
        tasks = [asyncio.ensure_future(self._follow_parent()), asyncio.ensure_future(self._watch())]
        try:
            yield
        finally:
            loop.remove_reader(self.parent.fileno())
            for task in tasks:
                task.cancel()

    @property
    def available(self) -> bool:
        """Whether there is a worker for an upload, or soon will be."""
        return bool(self._routed) or self.vitals.state in (State.READY, State.REPLACING)

    def submit(self, payload: object) -> Ticket:
        """Send an upload to a worker, or keep it until there is one."""
        ticket = Ticket(payload, asyncio.get_running_loop().create_future())
        ticket.answer.add_done_callback(lambda _: self._forget(ticket))
        self._place(ticket)
        return ticket

    def give_up(self, ticket: Ticket) -> None:
        """Nobody waits for the answer: forget the upload, or if a worker is at work on it, once that has ended."""
        ticket.abandoned = True
        if not ticket.answer.done() and not self._begun(ticket):
            ticket.answer.cancel()

    async def reload(self) -> tuple[int, dict[str, Any]]:
        """Ask the parent to load the bundle anew: the status of its answer and what it says."""
        token = uuid.uuid4().hex
        self._reloads[token] = asyncio.get_running_loop().create_future()
        self.parent.send(("reload", token))
        try:
            return await self._reloads[token]
        finally:
            del self._reloads[token]

    def heard(self, link: _Link, kind: str, uid: int, answer: Any) -> None:
        """A worker answered an upload."""
        ticket = link.tickets.get(uid)
        if ticket is None or ticket.answer.done():
            return
        if kind == "answer":
            ticket.answer.set_result(answer)
        else:
            ticket.answer.set_exception(HTTPException(answer))

    def lost(self, link: _Link) -> None:
        """A worker has ended."""
        self._links.pop(link.number, None)
        if link in self._routed:
            self._routed.remove(link)
        batch = self.vitals.batch_of(link.slot)  # with what came by other HTTP processes
        for ticket in list(link.tickets.values()):
            if ticket.answer.done():
                continue
            if ticket.abandoned:
                ticket.answer.cancel()
                continue
            begun = ticket.uid in batch
            if begun and (ticket.tried or len(batch) == 1):
                ticket.answer.set_exception(HTTPException(500))
                continue
            ticket.tried = ticket.tried or begun
            self._place(ticket)
        if not link.draining:
            self.parent.send(("lost", link.number))

    def _place(self, ticket: Ticket) -> None:
        """Give an upload to the worker with least to do, and take it from where it was."""
        self._take_back(ticket)
        link = self._best()
        if link is None:
            self._waiting[ticket.uid] = ticket
            return
        ticket.link = self._latest = link
        link.tickets[ticket.uid] = ticket
        self.vitals.give(link.slot, self.process, 1)
        link.send(("put", ticket.uid, ticket.since, ticket.payload, ticket.tried))

    def _take_back(self, ticket: Ticket, cancel: bool = True) -> None:
        self._waiting.pop(ticket.uid, None)
        if (link := ticket.link) is not None:
            ticket.link = None
            del link.tickets[ticket.uid]
            self.vitals.give(link.slot, self.process, -1)
            if cancel:
                link.send(("cancel", ticket.uid))
            link.close_if_drained()

    def _forget(self, ticket: Ticket) -> None:
        self._take_back(ticket, cancel=ticket.answer.cancelled())

    def _best(self) -> _Link | None:
        """The one with least to do; of equals the one that had the last upload, whose caches hold the network."""
        return min(
            self._routed,
            key=lambda link: (self._suspect(link), self.vitals.load(link.slot), link is not self._latest),
            default=None,
        )

    def _begun(self, ticket: Ticket) -> bool:
        """Whether a worker is at work on it."""
        return ticket.link is not None and ticket.uid in self.vitals.batch_of(ticket.link.slot)

    def _suspect(self, link: _Link) -> bool:
        return self.vitals.silent(link.slot) > SUSPECT_SECONDS

    def _move(self, link: _Link) -> None:
        """Give what a worker has not begun with to others."""
        batch = self.vitals.batch_of(link.slot)
        for ticket in [ticket for ticket in link.tickets.values() if ticket.uid not in batch]:
            self._place(ticket)

    async def _watch(self) -> None:
        """Look after workers that are silent: what waits for them moves on, if there is a better one."""
        while True:
            self.vitals.beat(self.vitals.slot_of_http(self.process))
            await asyncio.sleep(_TICK_SECONDS)
            for link in list(self._links.values()):
                if self._suspect(link) and any(not self._suspect(other) for other in self._routed):
                    self._move(link)

    def _hear_parent(self) -> None:
        try:
            for message in self.parent.receive():
                self._news.put_nowait(message)
        except EOFError:
            asyncio.get_running_loop().remove_reader(self.parent.fileno())
            os.kill(os.getpid(), signal.SIGTERM)  # nobody is left to look after this process: it drains and ends

    async def _follow_parent(self) -> None:
        while True:
            (kind, *details), end = await self._news.get()
            if kind == "worker" and end is not None:
                await self._connect(details[0], details[1], end)
            elif kind == "route":
                self._route(*details)
            elif kind == "reloaded" and (waiting := self._reloads.get(details[0])) is not None and not waiting.done():
                waiting.set_result((details[1], details[2]))

    async def _connect(self, number: int, slot: int, end: socket.socket) -> None:
        link = _Link(self, number, slot)
        self._links[number] = link
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=end)

    def _route(self, token: int, described: Described, numbers: list[int]) -> None:
        """From here on uploads go to these workers; others finish what they have begun with."""
        self.described = described
        self._routed = [link for number, link in self._links.items() if number in numbers]
        for link in list(self._links.values()):
            if link not in self._routed:
                link.draining = True
                if self._routed:
                    self._move(link)
                link.close_if_drained()
        for ticket in list(self._waiting.values()):
            self._place(ticket)
        self.parent.send(("routed", token))
