"""The endpoints around the LitAPI, and what every error of the app looks like."""

from typing import Annotated, Any, Protocol

from fastapi import FastAPI, File, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from litserve.server import no_auth
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from pneumonia.serving.admission import Load, predict_within
from pneumonia.serving.api import Upload
from pneumonia.serving.authentication import OPEN_PATHS
from pneumonia.serving.described import Described
from pneumonia.serving.docs_page import POLICY, docs_page
from pneumonia.serving.errors import error_response
from pneumonia.serving.middleware import REQUEST_ID_HEADER, SECURITY_HEADERS
from pneumonia.serving.router import Router
from pneumonia.serving.schema import (
    REFUSED_RELOAD,
    HealthBody,
    LiveBody,
    ModelCardBody,
    ModelInfoBody,
    PredictionBody,
    ReloadBody,
    ValidationBody,
    error_responses,
)
from pneumonia.serving.vitals import State, Vitals

_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": HealthBody, "description": "Not yet."}}
_KEY_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


class Served(Protocol):
    """What the endpoints ask of the server."""

    vitals: Vitals

    @property
    def router(self) -> Router:
        """To the workers, in a process that speaks HTTP."""

    @property
    def described(self) -> Described:
        """What is said of the bundle that is served."""


def add_predict(app: FastAPI, server: "Served", load: Load) -> None:
    """LitServe adds `/predict` without a word about it: put it there within the limits and with its contract.

    LitServe's dependency stays where it asks for a key (`LIT_SERVER_API_KEY`); the one that asks for none would take
    every request through a thread.
    """
    route = next(route for route in app.router.routes if isinstance(route, APIRoute) and route.path == "/predict")
    app.router.routes.remove(route)

    async def predict(
        request: Request,
        file: Annotated[UploadFile, File(description="One radiograph as JPEG, PNG, TIFF, WebP or DICOM.")],
        heatmap: Annotated[bool, Query(description="Add a heatmap to the answer.")] = False,
    ) -> Response:
        upload = Upload(await file.read(), heatmap, request.state.request_id)
        return await predict_within(load, request, upload, server.router)

    app.add_api_route(
        route.path,
        predict,
        methods=["POST"],
        dependencies=[each for each in route.dependencies if each.dependency is not no_auth],
        operation_id="predict",
        summary="Classify one radiograph",
        description="NORMAL or PNEUMONIA, with a calibrated probability and a check that the file can be a chest film.",
        response_model=PredictionBody,
        response_description="The prediction.",
        responses=error_responses(400, 401, 408, 413, 415, 422, 500, 503, 504),
    )


def add_endpoints(app: FastAPI, server: "Served", load: Load) -> None:
    """Everything but `/predict`."""

    @app.get("/health", operation_id="health", summary="Readiness", response_model=HealthBody, responses=_NOT_READY)
    async def health() -> JSONResponse:
        """200 once every worker can predict, and while one that ended is replaced and another answers; else 503."""
        ready = server.vitals.state == State.READY
        return JSONResponse({"status": "ok" if ready else "starting"}, 200 if ready else 503)

    @app.get("/health/live", operation_id="live", summary="Liveness", response_model=LiveBody)
    async def live() -> JSONResponse:
        """200 for as long as the process that is asked runs, ready or not."""
        return JSONResponse({"status": "ok"})

    @app.get(
        "/model/info",
        operation_id="model_info",
        summary="The bundle that is loaded",
        response_model=ModelInfoBody,
        responses=error_responses(401),
    )
    async def model_info() -> JSONResponse:
        """Classes, operating point, metrics with intervals, provenance."""
        return JSONResponse(server.described.info)

    @app.get(
        "/model/card",
        operation_id="model_card",
        summary="The model card and the data card",
        response_model=ModelCardBody,
        responses=error_responses(401),
    )
    async def model_card() -> JSONResponse:
        """What the model is for, how it was made and measured, and where it fails, as Markdown."""
        return JSONResponse(server.described.card)

    @app.get(
        "/model/validation",
        operation_id="model_validation",
        summary="Its answers for the films that were held out of training",
        response_model=ValidationBody,
        responses=error_responses(401, 404),
    )
    async def model_validation(request: Request) -> JSONResponse:
        """What any threshold would have decided can be counted from them. No film, name or patient is in it."""
        validation = server.described.validation
        if validation is None:
            return error_response(404, _id_of(request), "The bundle does not hold its answers; export it again.")
        return JSONResponse(validation)

    @app.get(
        "/metrics",
        operation_id="metrics",
        summary="Metrics",
        response_class=PlainTextResponse,
        responses=error_responses(401),
    )
    async def metrics() -> Response:
        """Prometheus text, over all processes."""
        from pneumonia.serving.metrics import SharedCollector, exposition

        info = server.described.info
        model = (str(info["name"]), str(info["version"]))
        content, content_type = exposition(SharedCollector(load, server.vitals, model))
        return Response(content, media_type=content_type)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()), headers={"Content-Security-Policy": POLICY})


def add_reload(app: FastAPI, server: "Served") -> None:
    """What an operator can ask for; only where keys say who may."""

    @app.post(
        "/admin/reload",
        operation_id="reload",
        summary="Load the bundle anew",
        response_model=ReloadBody,
        responses={**error_responses(401, 409, 503), **REFUSED_RELOAD},
    )
    async def reload(request: Request) -> JSONResponse:
        """As SIGHUP does: `--bundle` or `--registry` is looked up again. Answered once the new bundle is served."""
        status, body = await server.router.reload()
        return JSONResponse(body if status == 200 else {**body, "request_id": _id_of(request)}, status)


def describe_keys(app: FastAPI) -> None:
    """Tell clients that are generated from `/openapi.json` how a key is sent."""
    document = app.openapi()
    document["components"]["securitySchemes"] = _KEY_SCHEMES
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if path in OPEN_PATHS else [{"key": []}, {"bearer": []}]


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
