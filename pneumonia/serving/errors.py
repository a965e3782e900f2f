"""The error contract: every failure is a status and `{"error": {"code", "message"}, "request_id"}`."""

from typing import Any

from pneumonia.errors import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError

STATUS_OF_IMAGE_ERROR: dict[type[ImageError], int] = {
    DamagedImageError: 400,
    ImageTooLargeError: 413,
    UnsupportedImageError: 415,
}

# Codes of errors that are not about an image. Messages of other statuses are the status's own phrase.
CODE_OF_STATUS = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    422: "invalid_request",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
    504: "timeout",
}


def image_error_status(error: ImageError) -> int:
    """The HTTP status of an image that is refused."""
    return next((status for kind, status in STATUS_OF_IMAGE_ERROR.items() if isinstance(error, kind)), 400)


def error_body(code: str, message: str, request_id: str) -> dict[str, Any]:
    """The body of every error. `message` holds no path, no trace and nothing of the upload."""
    return {"error": {"code": code, "message": message}, "request_id": request_id}
