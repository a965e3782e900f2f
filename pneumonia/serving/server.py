"""The server: LitServe with this project's endpoints, errors and metrics around the LitAPI."""

import logging
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

import litserve as ls
from litserve.utils import WorkerSetupStatus
from starlette.middleware.cors import CORSMiddleware

from pneumonia import DISCLAIMER, __version__
from pneumonia.bundle import Bundle
from pneumonia.images import Limits
from pneumonia.inference.engines.registry import AUTO, choose_engine
from pneumonia.serving.admission import MULTIPART_OVERHEAD, Admission, Load, Places
from pneumonia.serving.api import RadiographAPI
from pneumonia.serving.authentication import KeyCheck
from pneumonia.serving.endpoints import add_endpoints, add_error_handlers, add_predict, describe_keys
from pneumonia.serving.keys import ApiKeys
from pneumonia.serving.lifecycle import StopSignals
from pneumonia.serving.middleware import RequestContext

ROUTES = frozenset({"/predict", "/health", "/model/info", "/metrics"})
# Of LitServe, and pages of FastAPI that run a CDN's scripts.
_LEFT_OUT = frozenset({"/", "/info", "/health", "/docs", "/docs/oauth2-redirect", "/redoc"})
_POLL = 0.05


@dataclass(frozen=True)
class ServerOptions:
    """What a server may take on, and who may ask.

    Args:
        workers: processes with an engine each; as many speak HTTP.
        limits: on one upload.
        max_batch_size: radiographs in one run of the engine, at most.
        timeout: seconds that a request may take, its upload included.
        max_concurrent: uploads that are read or answered at a time.
        max_queue: of them, those that wait for a worker or are with one.
        max_bytes_in_flight: of all uploads that are held at a time, once where they arrive and once in the queue.
        keys: without, anyone may ask.
        cors_origins: of pages that browsers may call from; without, none but the server's own.
        engine: what runs the bundle's graph, by its name.
    """

    workers: int
    limits: Limits
    max_batch_size: int = 16
    timeout: float = 30.0
    max_concurrent: int = 256
    max_queue: int = 128
    max_bytes_in_flight: int = 512 * 2**20
    keys: ApiKeys | None = None
    cors_origins: tuple[str, ...] = ()
    engine: str = AUTO


class _Server(ls.LitServer):  # type: ignore[misc]
    """LitServer, whose processes end without a trace."""

    stop: StopSignals | None = None

    def launch_inference_worker(self, lit_api: ls.LitAPI) -> list[BaseProcess]:
        """Workers inherit that SIGINT is blocked: a terminal sends Ctrl+C to them too, and LitServe ends them."""
        resource_tracker.ensure_running()  # starting it with the first worker would unblock the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            workers: list[BaseProcess] = super().launch_inference_worker(lit_api)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return workers

    def verify_worker_status(self) -> None:
        """Return when a worker can predict. Raises `RuntimeError` when one ends before: LitServe would wait on."""
        while WorkerSetupStatus.READY not in self.workers_setup_status.values():
            if self.stop:
                self.stop.check()
            if not all(worker.is_alive() for worker in self.inference_workers):
                raise RuntimeError("A worker ended before it was ready.")
            time.sleep(_POLL)

    def _start_server(self, *arguments: Any, **options: Any) -> dict[int, BaseProcess]:
        if self.stop:
            self.stop.check()
        workers: dict[int, BaseProcess] = super()._start_server(*arguments, **options)
        if self.stop:
            self.stop.allow()
        return workers

    def _perform_graceful_shutdown(self, *arguments: Any) -> None:
        # LitServe's own event ends with its manager, and the thread that watches the workers would fail on it.
        self._shutdown_event = threading.Event()
        self._shutdown_event.set()
        super()._perform_graceful_shutdown(*arguments)


def build_server(
    bundle: Bundle, alias: str | None, options: ServerOptions, stop: StopSignals | None = None
) -> ls.LitServer:
    """A LitServer for a bundle, ready to `run` until `stop`.

    `alias` is what the registry calls the bundle, if it came from one.
    """
    places = (options.max_concurrent, options.max_queue, options.max_bytes_in_flight)
    load = Load(*(Places(limit, processes=options.workers) for limit in places))
    server = _Server(
        RadiographAPI(bundle.directory, options.limits, options.max_batch_size, options.engine),
        accelerator="cpu",
        workers_per_device=options.workers,
        timeout=options.timeout,
        middlewares=_middlewares(options, load),
    )
    server.stop = stop
    if stop:
        stop.quiet(logging.getLogger("litserve.server"))
    app = server.app
    app.title, app.version, app.description = "pneumonia", __version__, DISCLAIMER
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") not in _LEFT_OUT]
    add_error_handlers(app)
    add_predict(app, load)
    add_endpoints(app, server, {**describe_model(bundle, options.engine), "alias": alias})
    if options.keys:
        describe_keys(app)
    return server


def describe_model(bundle: Bundle, engine: str = AUTO) -> dict[str, Any]:
    """What `GET /model/info` answers."""
    return {
        **bundle.describe(),
        "engine": choose_engine(bundle, engine).name,
        "synthetic": bundle.synthetic,
        "wandb_artifact": bundle.provenance.get("wandb_artifact"),
        "disclaimer": DISCLAIMER,
    }


def _middlewares(options: ServerOptions, load: Load) -> list[tuple[type, dict[str, Any]]]:
    """From the innermost out, as LitServe adds them."""
    limits = {"max_body": options.limits.max_bytes + MULTIPART_OVERHEAD, "seconds": options.timeout}
    middlewares: list[tuple[type, dict[str, Any]]] = [(Admission, {"load": load, **limits})]
    if options.keys:
        middlewares.append((KeyCheck, {"keys": options.keys}))
    if options.cors_origins:  # around the keys: a browser asks whether it may without one
        cors = {"allow_methods": ["GET", "POST"], "allow_headers": ["Authorization", "X-API-Key", "X-Request-ID"]}
        exposed = ["X-Request-ID", "Retry-After"]
        middlewares.append((CORSMiddleware, {"allow_origins": options.cors_origins, "expose_headers": exposed, **cors}))
    middlewares.append((RequestContext, {"routes": ROUTES}))
    return middlewares
