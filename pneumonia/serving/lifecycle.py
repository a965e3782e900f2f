"""How the server's processes end: once, in order and without a trace, whichever of them a signal reaches."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator
from multiprocessing import resource_tracker

# What the processes that speak HTTP are called.
HTTP_PROCESS = "LitServer-"
_STOPS = (signal.SIGINT, signal.SIGTERM)
_HANDLED = (*_STOPS, signal.SIGHUP)


class StopSignals:
    """SIGINT and SIGTERM, from now on, ask this process to stop, and SIGHUP asks it to load its bundle anew.

    They are remembered, and `wakened` becomes readable: an exception in the midst of an import or a fork would leave
    half of it behind. A terminal's Ctrl+C and some supervisors signal every process. Those forked from this one inherit
    the handler: they end, if uvicorn does not serve yet, and never reload.
    """

    def __init__(self) -> None:
        self.pending = self.reload_asked = False
        self._parent = os.getpid()
        self.wakened, self._waker = socket.socketpair()
        for end in (self.wakened, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in _HANDLED:
            signal.signal(number, self._handle)

    def rested(self) -> None:
        """Make `wakened` wait for the next signal."""
        with contextlib.suppress(BlockingIOError):
            self.wakened.recv(4096)

    @staticmethod
    @contextlib.contextmanager
    def held() -> Iterator[None]:
        """Let signals wait while a process is started, which inherits that it is so.

        In one that is forked `forked` ends it, once it knows what it is: before, a signal would be lost on it.
        """
        resource_tracker.ensure_running()  # starting it later would let them through
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def forked(self) -> None:
        """In a process that was forked: wake the parent no more, and let signals come."""
        signal.set_wakeup_fd(-1)
        self.wakened.close()
        self._waker.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)

    def _handle(self, number: int, frame: object) -> None:
        del frame
        if os.getpid() == self._parent:
            self.pending = self.pending or number in _STOPS
            self.reload_asked = self.reload_asked or number == signal.SIGHUP
        elif number in _STOPS and multiprocessing.current_process().name.startswith(HTTP_PROCESS) and not _serves():
            # At once: an exception would pass through whatever this process is in, and that may swallow or print it.
            os._exit(0)


def end_processes() -> None:
    """Kill what is left of this process's children."""
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


def _serves() -> bool:
    """Whether an event loop runs: uvicorn has put its own handlers in place, or is about to return."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
