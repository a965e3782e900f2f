"""The error contract: every failure is a status and `{"error": {"code", "message"}, "request_id"}`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from pneumonia.errors import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError

STATUS_OF_IMAGE_ERROR: dict[type[ImageError], int] = {
    DamagedImageError: 400,
    ImageTooLargeError: 413,
    UnsupportedImageError: 415,
}

# Not of HTTP, but what servers log when nobody is left to be answered.
CLIENT_GONE = 499

# Codes of errors that are not about an image.
CODE_OF_STATUS = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "slow_upload",
    409: "reload_under_way",
    413: "too_large",
    422: "invalid_request",
    CLIENT_GONE: "client_gone",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
    504: "timeout",
}

# What is said of them; of a status that is not here, its own phrase.
MESSAGE_OF_STATUS = {
    400: "The body is no multipart form that can be read. Send the radiograph as multipart field `file`.",
    401: "This server asks for an API key. Send it as X-API-Key, or as Authorization: Bearer.",
    404: "There is nothing at this path; /openapi.json lists what there is.",
    405: "This path takes other methods; the header Allow names them.",
    408: "The upload took too long. Send it again, over a faster line or at a smaller size.",
    413: "The body is larger than the server accepts. Send a smaller file.",
    CLIENT_GONE: "The client went away.",
    500: "The server failed; the request can be sent again.",
    503: "The server is busy; send the request again in a moment.",
    504: "No worker took the request in time; it can be sent again.",
}


def image_error_status(error: ImageError) -> int:
    """The HTTP status of an image that is refused."""
    return next((status for kind, status in STATUS_OF_IMAGE_ERROR.items() if isinstance(error, kind)), 400)


def error_body(code: str, message: str, request_id: str) -> dict[str, Any]:
    """The body of every error. `message` holds no path, no trace and nothing of the upload."""
    return {"error": {"code": code, "message": message}, "request_id": request_id}


def error_response(
    status: int, request_id: str, message: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer with a status: its code, and its message when none is given."""
    message = message or MESSAGE_OF_STATUS.get(status) or f"{HTTPStatus(status).phrase}."
    return JSONResponse(error_body(CODE_OF_STATUS.get(status, "error"), message, request_id), status, headers)
