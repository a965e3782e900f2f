"""Downloads from a real server that drops, lies, changes its file and leads elsewhere."""

import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pneumonia.data.download import Patience, download
from pneumonia.errors import DataError

BODY = bytes(range(256)) * 1024
HALF = len(BODY) // 2
PATIENCE = Patience(attempts=4, backoff=0.01, timeout=5.0)


@dataclass
class Answer:
    """How one request is answered; the defaults are those of a good server."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stop_after: int | None = None
    hang: bool = False
    heeds_if_range: bool = True
    range_from: int | None = None


@dataclass
class Site:
    """A server with one file, answers for the next requests (then good ones), and the requests it had."""

    url: str = ""
    body: bytes = BODY
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    length: bool = True
    answers: list[Answer] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.site
        site.requests.append(dict(self.headers))
        answer = site.answers.pop(0) if site.answers else Answer()
        if answer.status != 200:
            self.send_response(answer.status)
            for name, value in {"Content-Length": "0", **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        start = self.start_of_range(answer)
        if start is not None and start >= len(site.body):
            self.send_error(416)
            return
        self.send_response(200 if start is None else 206)
        body = site.body[start or 0 :]
        known = {"ETag": site.etag, "Last-Modified": site.modified}
        if site.length:
            known["Content-Length"] = str(len(body))
        else:
            known["Transfer-Encoding"] = "chunked"
        if start is not None:
            known["Content-Range"] = f"bytes {start}-{len(site.body) - 1}/{len(site.body)}"
        for name, value in {**known, **answer.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        sent = body[: answer.stop_after]
        self.wfile.write(sent if site.length else b"%x\r\n%b\r\n" % (len(sent), sent))
        self.wfile.flush()
        if answer.hang:
            site.released.wait()
        if answer.stop_after is not None:
            self.close_connection = True
        elif not site.length:
            self.wfile.write(b"0\r\n\r\n")

    def start_of_range(self, answer: Answer) -> int | None:
        if answer.range_from is not None:
            return answer.range_from
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        changed = answer.heeds_if_range and condition not in (None, self.site.etag, self.site.modified)
        return int(wanted[1]) if wanted and self.site.ranges and not changed else None


@contextmanager
def serving(site: Site, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site}))
    server.daemon_threads, server.block_on_close = True, False
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    site.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/data.zip"
    try:
        yield site
    finally:
        site.released.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as site:
        yield site


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / ".data.part"


def wanted_ranges(site: Site) -> list[str | None]:
    return [request.get("Range") for request in site.requests]


def test_a_file_arrives_whole(site: Site, part: Path) -> None:
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY


def test_a_whole_file_is_not_asked_for_again(site: Site, part: Path) -> None:
    for _ in range(2):
        download(site.url, part, patience=PATIENCE)
    assert len(site.requests) == 1


def test_a_dropped_connection_is_gone_on_with_from_where_it_broke(site: Site, part: Path) -> None:
    site.answers = [Answer(stop_after=HALF)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY
    assert wanted_ranges(site) == [None, f"bytes={HALF}-"]
    assert site.requests[1]["If-Range"] == '"one"'


def test_several_drops_are_gone_on_with(site: Site, part: Path) -> None:
    site.answers = [Answer(stop_after=1000), Answer(stop_after=1000), Answer(stop_after=1000)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY
    assert wanted_ranges(site) == [None, "bytes=1000-", "bytes=2000-", "bytes=3000-"]


def test_without_a_length_a_drop_is_seen_and_gone_on_with(site: Site, part: Path) -> None:
    site.length, site.answers = False, [Answer(stop_after=HALF)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY
    assert wanted_ranges(site) == [None, f"bytes={HALF}-"]


def test_a_server_without_ranges_is_asked_from_the_beginning(site: Site, part: Path) -> None:
    site.ranges, site.answers = False, [Answer(stop_after=HALF)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY


def test_a_weak_etag_is_not_trusted_for_resuming_but_a_date_is(site: Site, part: Path) -> None:
    site.etag, site.modified = 'W/"one"', "Mon, 01 Jan 2024 00:00:00 GMT"
    site.answers = [Answer(stop_after=HALF)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY
    assert site.requests[1]["If-Range"] == site.modified


def test_a_file_that_nothing_identifies_is_begun_again_and_never_spliced(site: Site, part: Path) -> None:
    site.etag, site.answers = None, [Answer(stop_after=HALF)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY
    assert wanted_ranges(site) == [None, None]


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changed_in_between_is_not_spliced(site: Site, part: Path, heeds_if_range: bool) -> None:
    site.answers = [Answer(stop_after=HALF)]
    with pytest.raises(DataError):
        download(site.url, part, patience=Patience(attempts=1))
    assert part.stat().st_size == HALF
    site.body, site.etag = BODY[::-1], '"two"'
    site.answers = [Answer(heeds_if_range=heeds_if_range)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY[::-1]


def test_a_file_that_became_shorter_than_what_is_there_is_begun_again(site: Site, part: Path) -> None:
    site.answers = [Answer(stop_after=HALF)]
    with pytest.raises(DataError):
        download(site.url, part, patience=Patience(attempts=1))
    site.body, site.answers = BODY[:100], [Answer(heeds_if_range=False)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY[:100]


def test_a_range_that_was_not_asked_for_is_never_used(site: Site, part: Path) -> None:
    part.write_bytes(b"left by something else")
    site.etag, site.answers = None, [Answer(range_from=0)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY


@pytest.mark.parametrize("start", [0, HALF - 1, HALF + 1])
def test_another_range_than_was_asked_for_is_never_used(site: Site, part: Path, start: int) -> None:
    site.answers = [Answer(stop_after=HALF), Answer(range_from=start)]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY


def test_another_address_does_not_go_on_with_what_is_there(site: Site, part: Path) -> None:
    site.answers = [Answer(stop_after=HALF)]
    with pytest.raises(DataError):
        download(site.url, part, patience=Patience(attempts=1))
    download(f"{site.url}?version=2", part, patience=PATIENCE)
    assert wanted_ranges(site) == [None, None]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_an_overloaded_server_is_asked_again(site: Site, part: Path, status: int) -> None:
    site.answers = [Answer(status), Answer(status, {"Retry-After": "0"})]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY


def test_a_server_that_stays_overloaded_is_given_up_after_the_attempts(site: Site, part: Path) -> None:
    site.answers = [Answer(503)] * 10
    with pytest.raises(DataError, match=r"HTTP 503.*Try again later"):
        download(site.url, part, patience=PATIENCE)
    assert len(site.requests) == PATIENCE.attempts


def test_what_came_before_giving_up_is_kept_for_the_next_call(site: Site, part: Path) -> None:
    site.answers = [Answer(stop_after=HALF), *[Answer(503)] * 3]
    with pytest.raises(DataError, match=f"goes on from the {HALF:,} bytes"):
        download(site.url, part, patience=PATIENCE)
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY
    assert wanted_ranges(site)[-1] == f"bytes={HALF}-"


@pytest.mark.parametrize(
    ("status", "advice"),
    [(404, "check the address"), (410, "no more"), (401, "login"), (403, "permission"), (418, "refuses")],
)
def test_a_refusal_is_not_asked_again_and_says_what_to_do(site: Site, part: Path, status: int, advice: str) -> None:
    site.answers = [Answer(status)]
    with pytest.raises(DataError, match=rf"HTTP {status}.*{advice}.*with a browser"):
        download(site.url, part, patience=PATIENCE)
    assert len(site.requests) == 1
    assert not part.exists()


def test_a_server_that_hangs_is_given_up(site: Site, part: Path) -> None:
    site.answers = [Answer(stop_after=HALF, hang=True)]
    with pytest.raises(DataError, match="TimeoutError"):
        download(site.url, part, patience=Patience(attempts=1, timeout=0.2))


def test_a_server_that_is_not_there_is_an_error(part: Path) -> None:
    with serving(Site()) as site:
        pass
    with pytest.raises(DataError, match="can't be reached"):
        download(site.url, part, patience=PATIENCE)


def test_a_web_page_in_place_of_an_archive_is_refused(site: Site, part: Path) -> None:
    site.answers = [Answer(headers={"Content-Type": "text/html; charset=utf-8"})]
    with pytest.raises(DataError, match="web page"):
        download(site.url, part, patience=PATIENCE)


def test_a_right_checksum_is_accepted_as_option_and_in_the_address(site: Site, part: Path) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    download(f"{site.url}#sha256={digest.upper()}", part, sha256=digest, patience=PATIENCE)
    assert part.read_bytes() == BODY


def test_a_wrong_checksum_is_an_error_and_removes_the_file(site: Site, part: Path) -> None:
    with pytest.raises(DataError, match=f"has the SHA-256 {hashlib.sha256(BODY).hexdigest()}, not {'0' * 64}"):
        download(site.url, part, sha256="0" * 64, patience=PATIENCE)
    assert not list(part.parent.iterdir())


@pytest.mark.parametrize("length", [True, False])
def test_a_file_larger_than_allowed_is_refused_and_removed(site: Site, part: Path, length: bool) -> None:
    site.length = length
    with pytest.raises(DataError, match="more than the 1,000 bytes"):
        download(site.url, part, patience=PATIENCE, max_bytes=1000)
    assert not list(part.parent.iterdir())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_the_web_is_followed(site: Site, part: Path, status: int) -> None:
    site.answers = [Answer(status, {"Location": "/elsewhere.zip"})]
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY


def test_a_resumed_download_asks_for_its_range_behind_the_redirect_too(site: Site, part: Path) -> None:
    site.answers = [Answer(stop_after=HALF), Answer(302, {"Location": "/elsewhere.zip"})]
    download(site.url, part, patience=PATIENCE)
    assert wanted_ranges(site) == [None, f"bytes={HALF}-", f"bytes={HALF}-"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a.zip", "data:,x", "gopher://127.0.0.1/"])
def test_a_redirect_out_of_the_web_is_refused(site: Site, part: Path, location: str) -> None:
    site.answers = [Answer(302, {"Location": location})]
    with pytest.raises(DataError, match="not followed"):
        download(site.url, part, patience=PATIENCE)
    assert not part.exists()


def test_a_redirect_in_a_circle_is_refused(site: Site, part: Path) -> None:
    site.answers = [Answer(302, {"Location": site.url})] * 20
    with pytest.raises(DataError, match="not followed"):
        download(site.url, part, patience=PATIENCE)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    path = tmp_path / "server.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def test_https_is_verified_and_never_leads_on_to_http(
    site: Site, part: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(Site(), tls=context) as safe:
        with pytest.raises(DataError, match="not trusted"):
            download(safe.url, part, patience=PATIENCE)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        safe.answers = [Answer(302, {"Location": site.url})]
        with pytest.raises(DataError, match="not followed"):
            download(safe.url, part, patience=PATIENCE)
        download(safe.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY
    assert site.requests == []


@pytest.mark.parametrize("path", ["/chest xray.zip", "/röntgen.zip"])
def test_an_address_with_unquoted_letters_is_refused_with_what_to_do(site: Site, part: Path, path: str) -> None:
    with pytest.raises(DataError, match="%-quoted"):
        download(site.url.replace("/data.zip", path), part, patience=PATIENCE)


def test_a_killed_download_is_gone_on_with_by_another_process(site: Site, part: Path) -> None:
    site.answers = [Answer(stop_after=HALF, hang=True)]
    code = "import sys; from pathlib import Path; from pneumonia.data.download import download; "
    code += "download(sys.argv[1], Path(sys.argv[2]))"
    with subprocess.Popen([sys.executable, "-c", code, site.url, str(part)], env=os.environ) as process:
        while not part.exists() or part.stat().st_size < HALF - 2**14:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    there = part.stat().st_size
    assert 0 < there < len(BODY)
    download(site.url, part, patience=PATIENCE)
    assert part.read_bytes() == BODY
    assert wanted_ranges(site) == [None, f"bytes={there}-"]
