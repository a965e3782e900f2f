"""The page's HTML document as a browser gets it: its language, and scripts of our own that run before Gradio's."""

import re
from importlib.resources import files

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pneumonia.demo.strings import Strings

_ASSETS = files("pneumonia.demo") / "assets"
# Addresses of other machines, for programs that show a preview of a link.
_PREVIEWS = re.compile(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>')

# Gradio's own words follow the browser's language; here they follow the page's.
_LANGUAGE = """for (const [name, value] of [['language', '{0}'], ['languages', ['{0}']]]) {{
  Object.defineProperty(navigator, name, {{ get: () => value }});
}}"""


class OwnDocument:
    """Give the page's document the language of its strings and the scripts of `assets`."""

    def __init__(self, app: ASGIApp, say: Strings) -> None:
        self.app, self._language = app, say.language
        self._head = "".join(f"<script>{script}</script>" for script in [_LANGUAGE.format(say.language), *scripts()])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; the answer to one for the document is changed."""
        if scope["type"] != "http" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        # An answer that is compressed can't be changed.
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        start: Message = {}
        body = b""

        async def collect(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            headers = MutableHeaders(raw=list(start["headers"]))
            if body and headers.get("content-type", "").startswith("text/html"):
                body = self._changed(body.decode("utf-8")).encode("utf-8")
                headers["content-length"] = str(len(body))
            await send({**start, "headers": headers.raw})
            await send({"type": "http.response.body", "body": body})

        await self.app({**scope, "headers": plain}, receive, collect)

    def _changed(self, document: str) -> str:
        own = document.replace('lang="en"', f'lang="{self._language}"', 1)
        return _PREVIEWS.sub("", own).replace("<head>", f"<head>{self._head}", 1)


def scripts() -> list[str]:
    """The package's own scripts, in the order of their names."""
    paths = sorted((path for path in _ASSETS.iterdir() if path.name.endswith(".js")), key=lambda path: path.name)
    return [path.read_text("utf-8") for path in paths]
