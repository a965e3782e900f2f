"""The options of `pneumonia serve`. Each limit is a flag and an environment variable; the flag wins."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pneumonia import DISCLAIMER
from pneumonia.errors import ConfigError
from pneumonia.images import DEFAULT_LIMITS
from pneumonia.inference.command import API_KEY_VARIABLE
from pneumonia.inference.engines.registry import add_engine_option
from pneumonia.registry.resolve import add_bundle_options
from pneumonia.serving.keys import FILE_VARIABLE

CORS_VARIABLE = "PNEUMONIA_CORS_ORIGINS"
_HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 (a choice, not the default)
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line and the environment. Raises `ConfigError` for what they say together."""
    parser = argparse.ArgumentParser(
        prog="pneumonia serve",
        description="`pneumonia serve`: the HTTP API, and with `--demo` the page beside it.",
        epilog=DISCLAIMER,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_bundle_options(parser)
    add_engine_option(parser)
    parser.add_argument("--host", choices=_HOSTS, default=_HOSTS[0], help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="from 1024 up")
    parser.add_argument("--workers", type=_positive, default=_cores(), help="processes with an engine each")
    parser.add_argument("--max-batch-size", type=_positive, default=16, help="radiographs in one run of the engine")
    parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--demo", action="store_true", help="start the web page too")
    parser.add_argument("--demo-port", type=int, default=7860, help="of the page")
    _Setting(parser)("--log-format", _log_format, "text", "of what is printed: text, or json: one object a line")
    _add_limits(parser)
    _add_access(parser)
    options = parser.parse_args(arguments)
    if not 1024 <= options.port <= 65535:
        parser.error(f"--port {options.port} is outside 1024..65535")
    options.cors_origin = options.cors_origin or _origins_of_environment()
    if options.demo and options.api_keys and not os.environ.get(API_KEY_VARIABLE):
        raise ConfigError(
            f"--demo needs a key of its own where the API asks for one: set {API_KEY_VARIABLE}. Anyone who reaches the "
            "page then predicts with that key."
        )
    return options


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits, each also an environment variable")
    add = _Setting(limits)
    add("--max-bytes", _positive, DEFAULT_LIMITS.max_bytes, "of an upload")
    add("--max-pixels", _positive, DEFAULT_LIMITS.max_pixels, "of a radiograph")
    add("--max-concurrent", _positive, 256, "uploads that are read or answered at a time")
    add("--max-queue", _positive, 128, "uploads that wait for a worker, or are with one")
    add("--max-bytes-in-flight", _positive, 512 * 2**20, "of all uploads that are held at a time")
    add("--timeout", _seconds, 30.0, "seconds a request may take, its upload included")


def _add_access(parser: argparse.ArgumentParser) -> None:
    access = parser.add_argument_group("access")
    add = _Setting(access)
    add(
        "--api-keys",
        Path,
        None,
        "file of `pneumonia keys`; with it, calls but /health and /health/live need a key",
        FILE_VARIABLE,
    )
    access.add_argument(
        "--cors-origin",
        action="append",
        type=_origin,
        metavar="ORIGIN",
        help=f"a web page's origin that browsers may call from, or *; repeatable [{CORS_VARIABLE}, by commas]",
    )


class _Setting:
    """Adds options whose default is an environment variable's value, if it is set."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def __call__(self, flag: str, kind: Callable[[str], Any], default: Any, text: str, variable: str = "") -> None:
        variable = variable or "PNEUMONIA_" + flag.strip("-").upper().replace("-", "_")

        def read(value: str) -> Any:
            try:
                return kind(value)
            except ValueError as error:
                raise argparse.ArgumentTypeError(f"{error} (said by the flag or by {variable})") from error

        # argparse reads a default that is a string as if it had been given, unless the flag is.
        self._group.add_argument(
            flag, type=read, default=os.environ.get(variable) or default, help=f"{text} [{variable}]"
        )


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError(f"{text!r} is neither text nor json")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is not a positive whole number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise ValueError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return value


def _origin(text: str) -> str:
    origin = text.strip().lower()
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise argparse.ArgumentTypeError(f"{text!r} is no origin; write https://host or https://host:port")
    return origin


def _origins_of_environment() -> list[str]:
    try:
        return [_origin(part) for part in os.environ.get(CORS_VARIABLE, "").split(",") if part.strip()]
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"{CORS_VARIABLE}: {error}") from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
