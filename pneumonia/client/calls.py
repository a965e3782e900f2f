"""The calls of the API as values: what is sent, and which function reads what comes back. No network here."""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx

from pneumonia.client.answers import Health, read_health, read_model_info, read_prediction
from pneumonia.client.descriptions import Cards, Validation, read_cards, read_metrics, read_validation
from pneumonia.client.identity import identity_for
from pneumonia.errors import ConfigError
from pneumonia.inference.prediction import Prediction

API_KEY_HEADER = "X-API-Key"
REQUEST_ID_HEADER = "X-Request-ID"

# The server gives a request up after 30 s; this is a little more, so that its own word is heard.
DEFAULT_TIMEOUT = 35.0
_SECONDS_TO_CONNECT = 3.0
# What a header can carry, without spaces.
_TOKEN = re.compile(r"[!-~]+")

Value = TypeVar("Value")


@dataclass(frozen=True)
class Call(Generic[Value]):
    """One call of the API. `read` makes its value of a response, or raises; `film` is kept out of `repr`."""

    method: str
    path: str
    read: Callable[[httpx.Response], Value]
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    params: dict[str, str] = field(default_factory=dict)
    film: bytes | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        """What `httpx.Client.request` takes beside method and path. The film has no name there."""
        files = {} if self.film is None else {"files": {"file": ("film", self.film)}}
        return {"params": self.params, "headers": {REQUEST_ID_HEADER: self.request_id}, **files}


def predict_call(film: bytes, heatmap: bool, request_id: str | None) -> Call[Prediction]:
    """`POST /predict`. Raises `ConfigError` for a request id that no header can carry."""
    if request_id is not None and not _TOKEN.fullmatch(request_id):
        raise ConfigError("A request id is made of visible ASCII characters, best A-Z, a-z, 0-9, '.', '_' and '-'.")
    params = {"heatmap": "true"} if heatmap else {}
    return Call("POST", "/predict", read_prediction, request_id or uuid.uuid4().hex, params, film)


def model_info_call() -> Call[dict[str, Any]]:
    """`GET /model/info`."""
    return Call("GET", "/model/info", read_model_info)


def model_card_call() -> Call[Cards]:
    """`GET /model/card`."""
    return Call("GET", "/model/card", read_cards)


def validation_call() -> Call[Validation]:
    """`GET /model/validation`."""
    return Call("GET", "/model/validation", read_validation)


def metrics_call() -> Call[str]:
    """`GET /metrics`."""
    return Call("GET", "/metrics", read_metrics)


def health_call() -> Call[Health]:
    """`GET /health`."""
    return Call("GET", "/health", read_health)


def connection(url: str, api_key: str | None, timeout: float, audience: str | None = None) -> dict[str, Any]:
    """What `httpx.Client` and `httpx.AsyncClient` are made of.

    A user and password in the URL are sent as basic authentication, and taken out of it: httpx logs URLs. Without
    them, a service on Cloud Run, or the one of `audience`, gets the machine's identity token. Raises `ConfigError` for
    what is no URL of HTTP, for a key that no header can carry, and for an audience that can't be served.
    """
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL:
        base = httpx.URL()
    if base.scheme not in ("http", "https") or not base.host or not 0 < (base.port or 80) < 2**16:
        raise ConfigError(f"{shown_address(url)!r} is no address such as http://127.0.0.1:8000")
    if api_key is not None and not _TOKEN.fullmatch(api_key):
        raise ConfigError("The API key is empty, or has spaces or characters that no header can carry.")
    if base.userinfo and audience is not None:
        raise ConfigError("The address has a user and password: it takes these, or an audience, but not both.")
    return {
        "base_url": base.copy_with(username="", password="") if base.userinfo else base,
        "auth": (base.username, base.password) if base.userinfo else identity_for(base, audience),
        "headers": {} if api_key is None else {API_KEY_HEADER: api_key},
        "timeout": httpx.Timeout(timeout, connect=min(timeout, _SECONDS_TO_CONNECT)),
        # Films and keys go to the address that was given, and to no other.
        "follow_redirects": False,
    }


def shown_address(url: str) -> str:
    """The URL without user, password and query, for messages; of what is no URL, no more than can be shown safely."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that do not match
        parts = urlsplit("")
    if not parts.netloc:
        return url.rpartition("@")[2].partition("?")[0]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
