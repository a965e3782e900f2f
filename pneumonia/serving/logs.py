"""What the server prints: lines for people, or one JSON object a line, and in either a line for each request.

No line has a file's name, a query, a key, or anything of what a client sent but its method and a request id that is fit
to be logged.
"""

import json
import logging
import sys
import warnings
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Format = Literal["text", "json"]

# Of the request that is at work; empty where there is none.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
_access = logging.getLogger("pneumonia.access")
_notices = logging.getLogger("pneumonia.notice")
_ACCESS_FIELDS = "access"


@dataclass(frozen=True)
class LogOptions:
    """How much is printed, and how. The lines for requests are printed at `info`; as JSON, always."""

    level: str = "warning"
    format: Format = "text"


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: `time` (UTC, ISO 8601), `level`, `logger`, `message`, `request_id` or null.

    A line for a request has `method`, `route`, `status`, `milliseconds`, `bytes` (of the answer) and `bytes_received`
    besides; one for an exception has `exception`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get() or None,
            **getattr(record, _ACCESS_FIELDS, {}),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content)


def log_to_stdout(options: LogOptions) -> None:
    """Set the loggers of a process up.

    As text, only the package's own and LitServe's are printed. uvicorn has handlers of its own then, for stderr.
    """
    handler = logging.StreamHandler(sys.stdout)
    as_json = options.format == "json"
    handler.setFormatter(
        JsonFormatter() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    for name in ("pneumonia", "litserve", *(("uvicorn", "py.warnings") if as_json else ())):
        logger = logging.getLogger(name)
        logger.setLevel(options.level.upper())
        logger.handlers[:] = [handler]
        logger.propagate = False
    _notices.setLevel(logging.INFO)
    if as_json:
        logging.captureWarnings(True)
        warnings.simplefilter("default")
        _access.setLevel(logging.INFO)


def notice(message: str) -> None:
    """Print a line whatever the level is: what an operator has asked for, and is waiting for."""
    _notices.info(message)


def log_request(method: str, route: str, status: int, seconds: float, received: int, sent: int) -> None:
    """One line for a request that is answered, or whose client went away."""
    if not _access.isEnabledFor(logging.INFO):
        return
    fields = {
        "method": method,
        "route": route,
        "status": status,
        "milliseconds": round(1000 * seconds, 1),
        "bytes": sent,
        "bytes_received": received,
    }
    sizes = f"{received} bytes in, {sent} bytes out"
    message = f"{method} {route} {status}, {1000 * seconds:.1f} ms, {sizes}, {REQUEST_ID.get()}"
    _access.info(message, extra={_ACCESS_FIELDS: fields})
