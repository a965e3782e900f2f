"""The identity token of Google Cloud: from a metadata server on the loopback, to a server that looks for it."""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import httpx
import pytest

from pneumonia.cli import main
from pneumonia.client import AsyncClient, Client
from pneumonia.client.identity import IDENTITY_HEADER, METADATA_VARIABLE, Token, identity_for, read_token
from pneumonia.demo.client import ApiClient
from pneumonia.errors import ApiError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.conftest import Face
    from tests.stand_in import Reply, StandIn

    Start = Callable[..., StandIn]

AUDIENCE = "https://pneumonia-api-abc123-ew.a.run.app"
FLAVOR = {"Metadata-Flavor": "Google"}


def jwt(expires: object) -> str:
    """A token of the form that Google signs, with a signature that is none."""
    parts = ({"alg": "RS256"}, {"aud": AUDIENCE, "exp": expires})
    header, payload = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{header}.{payload}.signature"


@pytest.fixture
def metadata(stand_in: "Start", reply: "type[Reply]", monkeypatch: pytest.MonkeyPatch) -> "Callable[..., StandIn]":
    """A metadata server that answers with these tokens in turn."""

    def start(token: str, *later: str, status: int = 200, headers: dict[str, str] = FLAVOR) -> "StandIn":
        server = stand_in(*[reply(status, each.encode(), headers) for each in (token, *later)])
        monkeypatch.setenv(METADATA_VARIABLE, server.url.removeprefix("http://"))
        return server

    return start


def test_a_request_carries_the_token_for_its_audience(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", metadata: "Start"
) -> None:
    token = jwt(time.time() + 3600)
    google, server = metadata(token), stand_in(reply())
    ask(server.url, "predict", b"the film", client={"api_key": "secret", "audience": AUDIENCE})
    (asked,) = google.asked
    assert asked.path == (
        "/computeMetadata/v1/instance/service-accounts/default/identity"
        "?audience=https%3A%2F%2Fpneumonia-api-abc123-ew.a.run.app&format=full"
    )
    assert asked.headers["metadata-flavor"] == "Google"
    (asked,) = server.asked
    assert asked.headers[IDENTITY_HEADER] == f"Bearer {token}"
    # They are the API's own: a bearer beside the key would be a second key.
    assert (asked.headers["x-api-key"], asked.headers["authorization"]) == ("secret", None)


def test_a_token_is_asked_for_once_until_it_is_about_to_end(
    stand_in: "Start", reply: "type[Reply]", metadata: "Start"
) -> None:
    old, new = jwt(time.time() + 30), jwt(time.time() + 3600)
    google, server = metadata(old, new), stand_in(reply())
    with Client(server.url, audience=AUDIENCE) as client:
        for _ in range(4):
            client.predict(b"the film")
    assert [asked.headers[IDENTITY_HEADER] for asked in server.asked] == [f"Bearer {old}"] + 3 * [f"Bearer {new}"]
    assert len(google.asked) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 404},
        {"headers": {}},
        {"token": "<html>Log in to the network</html>"},
        {"token": jwt("soon")},
        {"token": "a.b.c"},
    ],
)
def test_a_token_that_is_needed_and_not_to_be_had_is_an_error_and_nothing_is_sent(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", metadata: "Start", wrong: dict[str, object]
) -> None:
    metadata(**{"token": jwt(time.time() + 3600), **wrong})
    server = stand_in(reply())
    with pytest.raises(ApiError, match="no identity to show") as refused:
        ask(server.url, "health", client={"audience": AUDIENCE})
    assert (refused.value.code, refused.value.status) == ("no_identity", None)
    assert server.asked == []


def on_cloud_run(request: httpx.Request) -> httpx.Response:
    """What such a service says to a request that has got to it, with the header that it came with."""
    return httpx.Response(200, json={"token": request.headers.get(IDENTITY_HEADER)}, request=request)


def test_cloud_runs_own_addresses_get_their_token_unasked(metadata: "Start") -> None:
    token = jwt(time.time() + 3600)
    google = metadata(token)
    with Client(f"{AUDIENCE}/", transport=httpx.MockTransport(on_cloud_run)) as client:
        assert client.model_info() == {"token": f"Bearer {token}"}
    assert "audience=https%3A%2F%2Fpneumonia-api-abc123-ew.a.run.app&" in google.asked[0].path


async def _ask_twice() -> list[object]:
    async with AsyncClient(AUDIENCE, transport=httpx.MockTransport(on_cloud_run)) as client:
        return [(await client.model_info())["token"] for _ in range(2)]


def test_a_machine_without_metadata_asks_a_service_that_may_be_open_and_does_not_look_again_each_time(
    metadata: "Start",
) -> None:
    google = metadata("nobody", status=404)
    with Client(AUDIENCE, transport=httpx.MockTransport(on_cloud_run)) as client:
        assert [client.model_info()["token"] for _ in range(2)] == [None, None]
    assert len(google.asked) == 1
    assert asyncio.run(_ask_twice()) == [None, None]
    assert len(google.asked) == 2


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "https://example.org", "http://api.run.app", "https://run.app.example.org"]
)
def test_no_other_address_gets_a_token_unasked(url: str) -> None:
    assert identity_for(httpx.URL(url)) is None


@pytest.mark.parametrize(
    ("url", "audience", "words"),
    [
        ("http://example.org", AUDIENCE, "plain HTTP"),
        ("https://example.org", "", "no audience"),
        ("https://example.org", "a\r\nb", "no audience"),
        ("https://user:password@example.org", AUDIENCE, "but not both"),
    ],
)
def test_an_audience_that_cannot_be_served_is_refused(url: str, audience: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Client(url, audience=audience)


def test_a_user_and_password_are_sent_as_such_to_cloud_run_too(metadata: "Start") -> None:
    google = metadata(jwt(time.time() + 3600))
    url = AUDIENCE.replace("https://", "https://user:password@")
    with Client(url, transport=httpx.MockTransport(on_cloud_run)) as client:
        assert client.model_info() == {"token": None}
    assert google.asked == []


def test_a_metadata_server_that_is_no_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(METADATA_VARIABLE, "evil.example/?x=")
    with pytest.raises(ConfigError, match="GCE_METADATA_HOST"):
        Client(AUDIENCE)


def test_a_token_does_not_show_in_what_is_printed_of_it() -> None:
    token = jwt(2_000_000_000)
    assert token not in repr(Token(token, 0.0))
    request = httpx.Request("GET", "http://127.0.0.1")
    assert read_token(httpx.Response(200, text=f"{token}\n", headers=FLAVOR, request=request)) == Token(token, 2e9)


def test_classify_sends_it_to_the_audience_that_it_is_told(
    stand_in: "Start", reply: "type[Reply]", metadata: "Start", tmp_path: "Path", capsys: pytest.CaptureFixture[str]
) -> None:
    token = jwt(time.time() + 3600)
    metadata(token)
    server, film = stand_in(reply()), tmp_path / "film.png"
    film.write_bytes(b"the film")
    with pytest.raises(SystemExit) as ended:
        main(["classify", str(film), "--url", server.url, "--audience", AUDIENCE])
    assert not ended.value.code
    assert "NORMAL" in capsys.readouterr().out
    assert server.asked[0].headers[IDENTITY_HEADER] == f"Bearer {token}"


def test_an_audience_without_a_server_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["classify", "film.png", "--audience", AUDIENCE])
    assert "give its --url too" in capsys.readouterr().err


def test_the_page_sends_it_too(stand_in: "Start", reply: "type[Reply]", metadata: "Start") -> None:
    token = jwt(time.time() + 3600)
    metadata(token)
    server = stand_in(reply())
    with closing(ApiClient(server.url, audience=AUDIENCE)) as client:
        client.predict(b"the film")
    assert server.asked[0].headers[IDENTITY_HEADER] == f"Bearer {token}"
