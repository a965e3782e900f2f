"""The endpoints around the LitAPI, and what every error of the app looks like."""

from typing import Annotated, Any

import litserve as ls
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from litserve.utils import WorkerSetupStatus
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from pneumonia.serving.admission import Load, predict_within
from pneumonia.serving.api import Upload, read_upload
from pneumonia.serving.docs_page import POLICY, docs_page
from pneumonia.serving.errors import error_response
from pneumonia.serving.middleware import REQUEST_ID_HEADER, SECURITY_HEADERS
from pneumonia.serving.schema import HealthBody, ModelInfoBody, PredictionBody, error_responses

_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": HealthBody, "description": "Not yet."}}
_KEY_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def add_predict(app: FastAPI, load: Load) -> None:
    """LitServe adds `/predict` without a word about it: put it there within the limits and with its contract."""
    route = next(route for route in app.router.routes if isinstance(route, APIRoute) and route.path == "/predict")
    app.router.routes.remove(route)

    async def predict(request: Request, upload: Annotated[Upload, Depends(read_upload)]) -> Response:
        return await predict_within(load, request, upload, route.endpoint)

    app.add_api_route(
        route.path,
        predict,
        methods=["POST"],
        dependencies=route.dependencies,
        operation_id="predict",
        summary="Classify one radiograph",
        description="NORMAL or PNEUMONIA, with a calibrated probability and a check that the file can be a chest film.",
        response_model=PredictionBody,
        response_description="The prediction.",
        responses=error_responses(400, 401, 408, 413, 415, 422, 500, 503, 504),
    )


def add_endpoints(app: FastAPI, server: ls.LitServer, model: dict[str, Any]) -> None:
    """Everything but `/predict`; `model` is what `/model/info` answers."""

    @app.get("/health", operation_id="health", summary="Readiness", response_model=HealthBody, responses=_NOT_READY)
    async def health() -> JSONResponse:
        """200 once every worker can predict, 503 before."""
        states = server.workers_setup_status.values()
        ready = bool(states) and all(state == WorkerSetupStatus.READY for state in states)
        return JSONResponse({"status": "ok" if ready else "starting"}, 200 if ready else 503)

    @app.get(
        "/model/info",
        operation_id="model_info",
        summary="The bundle that is loaded",
        response_model=ModelInfoBody,
        responses=error_responses(401),
    )
    async def model_info() -> JSONResponse:
        """Classes, operating point, metrics with intervals, provenance."""
        return JSONResponse(model)

    @app.get(
        "/metrics",
        operation_id="metrics",
        summary="Metrics",
        response_class=PlainTextResponse,
        responses=error_responses(401),
    )
    async def metrics() -> Response:
        """Prometheus text, over all processes."""
        from pneumonia.serving.metrics import exposition

        content, content_type = exposition()
        return Response(content, media_type=content_type)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()), headers={"Content-Security-Policy": POLICY})


def describe_keys(app: FastAPI) -> None:
    """Tell clients that are generated from `/openapi.json` how a key is sent."""
    document = app.openapi()
    document["components"]["securitySchemes"] = _KEY_SCHEMES
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if path == "/health" else [{"key": []}, {"bearer": []}]


def add_error_handlers(app: FastAPI) -> None:
    """The contract's body for every error: of the app, of a request that is not valid, and of a bug."""

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return error_response(error.status_code, _id_of(request), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        fields = ", ".join(sorted({".".join(map(str, item["loc"])) for item in error.errors()}))
        message = f"Missing or invalid: {fields}. Send the radiograph as multipart field `file`."
        return error_response(422, _id_of(request), message)

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> JSONResponse:
        del error
        answer = error_response(500, _id_of(request))
        # This answer alone does not pass through RequestContext.
        for name, value in {REQUEST_ID_HEADER: _id_of(request).encode(), **SECURITY_HEADERS}.items():
            answer.headers[name.decode()] = value.decode()
        return answer


def _id_of(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))
