"""Who may ask: with keys, every call but a few open ones needs one, before any of its body is read."""

import logging

from starlette.types import ASGIApp, Receive, Scope, Send

from pneumonia.serving.errors import error_response
from pneumonia.serving.keys import ApiKeys

# What a load balancer or a supervisor asks: they say nothing but whether the server is ready, or runs.
OPEN_PATHS = frozenset({"/health", "/health/live"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pneumonia"'}

logger = logging.getLogger(__name__)


class KeyCheck:
    """Answer 401 unless `X-API-Key: KEY` or `Authorization: Bearer KEY` has a key of the list.

    Names of keys are logged, keys never.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that may be."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        request_id = scope.get("state", {}).get("request_id", "")
        presented = _presented(scope)
        # Two keys, and it would be open which of them a proxy has looked at.
        holder = self.keys.holder(presented[0]) if len(presented) == 1 else None
        if holder is None:
            logger.info("%s: %s", request_id, "a wrong key" if presented else "no key")
            await error_response(401, request_id, headers=_CHALLENGE)(scope, receive, send)
            return
        logger.info("%s: the key %s", request_id, holder)
        await self.app(scope, receive, send)


def _presented(scope: Scope) -> list[bytes]:
    keys = []
    for name, value in scope["headers"]:
        scheme, _, credentials = value.strip().partition(b" ")
        if name == b"x-api-key":
            keys.append(value.strip())
        elif name == b"authorization" and scheme.lower() == b"bearer":
            keys.append(credentials.strip())
    return keys
