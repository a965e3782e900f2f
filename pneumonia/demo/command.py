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
from typing import TYPE_CHECKING

from pneumonia import DISCLAIMER
from pneumonia.demo.options import parse, shown_url
from pneumonia.errors import ConfigError

if TYPE_CHECKING:
    from pneumonia.demo.site import Site

# Of the page's server, past which an upload is broken off: room for an archive of many films.
_MOST_BYTES = 2 * 2**30
_SESSIONS = 64
_SECONDS_TO_STOP = 1


def main(arguments: list[str]) -> None:
    """Show the page until SIGINT or SIGTERM."""
    options = parse(arguments)
    with _temporary_folder() as folder, _until_told_to_stop() as stop:
        _keep_to_this_machine(folder)
        _run(options, stop)


def _run(options: argparse.Namespace, stop: threading.Event) -> None:
    # Imported here: Gradio reads its environment when it is imported.
    from starlette.middleware import Middleware

    from pneumonia.demo.document import OwnDocument
    from pneumonia.demo.page import build_page
    from pneumonia.demo.policy import StayHere
    from pneumonia.demo.style import CSS, HEAD, theme

    site = _site(options)
    page = build_page(site)
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
                "middleware": [Middleware(StayHere), Middleware(OwnDocument, say=site.say)],
            },
            theme=theme(),
            css=CSS,
            head=HEAD,
        )
    except OSError as error:
        raise ConfigError(
            f"Can't listen on {options.host}:{options.port}: another program may use it; choose another --port."
        ) from error
    api = shown_url(options.url)
    print(f"Page on http://{host}:{options.port} for the API at {api}. {DISCLAIMER}", flush=True)  # noqa: T201
    stop.wait()
    # Gradio would wait for requests that are under way; what is left after a second is broken off with the process.
    threading.Thread(target=page.close, kwargs={"verbose": False}, daemon=True).start()
    page.server.thread.join(timeout=_SECONDS_TO_STOP)
    for model in site.models:
        model.client.close()


def _site(options: argparse.Namespace) -> "Site":
    """The page's language, clients and examples. Raises `ConfigError` for a key, folder or address of no use."""
    from pneumonia.demo.client import ApiClient
    from pneumonia.demo.examples import films_of, phantoms
    from pneumonia.demo.site import Model, Site
    from pneumonia.demo.strings import Strings
    from pneumonia.inference.remote import api_key

    say = Strings(options.language)
    client = ApiClient(options.url, api_key(options.api_key_file), audience=options.audience)
    own = Model(say("compare.own"), client)
    others = [Model(name, ApiClient(url)) for name, url in options.other]
    films = films_of(options.examples) if options.examples else ()
    return Site(say, (own, *others), (*phantoms(say), *films), options.name)


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
