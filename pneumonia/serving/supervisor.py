"""In the parent: start the server's processes, watch them, replace those that end or hang, and change the bundle.

One thread does all of it, so that it can fork whenever it has to. It is never between a request and its answer: if it
is slow, only replacements are.
"""

import logging
import selectors
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumonia.bundle import Bundle, load_bundle
from pneumonia.errors import BundleError, PneumoniaError
from pneumonia.serving.admission import Load
from pneumonia.serving.crew import GRACE_SECONDS, Crew, Model, StartWorker, Worker, exit_of
from pneumonia.serving.described import Described
from pneumonia.serving.errors import error_body
from pneumonia.serving.front import Front, HttpProcess, StartHttp
from pneumonia.serving.lifecycle import StopSignals
from pneumonia.serving.logs import notice
from pneumonia.serving.vitals import Event, State, Vitals

_TICK_SECONDS = 0.2
# Before the next worker is started, by how many have not started, one after the other. The first may be an accident.
_BACK_OFF_SECONDS = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)

logger = logging.getLogger(__name__)

Resolve = Callable[[], tuple[Bundle, str | None]]
Describe = Callable[[Bundle, str | None], Described]
# An HTTP process that asked for another bundle, and its name for the request.
Asked = tuple[HttpProcess, str]


@dataclass
class _Change:
    """A change to another bundle that is under way, and who asked for it by HTTP."""

    old: Model
    new: Model
    asked: Asked | None
    route: int | None = None  # its number, once uploads go to the new workers
    until: float = 0.0  # when HTTP processes that do not follow are not waited for any more


class Supervisor:
    """The server's processes.

    Args:
        workers: as many processes with an engine, and as many that speak HTTP.
        vitals: shared with all of them.
        load: likewise.
        start_worker: see `Crew`.
        start_http: see `Front`.
        resolve: finds and verifies the bundle anew. Raises `PneumoniaError`.
        describe: a bundle and its alias to what the server says of it.
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
        describe: Describe,
        folder: Path,
        timeout: float,
        stop: StopSignals,
    ) -> None:
        self.wanted, self.vitals, self.timeout, self.stop = workers, vitals, timeout, stop
        self._resolve, self._describe, self._folder = resolve, describe, folder
        self._selector = selectors.DefaultSelector()
        self._crew = Crew(start_worker, vitals, timeout, self._selector)
        self._front = Front(start_http, vitals, load, self._selector)
        self._model: Model
        self._change: _Change | None = None
        self._copies = 0
        self._was_ready = False
        self._failures, self._not_before = 0, 0.0
        self._ticked = time.monotonic()

    def run(self, bundle: Bundle, alias: str | None) -> None:
        """Serve until a signal to stop. Raises `PneumoniaError` when the server can't start, or go on."""
        self._model = self._copied(bundle, alias)
        self._selector.register(self.stop.wakened, selectors.EVENT_READ)
        try:
            for index in range(self.wanted):
                self._front.add(index)
            while not self.stop.pending:
                self._step()
        finally:
            if self._change is not None:
                self._answer(self._change.asked, 503, error_body("unavailable", "The server stops.", ""))
            self._front.end(seconds=self.timeout + 10)
            self._crew.end(seconds=5)

    def close_ends(self) -> None:
        """In a process that was forked: close the parent's ends, so that each end is one process's alone."""
        self._crew.close_ends()
        self._front.close_ends()
        self._selector.close()

    def _step(self) -> None:
        self._fill_seats()
        for key, _ in self._selector.select(_TICK_SECONDS):
            if key.data is not None:
                self._hear(key.data)
        self.stop.rested()
        if self.stop.pending:
            return
        self._kill_the_hung()
        for worker in self._crew.ended():
            self._bury(worker)
        for http in self._front.ended():
            self._replace(http)
        if self.stop.reload_asked and self._was_ready and self._change is None:
            self.stop.reload_asked = False
            self._begin_change(None)
        self._go_on_with_change()
        self._report()

    def _hear(self, sender: Worker | HttpProcess) -> None:
        """Read what a process says. That it has ended is seen elsewhere."""
        try:
            if isinstance(sender, Worker):
                sender.hear()
                if sender in self._crew.ready(self._model):
                    self._failures, self._not_before = 0, 0.0
                    self._front.connect([sender])
                    self._route()
                return
            for (kind, detail), _ in sender.channel.receive():
                if kind == "routed":
                    self._front.followed(sender, detail)
                elif kind == "reload":
                    self._begin_change((sender, detail))
                elif kind == "lost":
                    self._reconnect(sender, detail)
        except EOFError:
            self._selector.unregister(sender.channel)

    def _route(self, only: HttpProcess | None = None) -> int:
        return self._front.route(self._model, self._crew.ready(self._model), only)

    def _reconnect(self, http: HttpProcess, number: int) -> None:
        """A connection is lost: mostly as its worker has ended, else it gets another."""
        lost = [worker for worker in self._crew.ready(self._model) if worker.number == number]
        if lost and lost[0].process.is_alive():
            self._front.connect(lost, http)
            self._route(http)

    def _report(self) -> None:
        ready = len(self._crew.ready(self._model))
        self._was_ready = self._was_ready or ready == self.wanted
        if not self._was_ready:
            state = State.STARTING
        elif self._failures > 1:
            state = State.FAILING
        else:
            state = State.READY if ready else State.REPLACING
        self.vitals.report(state, ready)

    # ---- processes that are missing, hang or have ended

    def _fill_seats(self) -> None:
        """Start the workers that are missing, those of the bundle that is served first."""
        if time.monotonic() >= self._not_before:
            self._fill_seats_of(self._model)
        if self._change and self._change.new is not self._model:
            self._fill_seats_of(self._change.new)

    def _fill_seats_of(self, model: Model) -> None:
        while len(self._crew.of(model)) < self.wanted and self._crew.add(model):
            pass

    def _kill_the_hung(self) -> None:
        now = time.monotonic()
        if now - self._ticked > 1.0:  # this process did not run either: after a Ctrl+Z, say
            for slot in range(self.vitals.seats):
                self.vitals.beat(slot)
        self._ticked = now
        self._crew.kill_the_hung()
        self._front.kill_the_hung(self._crew.patience)

    def _bury(self, worker: Worker) -> None:
        """A worker has ended, as it should or not."""
        how = worker.how_it_ended
        if worker.deadline is not None:
            return
        if self._change and worker.model is self._change.new and worker.model is not self._model:
            self._give_up_change(self._change, f"{worker}, on the new one, did not start: {how}")
        elif worker.model is not self._model:
            return  # of a change that was given up
        elif worker.ready:
            self.vitals.count(Event.WORKER_HUNG if worker.ended_for else Event.WORKER_KILLED)
            logger.warning("%s %s. Another is started.", worker, how)
            self._route()
        elif not self._was_ready:
            raise PneumoniaError(f"A worker ended before it was ready ({how}); the server stopped.")
        else:
            self.vitals.count(Event.WORKER_FAILED)
            self._failures += 1
            wait = _BACK_OFF_SECONDS[min(self._failures, len(_BACK_OFF_SECONDS) - 1)]
            self._not_before = time.monotonic() + wait
            logger.warning("%s did not start: %s. The next is started in %.0f s.", worker, how, wait)

    def _replace(self, http: HttpProcess) -> None:
        how = exit_of(http.process)
        logger.warning("HTTP process %d (%s) ended with %s. Another is started.", http.index, http.process.pid, how)
        new = self._front.add(http.index)
        self._front.connect(self._crew.ready(self._model), new)
        self._route(new)

    # ---- another bundle

    def _begin_change(self, asked: Asked | None) -> None:
        """Find the bundle anew; workers are started on it."""
        if self._change is not None or not self._was_ready:
            message = "The server is starting, or changes its bundle; ask again."
            self._answer(asked, 409, error_body("reload_under_way", message, ""))
            return
        try:
            self._change = _Change(self._model, self._copied(*self._resolve()), asked)
        except Exception as error:  # a bundle from elsewhere may be odd in any way, and this process serves on
            self._refuse(str(error) if isinstance(error, PneumoniaError) else type(error).__name__, asked)

    def _go_on_with_change(self) -> None:
        change = self._change
        if change is None:
            return
        if change.route is None:
            if len(self._crew.ready(change.new)) == self.wanted:
                self._switch(change)
        elif self._front.follow(change.route) or time.monotonic() > change.until:
            self._crew.retire(change.old)
            self.vitals.count(Event.RELOADED)
            old, new = change.old.bundle.label, change.new.bundle.label
            notice(f"Now serving {new}; before, it was {old}.")
            self._answer(change.asked, 200, {"status": "reloaded", "old": old, "new": new})
            self._change = None
            shutil.rmtree(change.old.bundle.directory, ignore_errors=True)

    def _switch(self, change: _Change) -> None:
        """Send uploads to the new workers."""
        self._crew.leave_to_finish(change.old)
        self._model, self._failures, self._not_before = change.new, 0, 0.0
        self._front.connect(self._crew.ready(change.new))
        change.route, change.until = self._route(), time.monotonic() + GRACE_SECONDS

    def _give_up_change(self, change: _Change, why: str) -> None:
        """End the new workers; the old ones have gone on."""
        self._change = None
        self._crew.kill(self._crew.of(change.new), "not needed")
        shutil.rmtree(change.new.bundle.directory, ignore_errors=True)
        self._refuse(why, change.asked)

    def _refuse(self, why: str, asked: Asked | None) -> None:
        """Say that the bundle stays."""
        label = self._model.bundle.label
        logger.error("The bundle was not changed, %s is still served: %s", label, why)
        self.vitals.count(Event.REFUSED)
        message = f"The bundle can't be served; the log says why. {label} is served as before."
        self._answer(asked, 422, error_body("bundle_refused", message, ""))

    def _answer(self, asked: Asked | None, status: int, body: dict[str, Any]) -> None:
        if asked is not None:
            self._front.answer_reload(*asked, status, body)

    def _copied(self, bundle: Bundle, alias: str | None) -> Model:
        """A copy for the server alone: a worker that is replaced later runs what was verified now."""
        self._copies += 1
        directory = self._folder / f"bundle-{self._copies}"
        directory.mkdir()
        try:
            for path in bundle.directory.iterdir():
                if path.is_file():
                    shutil.copyfile(path, directory / path.name)
            copy = load_bundle(directory)
        except (BundleError, OSError) as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise BundleError(f"{bundle.directory} can't be copied, or changed meanwhile: {error}") from error
        return Model(copy, self._describe(copy, alias))
