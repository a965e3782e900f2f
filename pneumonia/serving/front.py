"""The processes that speak HTTP, as the parent sees them: connected to the workers, and replaced when they end."""

import selectors
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from pneumonia.errors import PneumoniaError
from pneumonia.serving.admission import Load
from pneumonia.serving.channel import Channel, pair
from pneumonia.serving.crew import Model, Worker, close, exit_of, join_or_kill
from pneumonia.serving.lifecycle import StopSignals
from pneumonia.serving.vitals import Event, Vitals

# Processes that end before they serve, one after the other, before the server gives up.
_FAILURES = 5

StartHttp = Callable[[int, socket.socket, socket.socket], BaseProcess]


@dataclass(eq=False)
class HttpProcess:
    """One of them; `route` is the newest that it follows."""

    index: int
    process: BaseProcess
    channel: Channel
    route: int = 0


class Front:
    """All processes that speak HTTP.

    Args:
        start: a process by its index, its end of a channel, and the parent's end, which it has to close.
        vitals: shared with them.
        load: likewise.
        selector: of the parent, which is told of their channels.
    """

    def __init__(self, start: StartHttp, vitals: Vitals, load: Load, selector: selectors.BaseSelector) -> None:
        self._start, self._vitals, self._load, self._selector = start, vitals, load, selector
        self._processes: list[HttpProcess] = []
        self._peers = self._routes = self._failures = 0

    def add(self, index: int) -> HttpProcess:
        """Start one."""
        self._vitals.clear(self._vitals.slot_of_http(index))
        mine, its = pair()
        with StopSignals.held():
            http = HttpProcess(index, self._start(index, its, mine), Channel(mine))
        its.close()
        self._selector.register(http.channel, selectors.EVENT_READ, http)
        self._processes.append(http)
        return http

    def connect(self, workers: Iterable[Worker], only: HttpProcess | None = None) -> None:
        """Give each of them, or only one, a connection to each worker."""
        for worker in workers:
            for http in [only] if only else self._processes:
                self._peers += 1
                ends = pair()
                http.channel.send(("worker", worker.number, worker.slot), ends[0])
                worker.channel.send(("peer", self._peers), ends[1])
                for end in ends:
                    end.close()

    def route(self, model: Model, workers: Iterable[Worker], only: HttpProcess | None = None) -> int:
        """Tell them to send uploads to these workers, and which bundle they run; the number that they answer by."""
        self._routes += 1
        numbers = [worker.number for worker in workers]
        for http in [only] if only else self._processes:
            http.channel.send(("route", self._routes, model.described, numbers))
        return self._routes

    def follow(self, route: int) -> bool:
        """Whether all of them send uploads by this route, or a newer one."""
        return all(http.route >= route for http in self._processes)

    def followed(self, http: HttpProcess, route: int) -> None:
        """One of them says that it does."""
        http.route = route
        self._failures = 0

    def kill_the_hung(self, patience: float) -> None:
        """Those whose event loop has stood still for so many seconds."""
        for http in self._processes:
            if self._vitals.silent(self._vitals.slot_of_http(http.index)) > patience:
                http.process.kill()

    def ended(self) -> list[HttpProcess]:
        """Those that have ended since they were asked for last; with their connections went whatever they held.

        Raises `PneumoniaError` when they end again and again before they serve.
        """
        ended = [http for http in self._processes if not http.process.is_alive()]
        for http in ended:
            http.process.join()
            self._processes.remove(http)
            close(self._selector, http.channel)
            for places in (self._load.requests, self._load.queue, self._load.held_bytes):
                places.forget(http.index)
            self._vitals.forget_process(http.index)
            self._vitals.count(Event.HTTP_ENDED)
            self._failures += 1
            if self._failures >= _FAILURES:
                how = exit_of(http.process)
                raise PneumoniaError(f"HTTP processes end before they serve, the last with {how}; the server stopped.")
        return ended

    def end(self, seconds: float) -> None:
        """Let them answer what they have taken; kill what has not ended after so long."""
        for http in self._processes:
            http.process.terminate()
        join_or_kill([http.process for http in self._processes], seconds)

    def close_ends(self) -> None:
        """In a process that was forked: close the parent's ends."""
        for http in self._processes:
            http.channel.close()

    def answer_reload(self, http: HttpProcess, token: str, status: int, body: dict[str, Any]) -> None:
        """Answer one that asked for another bundle, if it has not ended."""
        if http in self._processes:
            http.channel.send(("reloaded", token, status, body))
