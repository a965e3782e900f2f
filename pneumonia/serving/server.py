"""The server: LitServe with this project's endpoints, errors and metrics around the LitAPI."""

import logging
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

import litserve as ls
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from litserve.utils import WorkerSetupStatus
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pneumonia import DISCLAIMER, __version__
from pneumonia.bundle import Bundle
from pneumonia.images import Limits
from pneumonia.serving.api import RadiographAPI
from pneumonia.serving.errors import CODE_OF_STATUS, MESSAGE_OF_STATUS, error_body
from pneumonia.serving.lifecycle import StopSignals
from pneumonia.serving.middleware import REQUEST_ID_HEADER, RequestContext
from pneumonia.serving.schema import HealthBody, ModelInfoBody, PredictionBody, error_responses

ROUTES = frozenset({"/predict", "/health", "/model/info", "/metrics"})
_OF_LITSERVE = frozenset({"/", "/info", "/health"})
# A multipart body is its file and a few header lines.
_MULTIPART_OVERHEAD = 64 * 2**10
_POLL = 0.05
_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": HealthBody, "description": "Not yet."}}


@dataclass(frozen=True)
class ServerOptions:
    """Workers (processes with an engine each), the limits on uploads, the batch, and seconds a request may wait."""

    workers: int
    limits: Limits
    max_batch_size: int = 16
    timeout: float = 30.0


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
    server = _Server(
        RadiographAPI(bundle.directory, options.limits, options.max_batch_size),
        accelerator="cpu",
        workers_per_device=options.workers,
        timeout=options.timeout,
        max_payload_size=options.limits.max_bytes + _MULTIPART_OVERHEAD,
        middlewares=[(RequestContext, {"routes": ROUTES})],
    )
    server.stop = stop
    if stop:
        stop.quiet(logging.getLogger("litserve.server"))
    app = server.app
    app.title, app.version, app.description = "pneumonia", __version__, DISCLAIMER
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") not in _OF_LITSERVE]
    _add_error_handlers(app)
    _describe_predict(app)
    _add_endpoints(app, server, {**describe_model(bundle), "alias": alias})
    return server


def describe_model(bundle: Bundle) -> dict[str, Any]:
    """What `GET /model/info` answers."""
    return {
        **bundle.describe(),
        "synthetic": bundle.synthetic,
        "wandb_artifact": bundle.provenance.get("wandb_artifact"),
        "disclaimer": DISCLAIMER,
    }


def _describe_predict(app: FastAPI) -> None:
    """LitServe adds `/predict` without a word about it: put the same endpoint there with its contract."""
    route = next(route for route in app.router.routes if isinstance(route, APIRoute) and route.path == "/predict")
    app.router.routes.remove(route)
    app.add_api_route(
        route.path,
        route.endpoint,
        methods=["POST"],
        dependencies=route.dependencies,
        operation_id="predict",
        summary="Classify one radiograph",
        description="NORMAL or PNEUMONIA, with a calibrated probability and a check that the file can be a chest film.",
        response_model=PredictionBody,
        response_description="The prediction.",
        responses=error_responses(400, 413, 415, 422, 500, 503, 504),
    )


def _add_endpoints(app: FastAPI, server: ls.LitServer, model: dict[str, Any]) -> None:
    @app.get("/health", operation_id="health", summary="Readiness", response_model=HealthBody, responses=_NOT_READY)
    async def health() -> JSONResponse:
        """200 once every worker can predict, 503 before."""
        states = server.workers_setup_status.values()
        ready = bool(states) and all(state == WorkerSetupStatus.READY for state in states)
        return JSONResponse({"status": "ok" if ready else "starting"}, 200 if ready else 503)

    @app.get(
        "/model/info", operation_id="model_info", summary="The bundle that is loaded", response_model=ModelInfoBody
    )
    async def model_info() -> JSONResponse:
        """Classes, operating point, metrics with intervals, provenance."""
        return JSONResponse(model)

    @app.get("/metrics", operation_id="metrics", summary="Metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus text, over all processes."""
        from pneumonia.serving.metrics import exposition

        content, content_type = exposition()
        return Response(content, media_type=content_type)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return _error(request, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        fields = ", ".join(sorted({".".join(map(str, item["loc"])) for item in error.errors()}))
        message = f"Missing or invalid: {fields}. Send the radiograph as multipart field `file`."
        return _error(request, 422, message)

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> JSONResponse:
        del error
        answer = _error(request, 500)
        # This answer alone does not pass through RequestContext.
        answer.headers[REQUEST_ID_HEADER.decode()] = getattr(request.state, "request_id", "")
        return answer


def _error(request: Request, status: int, message: str = "", headers: Mapping[str, str] | None = None) -> JSONResponse:
    message = message or MESSAGE_OF_STATUS.get(status) or f"{HTTPStatus(status).phrase}."
    content = error_body(CODE_OF_STATUS.get(status, "error"), message, getattr(request.state, "request_id", ""))
    return JSONResponse(content, status, headers)
