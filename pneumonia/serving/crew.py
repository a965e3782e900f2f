"""The worker processes, as the parent sees them: started, greeted, killed when they hang, and buried."""

import contextlib
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from pneumonia.bundle import Bundle
from pneumonia.serving.channel import Channel, pair
from pneumonia.serving.described import Described
from pneumonia.serving.lifecycle import StopSignals
from pneumonia.serving.vitals import Vitals

# Beyond the time for a request: a worker is late by some beats, and a machine may be busy.
GRACE_SECONDS = 2.0
_START_SECONDS = 120.0


@dataclass(frozen=True, eq=False)
class Model:
    """A bundle as it is served: a copy of its own, which nobody changes, and what the server says of it."""

    bundle: Bundle
    described: Described


StartWorker = Callable[[Model, int, socket.socket], BaseProcess]


@dataclass(eq=False)
class Worker:
    """A worker process.

    `ended_for` is why the parent killed it; `reason`, why it did not start, in its own words; `deadline`, when one that
    is to end by itself is killed.
    """

    number: int
    slot: int
    model: Model
    process: BaseProcess
    channel: Channel
    started: float
    ready: bool = False
    ended_for: str = ""
    reason: str = ""
    deadline: float | None = None

    def __str__(self) -> str:
        """For the log."""
        return f"Worker {self.slot} (process {self.process.pid})"

    @property
    def how_it_ended(self) -> str:
        """In a few words."""
        return self.ended_for or self.reason or f"ended with {exit_of(self.process)}"

    def hear(self) -> None:
        """Read what it says: that it is ready, or why it is not. Raises `EOFError` at the end."""
        for (kind, *details), _ in self.channel.receive():
            if kind == "ready":
                self.ready = True
            else:
                self.reason = details[0]


class Crew:
    """All workers.

    Args:
        start: a process for a model, a slot and its end of a channel.
        vitals: shared with them.
        timeout: seconds that a request may take; a worker may be silent for as long.
        selector: of the parent, which is told of their channels.
    """

    def __init__(self, start: StartWorker, vitals: Vitals, timeout: float, selector: selectors.BaseSelector) -> None:
        self._start, self._vitals, self._selector = start, vitals, selector
        self.patience = timeout + GRACE_SECONDS
        self._workers: list[Worker] = []
        self._number = 0

    def of(self, model: Model) -> list[Worker]:
        """Those of a model that are to go on."""
        return [worker for worker in self._workers if worker.model is model and worker.deadline is None]

    def ready(self, model: Model) -> list[Worker]:
        """Of them, those that can predict."""
        return [worker for worker in self.of(model) if worker.ready]

    def add(self, model: Model) -> bool:
        """Start a worker; false when there is no slot for it, while those that end still have theirs."""
        free = set(range(self._vitals.slots)) - {worker.slot for worker in self._workers}
        if not free:
            return False
        slot = min(free)
        self._number += 1
        self._vitals.clear(slot)
        mine, its = pair()
        with StopSignals.held():
            process = self._start(model, slot, its)
        its.close()
        worker = Worker(self._number, slot, model, process, Channel(mine), time.monotonic())
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        self._workers.append(worker)
        return True

    def kill_the_hung(self) -> None:
        """Those that give no sign of life for longer than a request may take, do not get ready, or do not end."""
        now = time.monotonic()
        for worker in self._workers:
            late = worker.deadline is not None and now > worker.deadline
            if late or (worker.ready and self._vitals.silent(worker.slot) > self.patience):
                self.kill([worker], f"hung: it was silent for more than {self.patience:.1f} s")
            elif not worker.ready and now - worker.started > _START_SECONDS:
                self.kill([worker], f"not ready after {_START_SECONDS:.0f} s")

    def kill(self, workers: Iterable[Worker], why: str) -> None:
        """End workers at once."""
        for worker in workers:
            worker.ended_for = worker.ended_for or why
            worker.process.kill()

    def leave_to_finish(self, model: Model) -> None:
        """From here on the workers of a model are not replaced, and have the time of a request to end."""
        for worker in self.of(model):
            worker.deadline = time.monotonic() + self.patience

    def retire(self, model: Model | None = None) -> None:
        """Ask the workers of a model, or all, to answer what they have and to end."""
        for worker in self._workers:
            if model is None or worker.model is model:
                worker.channel.send(("retire",))

    def ended(self) -> list[Worker]:
        """Those that have ended since they were asked for last; they are forgotten."""
        ended = [worker for worker in self._workers if not worker.process.is_alive()]
        for worker in ended:
            with contextlib.suppress(EOFError):
                worker.hear()
            worker.process.join()
            self._workers.remove(worker)
            close(self._selector, worker.channel)
            self._vitals.clear(worker.slot)
        return ended

    def end(self, seconds: float) -> None:
        """Ask all to end; kill what has not after so long."""
        self.retire()
        join_or_kill([worker.process for worker in self._workers], seconds)

    def close_ends(self) -> None:
        """In a process that was forked: close the parent's ends."""
        for worker in self._workers:
            worker.channel.close()


def close(selector: selectors.BaseSelector, channel: Channel) -> None:
    """Forget a channel, whose end may have been seen before."""
    with contextlib.suppress(KeyError, ValueError):
        selector.unregister(channel)
    channel.close()


def join_or_kill(processes: Iterable[BaseProcess], seconds: float) -> None:
    """Wait for processes, for so long together, and kill what is left."""
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def exit_of(process: BaseProcess) -> str:
    """How a process ended: the signal's name, or its exit code."""
    code = process.exitcode or 0
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
