"""In the parent: start the server's processes, watch them, replace those that end or hang, and change the bundle.

One thread does all of it, so that it can fork whenever it has to. It is never between a request and its answer: if it
is slow, only replacements are.
"""

import contextlib
import functools
import logging
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pneumonia.bundle import Bundle, load_bundle
from pneumonia.errors import BundleError, PneumoniaError
from pneumonia.serving.admission import Load
from pneumonia.serving.channel import Channel, pair
from pneumonia.serving.errors import error_body
from pneumonia.serving.lifecycle import StopSignals
from pneumonia.serving.logs import notice
from pneumonia.serving.vitals import Event, State, Vitals

_TICK_SECONDS = 0.2
# Beyond the time for a request: a worker is late by some beats, and a machine may be busy.
_HUNG_GRACE_SECONDS = 2.0
_START_SECONDS = 120.0
# Before the next worker is started, by how many have not started, one after the other. The first may be an accident.
_BACK_OFF_SECONDS = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# HTTP processes that end before they serve, one after the other, before the server gives up.
_HTTP_FAILURES = 5
_INHERITED_BLOCK = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

logger = logging.getLogger(__name__)

Resolve = Callable[[], tuple[Bundle, str | None]]
StartWorker = Callable[["Model", int, socket.socket], BaseProcess]
StartHttp = Callable[[int, socket.socket, socket.socket], BaseProcess]


@dataclass(frozen=True)
class Model:
    """A bundle as it is served: a copy of its own, which nobody changes, and what `GET /model/info` says of it."""

    bundle: Bundle
    info: dict[str, Any]


@dataclass(eq=False)
class _Worker:
    number: int
    slot: int
    model: Model
    process: BaseProcess
    channel: Channel
    started: float
    ready: bool = False
    stopped: str = ""  # why the supervisor ended it
    reason: str = ""  # why it did not start, in its own words
    deadline: float | None = None  # of one that is to end by itself


@dataclass(eq=False)
class _Http:
    index: int
    process: BaseProcess
    channel: Channel
    routed: int = -1  # the newest route that it follows


@dataclass
class _Change:
    """A change to another bundle that is under way, and who asked for it by HTTP."""

    old: Model
    new: Model
    asked: tuple[_Http, str] | None
    route: int | None = None  # its number, once uploads go to the new workers
    until: float = 0.0  # when HTTP processes that do not follow are not waited for any more


class Supervisor:
    """The server's processes.

    Args:
        workers: as many processes with an engine, and as many that speak HTTP.
        vitals: shared with all of them.
        load: likewise.
        start_worker: a process for a model, a slot and an end of a channel to it.
        start_http: a process by its index, its end of a channel, and the parent's end, which it has to close.
        resolve: finds and verifies the bundle anew. Raises `PneumoniaError`.
        describe: a bundle and its alias to what `GET /model/info` says.
        folder: for copies of bundles.
        timeout: seconds that a request may take.
        stop: tells when to stop, or to change the bundle.
    """

    def __init__(
        self,
        workers: int,
        vitals: Vitals,
        load: Load,
        start_worker: StartWorker,
        start_http: StartHttp,
        resolve: Resolve,
        describe: Callable[[Bundle, str | None], dict[str, Any]],
        folder: Path,
        timeout: float,
        stop: StopSignals,
    ) -> None:
        self.wanted, self.vitals, self.load = workers, vitals, load
        self._start_worker, self._start_http, self._resolve, self._describe = (
            start_worker,
            start_http,
            resolve,
            describe,
        )
        self.folder, self.timeout, self.stop = folder, timeout, stop
        self._model: Model
        self._workers: list[_Worker] = []
        self._http: list[_Http] = []
        self._change: _Change | None = None
        self._selector = selectors.DefaultSelector()
        self._numbers = 0
        self._route = 0
        self._was_ready = False
        self._failures, self._not_before = 0, 0.0
        self._http_failures = 0
        self._ticked = time.monotonic()

    def run(self, bundle: Bundle, alias: str | None) -> None:
        """Serve until a signal to stop. Raises `PneumoniaError` when the server can't start, or go on."""
        self._model = self._copied(bundle, alias)
        self._selector.register(self.stop.wakened, selectors.EVENT_READ)
        try:
            for index in range(self.wanted):
                self._add_http(index)
            while not self.stop.pending:
                self._step()
        finally:
            self._end()

    def close_ends(self) -> None:
        """In a process that was forked: close the parent's ends, so that each end is one process's alone."""
        for channel in (each.channel for group in (self._workers, self._http) for each in group):
            channel.close()
        self._selector.close()

    # ---- one step

    def _step(self) -> None:
        self._fill_seats()
        for key, _ in self._selector.select(_TICK_SECONDS):
            if isinstance(key.data, _Worker | _Http):
                self._hear(key.data)
        self.stop.rested()
        if self.stop.pending:
            return
        self._look_for_the_hung()
        for worker in [worker for worker in self._workers if not worker.process.is_alive()]:
            self._bury(worker)
        for http in self._http:
            if self.vitals.silent(self.vitals.slot_of_http(http.index)) > self.timeout + _HUNG_GRACE_SECONDS:
                http.process.kill()
        for http in [http for http in self._http if not http.process.is_alive()]:
            self._bury_http(http)
        if self.stop.reload_asked and self._was_ready and self._change is None:
            self.stop.reload_asked = False
            self._begin_change(None)
        self._go_on_with_change()
        self._report()

    def _hear(self, sender: "_Worker | _Http") -> None:
        """Read what a process says. That it has ended is seen elsewhere."""
        try:
            messages = sender.channel.receive()
        except EOFError:
            self._selector.unregister(sender.channel)
            return
        for (kind, *details), _ in messages:
            if isinstance(sender, _Worker):
                if kind == "ready":
                    self._greet(sender)
                else:
                    sender.reason = details[0]
            elif kind == "routed":
                sender.routed = details[0]
                self._http_failures = 0
            elif kind == "lost":
                for worker in self._routed():
                    if worker.number == details[0] and worker.process.is_alive():
                        self._connect(sender, worker)
                        self._tell_route([sender])
            elif kind == "reload":
                self._begin_change((sender, details[0]))

    def _report(self) -> None:
        ready = len(self._routed())
        if ready == self.wanted:
            self._was_ready = True
        if not self._was_ready:
            state = State.STARTING
        elif self._failures > 1:
            state = State.FAILING
        else:
            state = State.READY if ready else State.REPLACING
        self.vitals.report(state, ready)

    # ---- workers

    def _routed(self) -> list[_Worker]:
        """Those that uploads go to."""
        return [worker for worker in self._of(self._model) if worker.ready]

    def _of(self, model: Model) -> list[_Worker]:
        return [worker for worker in self._workers if worker.model is model and worker.deadline is None]

    def _fill_seats(self) -> None:
        """Start the workers that are missing."""
        models = [self._model]
        if self._change and self._change.new is not self._model:
            models.append(self._change.new)
        free = set(range(self.vitals.slots)) - {worker.slot for worker in self._workers}
        for model in models:
            for _ in range(self.wanted - len(self._of(model))):
                if free and (model is not self._model or time.monotonic() >= self._not_before):
                    self._add_worker(model, free.pop())

    def _add_worker(self, model: Model, slot: int) -> None:
        self._numbers += 1
        self.vitals.clear(slot)
        mine, its = pair()
        resource_tracker.ensure_running()  # starting it with the first worker would unblock the signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _INHERITED_BLOCK)
        try:
            process = self._start_worker(model, slot, its)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            its.close()
        worker = _Worker(self._numbers, slot, model, process, Channel(mine), time.monotonic())
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        self._workers.append(worker)

    def _greet(self, worker: _Worker) -> None:
        """A worker can predict."""
        worker.ready = True
        if worker.model is self._model:
            self._failures, self._not_before = 0, 0.0
            for http in self._http:
                self._connect(http, worker)
            self._tell_route(self._http)

    def _connect(self, http: _Http, worker: _Worker) -> None:
        ends = pair()
        http.channel.send(("worker", worker.number, worker.slot), ends[0])
        worker.channel.send(("peer", self._next_number()), ends[1])
        for end in ends:
            end.close()

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _tell_route(self, processes: Iterable[_Http]) -> None:
        self._route += 1
        numbers = [worker.number for worker in self._routed()]
        for http in processes:
            http.channel.send(("route", self._route, self._model.info, numbers))

    def _look_for_the_hung(self) -> None:
        """Kill workers that show no sign of life for longer than a request may take, or do not get ready."""
        now = time.monotonic()
        limit = self.timeout + _HUNG_GRACE_SECONDS
        if now - self._ticked > 1.0:  # this process did not run either: after a Ctrl+Z, say
            for slot in range(self.vitals.seats):
                self.vitals.beat(slot)
        self._ticked = now
        for worker in self._workers:
            if worker.stopped:
                continue
            late = worker.deadline is not None and now > worker.deadline
            if late or (worker.ready and self.vitals.silent(worker.slot) > limit):
                worker.stopped = f"hung: it was silent for more than {limit:.1f} s"
            elif not worker.ready and now - worker.started > _START_SECONDS:
                worker.stopped = f"not ready after {_START_SECONDS:.0f} s"
            if worker.stopped:
                worker.process.kill()

    def _bury(self, worker: _Worker) -> None:
        """A worker has ended."""
        with contextlib.suppress(EOFError):
            for (kind, *details), _ in worker.channel.receive():
                worker.reason = details[0] if kind == "failed" else worker.reason
        self._workers.remove(worker)
        _close(self._selector, worker.channel)
        self.vitals.clear(worker.slot)
        how = worker.stopped or worker.reason or f"ended with {_exit_of(worker.process)}"
        name = f"Worker {worker.slot} (process {worker.process.pid})"
        worker.process.join()
        if worker.deadline is not None:
            return
        if self._change and worker.model is self._change.new and worker.model is not self._model:
            self._give_up_change(self._change, f"{name}, on the new one, did not start: {how}")
        elif worker.ready:
            self.vitals.count(Event.WORKER_HUNG if worker.stopped else Event.WORKER_KILLED)
            logger.warning("%s: %s. Another is started.", name, how)
            self._tell_route(self._http)
        elif not self._was_ready:
            raise PneumoniaError(f"A worker ended before it was ready ({how}); the server stopped.")
        else:
            self.vitals.count(Event.WORKER_FAILED)
            self._failures += 1
            wait = _BACK_OFF_SECONDS[min(self._failures, len(_BACK_OFF_SECONDS) - 1)]
            self._not_before = time.monotonic() + wait
            logger.warning("%s did not start: %s. The next is started in %.0f s.", name, how, wait)

    # ---- processes that speak HTTP

    def _add_http(self, index: int) -> None:
        self.vitals.clear(self.vitals.slot_of_http(index))
        mine, its = pair()
        channel = Channel(mine)
        http = _Http(index, self._start_http(index, its, mine), channel)
        its.close()
        self._http.append(http)
        self._selector.register(channel, selectors.EVENT_READ, http)
        for worker in self._routed():
            self._connect(http, worker)
        self._tell_route([http])

    def _bury_http(self, http: _Http) -> None:
        """Its connections are gone, and with them what it held; another takes its place."""
        self._http.remove(http)
        _close(self._selector, http.channel)
        http.process.join()
        for places in (self.load.requests, self.load.queue, self.load.held_bytes):
            places.forget(http.index)
        self.vitals.forget_process(http.index)
        self.vitals.count(Event.HTTP_ENDED)
        how = _exit_of(http.process)
        self._http_failures += 1
        if self._http_failures >= _HTTP_FAILURES:
            raise PneumoniaError(f"Processes that speak HTTP end as soon as they start ({how}); the server stopped.")
        logger.warning("The HTTP process %d (%s) ended with %s. Another is started.", http.index, http.process.pid, how)
        self._add_http(http.index)

    # ---- another bundle

    def _begin_change(self, asked: tuple[_Http, str] | None) -> None:
        """Find the bundle anew, and start workers on it."""
        if self._change is not None or not self._was_ready:
            if asked is not None:
                self._answer(asked, 409, "reload_under_way", "The server is starting or changes its bundle; ask again.")
            return
        try:
            self._change = _Change(self._model, self._copied(*self._resolve()), asked)
        except (PneumoniaError, OSError) as error:
            self._refuse(str(error), asked)

    def _go_on_with_change(self) -> None:
        change = self._change
        if change is None:
            return
        if change.route is None:
            workers = self._of(change.new)
            if len(workers) == self.wanted and all(worker.ready for worker in workers):
                self._switch(change, workers)
        elif all(http.routed >= change.route for http in self._http) or time.monotonic() > change.until:
            for worker in self._workers:
                if worker.model is change.old:
                    worker.channel.send(("retire",))
            self.vitals.count(Event.RELOADED)
            old, new = change.old.bundle.label, change.new.bundle.label
            notice(f"Now serving {new}; before, it was {old}.")
            self._tell(change.asked, 200, {"status": "reloaded", "old": old, "new": new})
            shutil.rmtree(change.old.bundle.directory, ignore_errors=True)
            self._change = None

    def _switch(self, change: _Change, workers: list[_Worker]) -> None:
        """Send uploads to the new workers; the old ones have until the time for a request is over."""
        for worker in self._of(change.old):
            worker.deadline = time.monotonic() + self.timeout + _HUNG_GRACE_SECONDS
        self._model, self._failures, self._not_before = change.new, 0, 0.0
        for http in self._http:
            for worker in workers:
                self._connect(http, worker)
        self._tell_route(self._http)
        change.route, change.until = self._route, time.monotonic() + _HUNG_GRACE_SECONDS

    def _give_up_change(self, change: _Change, why: str) -> None:
        """End the new workers; the old ones have gone on."""
        self._change = None
        for worker in self._of(change.new):
            worker.deadline, worker.stopped = time.monotonic(), "not needed"
            worker.process.kill()
        shutil.rmtree(change.new.bundle.directory, ignore_errors=True)
        self._refuse(why, change.asked)

    def _refuse(self, why: str, asked: tuple[_Http, str] | None) -> None:
        """Say that the bundle stays."""
        logger.error("The bundle was not changed, %s is still served: %s", self._model.bundle.label, why)
        self.vitals.count(Event.REFUSED)
        if asked:
            message = f"The bundle can't be served; the log says why. {self._model.bundle.label} is served as before."
            self._answer(asked, 422, "bundle_refused", message)

    def _answer(self, asked: tuple[_Http, str], status: int, code: str, message: str) -> None:
        self._tell(asked, status, error_body(code, message, ""))

    def _tell(self, asked: tuple[_Http, str] | None, status: int, body: dict[str, Any]) -> None:
        if asked is not None and asked[0] in self._http:
            asked[0].channel.send(("reloaded", asked[1], status, body))

    def _copied(self, bundle: Bundle, alias: str | None) -> Model:
        """A copy for the server alone: a worker that is replaced later runs what was verified now."""
        directory = self.folder / f"bundle-{self._next_number()}"
        directory.mkdir()
        for path in bundle.directory.iterdir():
            if path.is_file():
                shutil.copyfile(path, directory / path.name)
        try:
            copy = load_bundle(directory)
        except BundleError as error:
            raise BundleError(f"{bundle.directory} changed while it was read: {error}") from error
        return Model(copy, self._describe(copy, alias))

    # ---- the end

    def _end(self) -> None:
        """Let the HTTP processes answer what they have taken, then end the workers."""
        for http in self._http:
            http.process.terminate()
        until = time.monotonic() + self.timeout + 10
        for http in self._http:
            http.process.join(max(0.0, until - time.monotonic()))
        for worker in self._workers:
            worker.channel.send(("retire",))
        until = time.monotonic() + 5
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
        for process in (each.process for group in (self._http, self._workers) for each in group):
            if process.is_alive():
                process.kill()
                process.join()


def _close(selector: selectors.BaseSelector, channel: Channel) -> None:
    with contextlib.suppress(KeyError, ValueError):
        selector.unregister(channel)
    channel.close()


@functools.cache
def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _exit_of(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return _signal_name(-code) if code < 0 else f"exit code {code}"
