"""`GET /docs`: the contract for people, with a form to try it; one page without a script and without a CDN.

FastAPI's own page runs scripts of a content delivery network, which a closed network does not reach and an open one
has to trust.
"""

import base64
import hashlib
from html import escape
from typing import Any

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em}section{border-top:1px solid #8886;margin-top:1.5rem}"
    "td{padding:.1rem 1rem .1rem 0;vertical-align:top}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_FORM = """<section><h2>Try it</h2><form action="predict" method="post" enctype="multipart/form-data">
<p><label>A radiograph: <input type="file" name="file" required></label> <button>Predict</button></p></form>
<p>The answer is the JSON that a program gets. A key, where the server asks for one, only a program can send.</p>
</section>"""


def docs_page(openapi: dict[str, Any]) -> str:
    """HTML for the operations of an OpenAPI document."""
    info = openapi["info"]
    sections = [
        _section(method, path, operation)
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>"
        f'<p>For programs: <a href="openapi.json">openapi.json</a></p>{"".join(sections)}{_FORM}</html>'
    )


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    answers = "".join(
        f"<tr><td>{escape(status)}<td>{_code(answer.get('description', ''))}"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<section><h2><code>{escape(method.upper())} {escape(path)}</code> {escape(operation['summary'])}</h2>"
        f"<p>{_code(operation.get('description', ''))}</p><table>{answers}</table></section>"
    )


def _code(text: str) -> str:
    """Escaped, with what is between backticks set as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
