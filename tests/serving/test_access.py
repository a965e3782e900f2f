"""Who may ask: keys, pages of other origins, and the headers that every answer carries."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pneumonia.serving.docs_page import docs_page
from pneumonia.serving.keys import new_key
from pneumonia.serving.schema import ErrorBody
from tests.serving.test_limits import connected, head, received

if TYPE_CHECKING:
    from tests.serving.conftest import Running

PAGE, OTHER = "https://ward.example", "https://evil.example"
CLOSED = [
    "/predict",
    "/model/info",
    "/metrics",
    "/admin/reload",
    "/openapi.json",
    "/docs",
    "/nowhere",
    "/health/",
    "//health",
    "/Health",
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = str(tmp_path_factory.mktemp("access") / "keys")
    return {"file": path, **{name: new_key(path, name) for name in ("ward-7", "study")}}


@pytest.fixture(scope="module")
def closed(starter: Callable[..., "Running"], keys: dict[str, str]) -> "Running":
    """A server with two keys and one page's origin that logs whatever it would ever log."""
    return starter("--api-keys", keys["file"], "--cors-origin", PAGE, "--log-level", "debug")


def ask(server: "Running", headers: Any, film: bytes = b"") -> httpx.Response:
    return httpx.post(f"{server.url}/predict", files={"file": film}, headers=headers, timeout=60)


@pytest.mark.parametrize("name", ["ward-7", "study"])
@pytest.mark.parametrize(
    "header", [("X-API-Key", "{}"), ("Authorization", "Bearer {}"), ("authorization", "bearer  {}")]
)
def test_each_key_opens_in_either_header(
    closed: "Running", keys: dict[str, str], film: bytes, name: str, header: tuple[str, str]
) -> None:
    assert ask(closed, {header[0]: header[1].format(keys[name])}, film).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
def test_nothing_else_than_health_answers_without_a_key(closed: "Running", path: str) -> None:
    for response in (httpx.get(closed.url + path), httpx.post(closed.url + path), httpx.head(closed.url + path)):
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_health_is_open(closed: "Running", path: str) -> None:
    assert httpx.get(closed.url + path).json() == {"status": "ok"}


def test_a_wrong_key_is_told_no_more_than_none(closed: "Running", keys: dict[str, str]) -> None:
    wrong = [
        [],
        [("X-API-Key", "")],
        [("X-API-Key", "secret")],
        [("X-API-Key", keys["study"][:-1])],
        [("X-API-Key", keys["study"] + "A")],
        [("X-API-Key", "pneu_" + "A" * 43)],
        [("Authorization", keys["study"])],
        [("Authorization", f"Basic {keys['study']}")],
        [("X-API-Key", keys["study"]), ("X-API-Key", keys["ward-7"])],
        [("X-API-Key", keys["study"]), ("Authorization", "Bearer nonsense")],
        [("Cookie", f"X-API-Key={keys['study']}")],
    ]
    answers = [ask(closed, headers) for headers in wrong]
    assert {answer.status_code for answer in answers} == {401}
    assert {ErrorBody.model_validate(answer.json()).error.code for answer in answers} == {"unauthorized"}
    assert len({answer.json()["error"]["message"] for answer in answers}) == 1
    assert httpx.post(f"{closed.url}/predict?X-API-Key={keys['study']}").status_code == 401


def test_without_a_key_no_body_is_read(closed: "Running") -> None:
    with connected(closed, head(10_000_000, "Expect: 100-continue")) as connection:
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_names_of_keys_are_logged_and_keys_never(closed: "Running", keys: dict[str, str], film: bytes) -> None:
    ask(closed, {"X-API-Key": keys["ward-7"], "X-Request-ID": "visit-7"}, film)
    ask(closed, {"X-API-Key": keys["study"] + "A", "X-Request-ID": "visit-8"})
    assert "visit-7: the key ward-7" in closed.text
    assert "visit-8: a wrong key" in closed.text
    assert not [secret for secret in (keys["ward-7"], keys["study"], keys["study"][5:20]) if secret in closed.text]


def test_generated_clients_learn_how_to_send_a_key(closed: "Running", keys: dict[str, str], server: str) -> None:
    document = httpx.get(f"{closed.url}/openapi.json", headers={"X-API-Key": keys["study"]}).json()
    assert document["components"]["securitySchemes"]["key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    security = {path: operation["security"] for path, each in document["paths"].items() for operation in each.values()}
    assert security.pop("/health") == security.pop("/health/live") == []
    assert all(each == [{"key": []}, {"bearer": []}] for each in security.values())
    assert "securitySchemes" not in httpx.get(f"{server}/openapi.json").json()["components"]


def preflight(url: str, origin: str) -> httpx.Response:
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    return httpx.options(f"{url}/predict", headers={"Origin": origin, **wanted})


def test_a_page_that_is_named_may_call_and_is_asked_for_a_key(
    closed: "Running", keys: dict[str, str], film: bytes
) -> None:
    allowed = preflight(closed.url, PAGE)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "X-API-Key" in allowed.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in allowed.headers
    refused = ask(closed, {"Origin": PAGE})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    answer = ask(closed, {"Origin": PAGE, "X-API-Key": keys["study"]}, film)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


def test_another_page_may_not(closed: "Running", keys: dict[str, str], film: bytes) -> None:
    assert preflight(closed.url, OTHER).status_code == 400
    answer = ask(closed, {"Origin": OTHER, "X-API-Key": keys["study"]}, film)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", [PAGE, OTHER, "null", "http://127.0.0.1:8000"])
def test_unless_it_is_asked_for_no_page_may(server: str, origin: str) -> None:
    assert preflight(server, origin).status_code == 405
    answer = httpx.get(f"{server}/health", headers={"Origin": origin})
    assert not [name for name in answer.headers if name.startswith("access-control")]


PROTECTED = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def test_every_answer_carries_the_headers_that_protect_it(closed: "Running", keys: dict[str, str], film: bytes) -> None:
    key = {"X-API-Key": keys["study"]}
    answers = [
        ask(closed, key, film),
        ask(closed, key),
        ask(closed, {}),
        preflight(closed.url, PAGE),
        *(httpx.get(closed.url + path, headers=key) for path in (*CLOSED, "/health")),
    ]
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 404, 405}
    for answer in answers:
        assert {name: answer.headers[name] for name in PROTECTED} == PROTECTED
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
        assert answer.headers["content-security-policy"].endswith("frame-ancestors 'none'")
        assert "server" not in answer.headers


class TestDocsPage:
    def test_it_loads_nothing_and_its_policy_admits_its_style(self, server: str) -> None:
        response = httpx.get(f"{server}/docs")
        assert response.headers["content-type"].startswith("text/html")
        assert not re.search(r"https?:|<script|src=|@import|url\(| on\w+=| style=", response.text)
        assert re.search(r"style-src 'sha256-[A-Za-z0-9+/]{43}='", response.headers["content-security-policy"])

    def test_it_tells_of_every_operation_and_its_errors(self, server: str) -> None:
        page = httpx.get(f"{server}/docs").text
        for path, operations in httpx.get(f"{server}/openapi.json").json()["paths"].items():
            assert all(f"{method.upper()} {path}" in page for method in operations)
        assert all(f"<td>{status}" in page for status in (401, 408, 413, 503))

    def test_its_form_is_what_predict_takes(self, server: str, film: bytes) -> None:
        forms: list[dict[str, str | None]] = []

        class Forms(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                if tag in ("form", "input"):
                    forms.append(dict(attrs))

        Forms().feed(httpx.get(f"{server}/docs").text)
        form, field = forms
        assert (form["method"], form["enctype"], field["type"]) == ("post", "multipart/form-data", "file")
        response = httpx.post(f"{server}/{form['action']}", files={str(field["name"]): film}, timeout=60)
        assert response.status_code == 200

    def test_what_a_description_says_is_text(self) -> None:
        operation = {"summary": "<b>", "description": "`<i>`", "responses": {"200": {"description": "<u>"}}}
        info = {"title": "<script>", "version": "<script>", "description": "<script>"}
        page = docs_page({"info": info, "paths": {"/<a>": {"get": operation}}})
        assert not re.search("<(script|b|i|u|a)>", page)

    @pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
    def test_pages_that_run_a_cdns_scripts_are_gone(self, server: str, path: str) -> None:
        assert httpx.get(server + path).status_code == 404


@pytest.mark.parametrize("content", [None, "", "nonsense"])
def test_keys_that_can_not_be_read_open_nothing(
    command: Callable[..., Any], bundle_dir: Path, tmp_path: Path, free_port: int, content: str | None
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    result = command("serve", "--bundle", bundle_dir, "--port", free_port, "--api-keys", path)
    assert result.returncode == 1
    assert result.stderr.startswith("pneumonia: error: ")
    assert "http://" not in result.stdout
