"""What the page's server tells a browser not to do: to load or send anything elsewhere, or to name this page there."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio's scripts build functions from text and styles in place; all of them come from the page's own server.
_CONTENT = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; form-action 'self'"

_HEADERS = [
    (b"content-security-policy", _CONTENT.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class StayHere:
    """Add the headers to every answer; Content Security Policy Level 3 (W3C) says what a browser then refuses."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self.app(scope, receive, answer)
