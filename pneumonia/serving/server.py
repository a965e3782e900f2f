"""The server: LitServe with this project's endpoints, errors and metrics around the LitAPI."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import litserve as ls
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from litserve.utils import WorkerSetupStatus
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from pneumonia import DISCLAIMER, __version__
from pneumonia.bundle import Bundle
from pneumonia.images import Limits
from pneumonia.serving.api import RadiographAPI
from pneumonia.serving.errors import CODE_OF_STATUS, error_body
from pneumonia.serving.middleware import RequestContext

ROUTES = frozenset({"/predict", "/health", "/model/info", "/metrics"})
_OF_LITSERVE = frozenset({"/", "/info", "/health"})
# A multipart body is its file and a few header lines.
_MULTIPART_OVERHEAD = 64 * 2**10


@dataclass(frozen=True)
class ServerOptions:
    """Workers (processes with an engine each), the limits on uploads, the batch, and seconds a request may wait."""

    workers: int
    limits: Limits
    max_batch_size: int = 16
    timeout: float = 30.0


def build_server(bundle: Bundle, alias: str | None, options: ServerOptions) -> ls.LitServer:
    """A LitServer for a bundle, ready to `run`. `alias` is what the registry calls the bundle, if it came from one."""
    server = ls.LitServer(
        RadiographAPI(bundle.directory, options.limits, options.max_batch_size),
        accelerator="cpu",
        workers_per_device=options.workers,
        timeout=options.timeout,
        max_payload_size=options.limits.max_bytes + _MULTIPART_OVERHEAD,
        middlewares=[(RequestContext, {"routes": ROUTES})],
    )
    app = server.app
    app.title, app.version, app.description = "pneumonia", __version__, DISCLAIMER
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") not in _OF_LITSERVE]
    _add_error_handlers(app)
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


def _add_endpoints(app: FastAPI, server: ls.LitServer, model: dict[str, Any]) -> None:
    @app.get("/health")
    async def health() -> JSONResponse:
        """200 once every worker can predict, 503 before."""
        states = server.workers_setup_status.values()
        ready = bool(states) and all(state == WorkerSetupStatus.READY for state in states)
        return JSONResponse({"status": "ok" if ready else "starting"}, 200 if ready else 503)

    @app.get("/model/info")
    async def model_info() -> dict[str, Any]:
        """The bundle that is loaded: classes, operating point, metrics with intervals, provenance."""
        return model

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus text, over all processes."""
        from pneumonia.serving.metrics import exposition

        content, content_type = exposition()
        return Response(content, media_type=content_type)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase + "."
        return _error(request, error.status_code, phrase, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        fields = ", ".join(sorted({".".join(map(str, item["loc"])) for item in error.errors()}))
        message = f"Missing or invalid: {fields}. Send the radiograph as multipart field `file`."
        return _error(request, 422, message)

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> JSONResponse:
        del error
        return _error(request, 500, "The server failed; the request can be sent again.")


def _error(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    request_id = getattr(request.state, "request_id", "")
    return JSONResponse(error_body(CODE_OF_STATUS.get(status, "error"), message, request_id), status, headers)
