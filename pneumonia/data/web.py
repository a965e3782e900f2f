"""Addresses that are read, how one is opened, and what a server's refusal means for the one who asked."""

import http.client
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from pneumonia import __version__
from pneumonia.errors import DataError

BY_HAND = "download it with a browser and give the file's path as the source"

_TRY_AGAIN = frozenset({408, 416, 425, 429})
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_REFUSALS = {
    401: f"it wants a login; {BY_HAND}",
    403: f"it wants a login or a permission; {BY_HAND}",
    404: f"nothing is there; check the address, or {BY_HAND}",
    410: f"it is there no more; check the address, or {BY_HAND}",
}


class InterruptedTransferError(Exception):
    """A transfer that is worth another try: never seen outside of the download.

    `status` is the HTTP status if there was one; `wait` the seconds that the server asked to be left alone for.
    """

    def __init__(self, reason: str, status: int = 0, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.wait = status, wait


def split_checksum(url: str, sha256: str | None = None) -> tuple[str, str | None]:
    """(address, SHA-256 in lower case or none) of a URL that may end in `#sha256=<hex>`.

    Raises `DataError` for an address that is not http(s) or carries a password, and for a checksum that is none.
    """
    address, _, fragment = url.partition("#")
    try:
        parts, port = urlsplit(address), urlsplit(address).port
    except ValueError as error:
        raise DataError(f"The address is not valid ({error}): copy it again.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise DataError(f"The address {shown(address)} is not read: give one that begins with https:// or http://.")
    if parts.username is not None:
        raise DataError(f"The address at {parts.hostname} carries a login, which is never sent: {BY_HAND}.")
    if fragment and not fragment.startswith("sha256="):
        raise DataError(f"The end of the address, #{fragment}, is not understood: it may be #sha256=<64 hex digits>.")
    return address, one_checksum(fragment.removeprefix("sha256="), sha256)


def one_checksum(*sums: str | None) -> str | None:
    """The one SHA-256 among several that may be empty. Raises `DataError` for two that differ, or for no hex digest."""
    given = {value.lower() for value in sums if value}
    if any(not _SHA256.fullmatch(value) for value in given):
        raise DataError("The SHA-256 of the source must be 64 hexadecimal digits.")
    if len(given) > 1:
        raise DataError("The address and the option give different SHA-256 sums: leave out the wrong one.")
    return next(iter(given), None)


def shown(address: str) -> str:
    """An address for messages: without login, query and fragment, which may be secrets."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextmanager
def open_address(address: str, headers: dict[str, str], timeout: float) -> Iterator[http.client.HTTPResponse]:
    """Yield the answer (200 or 206) to a GET; redirects are followed to http(s) only, and never from https to http.

    `timeout` in seconds holds for the connection and each read. Whatever breaks in the `with` and may pass by itself is
    raised as `InterruptedTransferError`, what will not as `DataError`.
    """
    # No default opener: that one also reads file:, data: and ftp:.
    opener = OpenerDirector()
    for handler in (
        ProxyHandler,
        HTTPHandler,
        HTTPSHandler,
        _WebRedirects,
        HTTPDefaultErrorHandler,
        HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    identity = {"User-Agent": f"pneumonia/{__version__}", "Accept-Encoding": "identity"}
    try:
        with opener.open(Request(address, headers=identity | headers), timeout=timeout) as response:  # noqa: S310
            yield response
    except HTTPError as error:
        error.close()
        raise _refusal(error, address) from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DataError(
                f"The certificate of {shown(address)} is not trusted ({error.reason}): {BY_HAND}."
            ) from error
        raise InterruptedTransferError(f"the server can't be reached ({error.reason})") from error
    except (http.client.InvalidURL, UnicodeError) as error:
        raise DataError(
            f"The address {shown(address)!r} is not valid: spaces and letters like é are to be %-quoted."
        ) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise InterruptedTransferError(f"the connection broke ({type(error).__name__})") from error


class _WebRedirects(HTTPRedirectHandler):
    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> Request | None:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            return None  # urllib then raises the redirect itself as an HTTPError
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refusal(error: HTTPError, address: str) -> DataError | InterruptedTransferError:
    if error.code >= 500 or error.code in _TRY_AGAIN:
        after = error.headers.get("Retry-After", "")
        return InterruptedTransferError(f"HTTP {error.code}", error.code, float(after) if after.isdecimal() else 0.0)
    if 300 <= error.code < 400:
        reason = f"it leads on to an address that is not followed; {BY_HAND}"
    else:
        reason = _REFUSALS.get(error.code, f"the server refuses; check the address, or {BY_HAND}")
    return DataError(f"{shown(address)} can't be downloaded (HTTP {error.code}): {reason}.")
