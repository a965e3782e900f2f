"""`pneumonia demo`: the web page for an API that runs elsewhere."""

import argparse
import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from pneumonia import DISCLAIMER
from pneumonia.errors import ConfigError
from pneumonia.images import DEFAULT_LIMITS

# Of the page's server, past which an upload is broken off; what lies between it and the limit gets a kinder answer.
_MOST_BYTES = 2 * DEFAULT_LIMITS.max_bytes
_SESSIONS = 64
_SECONDS_TO_STOP = 1


def main(arguments: list[str]) -> None:
    """Show the page until SIGINT or SIGTERM."""
    options = _parse(arguments)
    with _temporary_folder() as folder, _until_told_to_stop() as stop:
        _keep_to_this_machine(folder)
        _run(options, stop)


def _run(options: argparse.Namespace, stop: threading.Event) -> None:
    # Imported here: Gradio reads its environment when it is imported.
    from starlette.middleware import Middleware

    from pneumonia.demo.client import ApiClient
    from pneumonia.demo.page import build_page
    from pneumonia.demo.policy import StayHere
    from pneumonia.demo.style import CSS, HEAD, theme

    client = ApiClient(options.url)
    page = build_page(client)
    host = f"[{options.host}]" if ":" in options.host else options.host
    try:
        page.launch(
            server_name=host,
            server_port=options.port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            show_error=False,
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            footer_links=[],
            max_file_size=_MOST_BYTES,
            state_session_capacity=_SESSIONS,
            app_kwargs={
                "docs_url": None,
                "redoc_url": None,
                "openapi_url": None,
                "middleware": [Middleware(StayHere)],
            },
            theme=theme(),
            css=CSS,
            head=HEAD,
        )
    except OSError as error:
        raise ConfigError(
            f"Can't listen on {options.host}:{options.port}: another program may use it; choose another --port."
        ) from error
    api = _without_password(options.url)
    print(f"Page on http://{host}:{options.port} for the API at {api}. {DISCLAIMER}", flush=True)  # noqa: T201
    stop.wait()
    # Gradio would wait for requests that are under way; what is left after a second is broken off with the process.
    threading.Thread(target=page.close, kwargs={"verbose": False}, daemon=True).start()
    page.server.thread.join(timeout=_SECONDS_TO_STOP)
    client.close()


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pneumonia demo",
        description=__doc__,
        epilog=DISCLAIMER,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--url", type=_url, default="http://127.0.0.1:8000", help="of the API")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_port, default=7860, help="of the page")
    return parser.parse_args(arguments)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://127.0.0.1:8000")
    return text.rstrip("/")


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 1 to 65535")
    return port


def _keep_to_this_machine(folder: Path) -> None:
    """Tell Gradio and what it uses to call no one, to save no file elsewhere, and to go round proxies to itself."""
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False",
        GRADIO_RUN_HISTORY="False",
        GRADIO_TEMP_DIR=str(folder),
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        OTEL_SDK_DISABLED="true",
    )
    for variable in ("NO_PROXY", "no_proxy"):
        os.environ[variable] = ",".join(filter(None, [os.environ.get(variable), "127.0.0.1,localhost,::1"]))


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    # A request that is broken off may still write while the folder is removed.
    with tempfile.TemporaryDirectory(prefix="pneumonia-page-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def _until_told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
