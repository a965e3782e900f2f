"""Clocks on a connection for what happens outside of a request: uvicorn waits for ever for a header or a reader."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEAD_BYTES = 64 * 2**10


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, closed on a client that takes too long to send a header, or to read its answer.

    `seconds` are given for each: for a request's header, from its first byte or the connection on; for the rest of a
    body that was refused; and for every time that the client's side does not take what is written. A header may have
    64 KiB. While a request is at work the clock is `admission`'s.
    """

    def __init__(self, *arguments: Any, seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._seconds = seconds
        self._idle: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._in_body = False
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first header."""
        super().connection_made(transport)
        self._idle = self.loop.call_later(self._seconds, self._close_if_idle)

    def data_received(self, data: bytes) -> None:
        """Stop the clock when a request is at work, else start it if it does not run."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._at_work():
            self._head_bytes = 0
            self._stop_idle()
            return
        self._head_bytes = 0 if self._in_body else self._head_bytes + len(data)
        if self._head_bytes > _MAX_HEAD_BYTES:
            self.transport.close()
        elif self._idle is None:
            self._idle = self.loop.call_later(self._seconds, self._close_if_idle)

    def on_headers_complete(self) -> None:
        """Bytes are a body's from here on."""
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Bytes are the next header's from here on."""
        self._in_body = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Start the clock of a client that does not read."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop it."""
        self._stop_unread()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop_idle()
        self._stop_unread()
        super().connection_lost(exc)

    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _close_if_idle(self) -> None:
        self._idle = None
        if not self._at_work() and not self.transport.is_closing():
            self.transport.close()

    def _stop_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
