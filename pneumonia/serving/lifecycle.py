"""How the server's processes end: once, in order and without a trace, whichever of them a signal reaches."""

import asyncio
import logging
import multiprocessing
import os
import signal

# What LitServe and multiprocessing call the processes that speak HTTP, and the one that holds the queues.
_HTTP_PROCESS = "LitServer-"
_QUEUES_PROCESS = "SyncManager-"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """SIGINT and SIGTERM, from now on, raise `KeyboardInterrupt` in this process: once, and not before `allow`.

    Until then they are remembered: an exception in the midst of an import or a fork would leave half of it behind.
    A terminal's Ctrl+C and some supervisors signal every process. Those forked from this one inherit the handler: the
    HTTP ones end, if uvicorn does not serve yet; the one with the queues stays until this process ends it.
    """

    def __init__(self) -> None:
        self._parent, self._allowed, self._pending = os.getpid(), False, False
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def quiet(self, logger: logging.Logger) -> None:
        """Let the logger say nothing once a signal has come: that workers end is then no news."""
        logger.addFilter(lambda _: not self._pending)

    def allow(self) -> None:
        """Raise `KeyboardInterrupt` if a signal has come, else whenever one comes."""
        self._allowed = True
        self.check()

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if a signal has come."""
        if self._pending:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: object) -> None:
        del number, frame
        if os.getpid() == self._parent:
            self._pending = True
            if self._allowed:
                self.check()
        elif multiprocessing.current_process().name.startswith(_HTTP_PROCESS) and not _serves():
            # At once: an exception would pass through whatever this process is in, and that may swallow or print it.
            os._exit(0)


def end_processes() -> None:
    """Kill what is left of this process's children: all, when it was stopped before LitServe had them in hand."""
    left = multiprocessing.active_children()
    # The queues last: who waits for them would log that they are gone.
    for process in sorted(left, key=lambda process: process.name.startswith(_QUEUES_PROCESS)):
        process.kill()
        process.join()


def _serves() -> bool:
    """Whether an event loop runs: uvicorn has put its own handlers in place, or is about to return."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
