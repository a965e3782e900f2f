"""The server: LitServe with this project's endpoints, errors and metrics around the LitAPI."""

import contextlib
import copy
import multiprocessing
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import litserve as ls
import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from pneumonia import DISCLAIMER, __version__
from pneumonia.bundle import Bundle
from pneumonia.images import Limits
from pneumonia.inference.engines.registry import AUTO
from pneumonia.serving.admission import MULTIPART_OVERHEAD, Admission, Load, Places
from pneumonia.serving.api import RadiographAPI
from pneumonia.serving.authentication import KeyCheck
from pneumonia.serving.channel import Channel
from pneumonia.serving.crew import Model
from pneumonia.serving.described import Described, describe_model
from pneumonia.serving.endpoints import add_endpoints, add_error_handlers, add_predict, add_reload, describe_keys
from pneumonia.serving.keys import ApiKeys
from pneumonia.serving.lifecycle import HTTP_PROCESS, StopSignals
from pneumonia.serving.logs import LogOptions
from pneumonia.serving.middleware import RequestContext
from pneumonia.serving.router import Router
from pneumonia.serving.supervisor import Resolve, Supervisor
from pneumonia.serving.vitals import Vitals
from pneumonia.serving.worker import work

ROUTES = frozenset(
    {"/predict", "/health", "/health/live", "/model/info", "/model/card", "/model/validation", "/metrics"}
)
# With keys only.
ADMIN_ROUTES = frozenset({"/admin/reload"})
# Of LitServe, and pages of FastAPI that run a CDN's scripts.
_LEFT_OUT = frozenset({"/", "/info", "/health", "/docs", "/docs/oauth2-redirect", "/redoc"})


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


class Server(ls.LitServer):  # type: ignore[misc]
    """LitServer's app and LitAPI, in processes that are supervised: LitServe ends with the first worker that does.

    `router` is of a process that speaks HTTP, and there only.
    """

    router: Router
    vitals: Vitals
    load: Load
    options: ServerOptions
    first: tuple[Bundle, str | None]

    @property
    def described(self) -> Described:
        """What is said of the bundle that is served."""
        return (getattr(self, "router", None) and self.router.described) or self.describe(*self.first)

    def describe(self, bundle: Bundle, alias: str | None) -> Described:
        """What will be said once a bundle is served."""
        return describe_model(bundle, alias, self.options.engine)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Of the app, in a process that speaks HTTP."""
        del app
        async with self.router.running():
            yield

    def serve(
        self, stop: StopSignals, resolve: Resolve, folder: Path, log: LogOptions, host: str, port: int, **options: Any
    ) -> None:
        """Serve until a signal to stop; further options are uvicorn's.

        `resolve` finds the bundle anew when that is asked for; `folder` is for the server's own copies of bundles.
        """
        self.litapi_connector.pre_setup()
        # As long as a request may take, and somewhat longer than its own clocks.
        options = {"timeout_graceful_shutdown": int(self.options.timeout) + 5, "log_level": log.level, **options}
        if log.format == "json":
            options["log_config"] = None
        described = self.describe(*self.first)  # now: the bundle's folder may be another's, or gone, later
        config = uvicorn.Config(app=self.app, host=host, port=port, **options)
        listener = config.bind_socket()

        def start_worker(model: Model, slot: int, end: socket.socket) -> BaseProcess:
            api = copy.copy(self.lit_api)
            api.bundle_directory = model.bundle.directory
            process = multiprocessing.get_context("spawn").Process(
                target=work, args=(api, slot, self.vitals, end, log), name=f"worker-{slot}"
            )
            process.start()
            return process

        def speak_http(index: int, end: socket.socket, parents: socket.socket) -> None:
            parents.close()
            stop.forked()
            supervisor.close_ends()
            self.app.response_queue_id = index
            self.router = Router(index, self.vitals, Channel(end))
            self.router.described = described
            uvicorn.Server(config).run(sockets=[listener])

        def start_http(index: int, end: socket.socket, parents: socket.socket) -> BaseProcess:
            process = multiprocessing.get_context("fork").Process(
                target=speak_http, args=(index, end, parents), name=f"{HTTP_PROCESS}{index}"
            )
            process.start()
            return process

        supervisor = Supervisor(
            self.options.workers,
            self.vitals,
            self.load,
            start_worker,
            start_http,
            resolve,
            self.describe,
            folder,
            self.options.timeout,
            stop,
        )
        supervisor.run(*self.first)


def build_server(bundle: Bundle, alias: str | None, options: ServerOptions) -> Server:
    """A server for a bundle, ready to `serve`. `alias` is what the registry calls the bundle, if it came from one."""
    places = (options.max_concurrent, options.max_queue, options.max_bytes_in_flight)
    load = Load(*(Places(limit, processes=options.workers) for limit in places))
    server = Server(
        RadiographAPI(bundle.directory, options.limits, options.max_batch_size, options.engine),
        accelerator="cpu",
        workers_per_device=options.workers,
        timeout=options.timeout,
        middlewares=_middlewares(options, load),
    )
    # Slots for the workers of a bundle, of the one that follows, and of one that ends.
    server.vitals = Vitals(3 * options.workers, options.workers, options.max_batch_size)
    server.load, server.options, server.first = load, options, (bundle, alias)
    app = server.app
    app.title, app.version, app.description = "pneumonia", __version__, DISCLAIMER
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") not in _LEFT_OUT]
    add_error_handlers(app)
    add_predict(app, server, load)
    add_endpoints(app, server, load)
    if options.keys:
        add_reload(app, server)
        describe_keys(app)
    return server


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
    middlewares.append((RequestContext, {"routes": ROUTES | ADMIN_ROUTES if options.keys else ROUTES}))
    return middlewares
