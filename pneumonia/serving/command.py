"""`pneumonia serve`: the HTTP API, and with `--demo` the page beside it."""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from pneumonia import DISCLAIMER
from pneumonia.errors import ConfigError, PneumoniaError
from pneumonia.images import DEFAULT_LIMITS, Limits
from pneumonia.registry.resolve import add_bundle_options, chosen_alias, resolve_bundle
from pneumonia.serving.lifecycle import StopSignals, end_processes

_HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 (a choice, not the default)


def main(arguments: list[str]) -> None:
    """Serve until SIGINT or SIGTERM."""
    options = _parse(arguments)
    stop = StopSignals()
    bundle = resolve_bundle(options)
    _check_address(options.host, options.port)
    if bundle.synthetic:
        _say("**** SYNTHETIC PHANTOMS: this bundle was trained on no patient's film and means nothing for people. ****")
    limits = Limits(options.max_bytes, options.max_pixels)
    with contextlib.suppress(KeyboardInterrupt), _metrics_folder(), _page(options):
        # Imported here: prometheus_client reads its folder's name when it is imported.
        from pneumonia.inference.engine import OnnxRuntimeEngine
        from pneumonia.serving.server import ServerOptions, build_server

        OnnxRuntimeEngine(bundle.graph, threads=1)  # one clear error now, not a trace from every worker
        settings = ServerOptions(options.workers, limits, options.max_batch_size)
        server = build_server(bundle, chosen_alias(options), settings, stop)
        _say(f"{bundle.label} on http://{options.host}:{options.port} with {options.workers} workers. {DISCLAIMER}")
        try:
            server.run(
                host=options.host,
                port=options.port,
                log_level=options.log_level,
                access_log=False,
                generate_client_file=False,
            )
        except (EOFError, ConnectionError, RuntimeError) as error:
            raise PneumoniaError("A worker ended unexpectedly, or did not start; the server stopped.") from error
        finally:
            end_processes()


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pneumonia serve",
        description=__doc__,
        epilog=DISCLAIMER,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_bundle_options(parser)
    parser.add_argument("--host", choices=_HOSTS, default=_HOSTS[0], help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="from 1024 up")
    parser.add_argument("--workers", type=_positive, default=_cores(), help="processes with an engine each")
    parser.add_argument("--max-batch-size", type=_positive, default=16, help="radiographs in one run of the engine")
    parser.add_argument("--max-bytes", type=_positive, default=DEFAULT_LIMITS.max_bytes, help="of an upload")
    parser.add_argument("--max-pixels", type=_positive, default=DEFAULT_LIMITS.max_pixels, help="of a radiograph")
    parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--demo", action="store_true", help="start the web page too")
    parser.add_argument("--demo-port", type=int, default=7860, help="of the page")
    options = parser.parse_args(arguments)
    if not 1024 <= options.port <= 65535:
        parser.error(f"--port {options.port} is outside 1024..65535")
    return options


@contextlib.contextmanager
def _metrics_folder() -> Iterator[None]:
    """A folder in which the server's processes share their metrics, for as long as it runs."""
    folder = tempfile.mkdtemp(prefix="pneumonia-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _page(options: argparse.Namespace) -> Iterator[None]:
    """The web page as a process of its own: it talks HTTP, and the API does not wait for it."""
    if not options.demo:
        yield
        return
    url = f"http://127.0.0.1:{options.port}"
    command = [sys.executable, "-m", "pneumonia", "demo", "--url", url, "--host", options.host]
    page = subprocess.Popen([*command, "--port", str(options.demo_port)])  # noqa: S603 (our own command)
    try:
        yield
    finally:
        page.terminate()
        try:
            page.wait(timeout=10)
        except subprocess.TimeoutExpired:
            page.kill()


def _check_address(host: str, port: int) -> None:
    """Raise `ConfigError` when nothing can listen there; uvicorn would say so later, and less clearly."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"Can't listen on {host}:{port} ({error.strerror}); choose another --port.") from error


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
