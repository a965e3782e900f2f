"""`pneumonia serve`: the HTTP API, and with `--demo` the page beside it."""

import argparse
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pneumonia import DISCLAIMER
from pneumonia.bundle import Bundle
from pneumonia.errors import ConfigError
from pneumonia.images import Limits
from pneumonia.inference.engines.registry import asked_engine, choose_engine, open_engine
from pneumonia.registry.resolve import chosen_alias, resolve_bundle
from pneumonia.serving.keys import load_keys
from pneumonia.serving.lifecycle import StopSignals, end_processes
from pneumonia.serving.logs import LogOptions, log_to_stdout, notice
from pneumonia.serving.options import parse

_LOOPBACK = "127.0.0.1"


def main(arguments: list[str]) -> None:
    """Serve until SIGINT or SIGTERM."""
    options = parse(arguments)
    keys = load_keys(options.api_keys) if options.api_keys else None
    stop = StopSignals()
    log = LogOptions(options.log_level, options.log_format)
    bundle = resolve_bundle(options)
    engine = asked_engine(options)
    choice = choose_engine(bundle, engine)
    _check_address(options.host, options.port)
    log_to_stdout(log)
    say = notice if log.format == "json" else _print
    if choice.note:
        say(choice.note)
    if bundle.synthetic:
        say("**** SYNTHETIC PHANTOMS: this bundle was trained on no patient's film and means nothing for people. ****")
    if keys is None and options.host != _LOOPBACK:
        say("No API keys: whoever reaches this address may ask. See `pneumonia keys --help`, and --api-keys.")
    with _folder() as folder, _page(options):
        # Imported here: prometheus_client reads its folder's name when it is imported.
        from pneumonia.serving.protocol import GuardedProtocol
        from pneumonia.serving.server import ServerOptions, build_server

        open_engine(bundle, choice.name, threads=1)  # one clear error now, not one from every worker
        settings = ServerOptions(
            workers=options.workers,
            limits=Limits(options.max_bytes, options.max_pixels),
            max_batch_size=options.max_batch_size,
            timeout=options.timeout,
            max_concurrent=options.max_concurrent,
            max_queue=options.max_queue,
            max_bytes_in_flight=options.max_bytes_in_flight,
            keys=keys,
            cors_origins=tuple(options.cors_origin),
            engine=engine,
        )
        server = build_server(bundle, chosen_alias(options), settings)

        def resolve() -> tuple[Bundle, str | None]:
            found = resolve_bundle(options)
            choose_engine(found, engine)  # its workers open it: what fails there is refused as well
            return found, chosen_alias(options)

        where = f"http://{options.host}:{options.port}"
        say(f"{bundle.label} on {where} with {options.workers} workers, engine {choice.name}. {DISCLAIMER}")
        try:
            server.serve(
                stop,
                resolve,
                folder,
                log,
                host=options.host,
                port=options.port,
                access_log=False,
                http=functools.partial(GuardedProtocol, seconds=options.timeout),
                ws="none",  # nothing here speaks it, and it would not pass through the middlewares
                server_header=False,
            )
        finally:
            end_processes()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for as long as the server runs: its copies of bundles, and in `metrics` what its processes count."""
    folder = Path(tempfile.mkdtemp(prefix="pneumonia-"))
    metrics = folder / "metrics"
    metrics.mkdir()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    try:
        yield folder
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


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201
