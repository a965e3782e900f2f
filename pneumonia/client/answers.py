"""What comes back, as pure functions: a response becomes a value of the package's own types, or its own error."""

import base64
import re
from email.utils import parsedate_to_datetime
from typing import Any, Literal, cast

import httpx

from pneumonia.errors import ApiError, DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction

Health = Literal["ok", "starting"]

# The client's own codes, for what is no answer of the API.
UNREACHABLE, NO_ANSWER, INTERRUPTED = "unreachable", "no_answer", "interrupted"
UNEXPECTED_ANSWER = "unexpected_answer"

_IMAGE_ERRORS = {kind.code: kind for kind in (DamagedImageError, UnsupportedImageError, ImageTooLargeError)}
_PNG = b"\x89PNG\r\n\x1a\n"
_SECONDS = re.compile(r"[0-9]{1,9}")
_LONGEST_TEXT = 1000


def read_prediction(response: httpx.Response) -> Prediction:
    """The prediction, its heatmap as PNG bytes where there is one. Raises `ApiError` and `ImageError`."""
    answer = content_of_ok(response)
    try:
        return _prediction(answer)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise unexpected(response) from error


def read_model_info(response: httpx.Response) -> dict[str, Any]:
    """What the server says of its model. Raises `ApiError`."""
    return content_of_ok(response)


def read_health(response: httpx.Response) -> Health:
    """`ok`, or `starting`, which is an answer and no error. Raises `ApiError` for any other."""
    status = (_content(response) or {}).get("status")
    if (response.status_code, status) in ((200, "ok"), (503, "starting")):
        return cast(Health, status)
    raise unexpected(response) if response.status_code == 200 else _refusal(response)


def lost(error: httpx.HTTPError, address: str, request_id: str) -> ApiError:
    """Why there is no answer at all from the server at `address`."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        message, code = f"No server can be reached at {address}: is it running, and is this its address?", UNREACHABLE
    elif isinstance(error, httpx.TimeoutException):
        message, code = f"The server at {address} did not answer in time; it may be busy.", NO_ANSWER
    elif isinstance(error, httpx.TransportError):
        message, code = f"The server at {address} broke off while it answered.", INTERRUPTED
    else:
        message, code = f"What answers at {address} can't be understood; check the address.", UNEXPECTED_ANSWER
    return ApiError(message, code, request_id=request_id)


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds from now that Retry-After names, 0 or more; None without it, or when it says nothing that can be read.

    It holds seconds, or a date (RFC 9110, 10.2.3), which is compared with the server's own clock, the header Date.
    """
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())


def content_of_ok(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a 200. Raises `ApiError` and `ImageError` for anything else."""
    if response.status_code != 200:
        raise _refusal(response)
    content = _content(response)
    if content is None:
        raise unexpected(response)
    return content


def _content(response: httpx.Response) -> dict[str, Any] | None:
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _refusal(response: httpx.Response) -> ApiError | ImageError:
    """The error that a status other than 200 tells of."""
    content = _content(response) or {}
    detail = content.get("error")
    if not isinstance(detail, dict) or not detail.get("code"):
        return unexpected(response)
    code, message = _text(detail["code"]), _text(detail.get("message", ""))
    request_id = _text(content.get("request_id") or _request_id(response))
    if code in _IMAGE_ERRORS:
        error = _IMAGE_ERRORS[code](message)
        error.add_note(f"Request {request_id}.")
        return error
    return ApiError(message, code, response.status_code, request_id, retry_after(response.headers))


def unexpected(response: httpx.Response) -> ApiError:
    """The error of an answer that is none of the API."""
    message = "The answer is not one of the API, but of another server or a proxy; check the address."
    seconds = retry_after(response.headers)
    return ApiError(message, UNEXPECTED_ANSWER, response.status_code, _request_id(response), seconds)


def _request_id(response: httpx.Response) -> str:
    return _text(response.headers.get("x-request-id", ""))


def _prediction(answer: dict[str, Any]) -> Prediction:
    """Raises one of the errors that `read_prediction` catches for what is no prediction."""
    checked, heatmap = answer["input_check"], answer.get("heatmap")
    reasons = [_text(reason) for reason in checked["reasons"]]
    return Prediction(
        prediction=_text(answer["prediction"]),
        class_index=int(answer["class_index"]),
        probability=_share(answer["probability"]),
        threshold=_share(answer["threshold"]),
        probabilities={_text(name): _share(value) for name, value in answer["probabilities"].items()},
        prediction_set=[_text(name) for name in answer["prediction_set"]],
        coverage=_share(answer["coverage"]),
        abstained=_flag(answer["abstained"]),
        input_check=InputCheck(_flag(checked["passed"]), reasons, float(checked["score"])),
        model=_text(answer["model"]),
        heatmap=_png(heatmap) if heatmap else None,
    )


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:  # which also turns NaN away
        raise ValueError("not between 0 and 1")
    return share


def _flag(value: Any) -> bool:
    """Whether an answer may be used is not guessed from what is merely like a truth value."""
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _png(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if not data.startswith(_PNG):
        raise ValueError("no PNG")
    return data


def _text(value: Any) -> str:
    """One line without control characters, which a terminal would obey, and of a bounded length."""
    return "".join(letter if letter.isprintable() else " " for letter in str(value)[:_LONGEST_TEXT])
