"""Who calls, on Google Cloud: the identity token of the machine's service account, for a service that asks for one.

Cloud Run lets a request in by a token that Google has signed for one audience, the service's address. A machine in
Google Cloud gets it from its metadata server, without a key that could be lost. It is sent as
`X-Serverless-Authorization`, which Cloud Run takes out, so that `Authorization` and `X-API-Key` stay the API's own:
https://cloud.google.com/run/docs/authenticating/service-to-service
"""

import base64
import json
import logging
import os
import re
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Any

import httpx

from pneumonia.errors import ApiError, ConfigError

IDENTITY_HEADER = "X-Serverless-Authorization"
# What Google's own libraries take the metadata server's address from.
METADATA_VARIABLE = "GCE_METADATA_HOST"
# The client's own code, for a token that is needed and not to be had.
NO_IDENTITY = "no_identity"

_METADATA_HOST = "metadata.google.internal"
_IDENTITY_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"
_FLAVOR = {"Metadata-Flavor": "Google"}
_SECONDS_TO_ASK = 3.0
# A token that ends sooner is not used: it has to hold until the request has arrived.
_MARGIN = 60.0
# As long is a machine without a metadata server taken for one that has none.
_SECONDS_WITHOUT = 60.0
_JWT = re.compile(r"[\w-]{1,8192}\.[\w-]{1,8192}\.[\w-]{0,8192}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:]{2,45}\](:[0-9]{1,5})?")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_log = logging.getLogger("pneumonia.client")


@dataclass(frozen=True)
class Token:
    """An identity token, and until when it holds, in seconds since 1970; the token is kept out of `repr`."""

    value: str
    expires: float

    def __repr__(self) -> str:
        return f"Token(expires={self.expires})"


def identity_for(base: httpx.URL, audience: str | None = None) -> "IdentityAuth | None":
    """What adds the token to each request to `base`; None where none is sent.

    Without `audience`, for https://*.run.app alone: there the audience is the address, and a machine that has no
    metadata server sends nothing, as a service may be open to all. With one, the token has to be had. Raises
    `ConfigError` when a token that was asked for would go over the network in the clear, and for a metadata server's
    address in the environment that is none.
    """
    if audience is not None:
        if not audience or not audience.isascii() or not audience.isprintable():
            raise ConfigError(f"{audience!r} is no audience: it is the address of the service, or what it is set to.")
        if base.scheme != "https" and base.host not in _LOOPBACK:
            raise ConfigError(f"An identity token is not sent over plain HTTP: write https:// for {base.host}.")
        return IdentityAuth(audience, needed=True)
    if base.scheme == "https" and base.host.endswith(".run.app"):
        return IdentityAuth(f"https://{base.host}", needed=False)
    return None


class IdentityAuth(httpx.Auth):
    """Adds the token for `audience`, which is asked for once and kept until shortly before it ends.

    Where it can't be had, raises `ApiError` when it is `needed`, and sends the request without it when not.
    """

    def __init__(self, audience: str, needed: bool) -> None:
        self.audience, self.needed = audience, needed
        self._connection = _connection()
        self._token: Token | None = None
        self._none_until = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with the token."""
        if self._wants_one():
            try:
                with httpx.Client(**self._connection) as metadata:
                    self._take(metadata.get(_IDENTITY_PATH, params=self._query()))
            except httpx.HTTPError as error:
                self._do_without(error)
        yield self._with_token(request)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """The request with the token."""
        if self._wants_one():
            try:
                async with httpx.AsyncClient(**self._connection) as metadata:
                    self._take(await metadata.get(_IDENTITY_PATH, params=self._query()))
            except httpx.HTTPError as error:
                self._do_without(error)
        yield self._with_token(request)

    def _wants_one(self) -> bool:
        if self._token is not None and self._token.expires - _MARGIN > time.time():
            return False
        self._token = None
        return time.monotonic() >= self._none_until

    def _query(self) -> dict[str, str]:
        return {"audience": self.audience, "format": "full"}

    def _take(self, response: httpx.Response) -> None:
        self._token = read_token(response)

    def _do_without(self, error: httpx.HTTPError) -> None:
        if self.needed:
            raise ApiError(
                "This machine has no identity to show: no metadata server of Google Cloud answers with a token for "
                f"{self.audience}. Run it in Google Cloud with a service account, or leave the audience out.",
                NO_IDENTITY,
            ) from error
        self._none_until = time.monotonic() + _SECONDS_WITHOUT
        _log.info("No identity token for %s is to be had here; asking without one.", self.audience)

    def _with_token(self, request: httpx.Request) -> httpx.Request:
        token = self._token
        if token is not None:
            request.headers[IDENTITY_HEADER] = f"Bearer {token.value}"
        return request


def read_token(response: httpx.Response) -> Token:
    """The token that a metadata server answered with.

    It is not verified, which is for the service to do. Raises `httpx.HTTPError` for an answer that is none.
    """
    text = response.text.strip() if response.status_code == 200 else ""
    # Another server, such as a captive portal's, does not say this of itself.
    if response.headers.get("metadata-flavor") != "Google" or not _JWT.fullmatch(text):
        raise httpx.RemoteProtocolError("What answers is no metadata server, or has no identity for this machine.")
    payload = text.split(".")[1]
    try:
        expires = float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise httpx.RemoteProtocolError("The metadata server's token does not say when it ends.") from error
    return Token(text, expires)


def _connection() -> dict[str, Any]:
    """What the client of the metadata server is made of. It is never asked through a proxy."""
    host = os.environ.get(METADATA_VARIABLE) or _METADATA_HOST
    if not _HOST.fullmatch(host):
        raise ConfigError(f"{METADATA_VARIABLE} is {host!r}, which is no host, or host:port.")
    return {"base_url": f"http://{host}", "headers": _FLAVOR, "timeout": _SECONDS_TO_ASK, "trust_env": False}
