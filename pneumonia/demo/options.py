"""The options of `pneumonia demo`."""

import argparse
from pathlib import Path
from urllib.parse import urlsplit

from pneumonia import DISCLAIMER
from pneumonia.demo.strings import languages


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="pneumonia demo",
        description="`pneumonia demo`: the web page for an API that runs elsewhere.",
        epilog=DISCLAIMER,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--url", type=_url, default="http://127.0.0.1:8000", help="of the API")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_port, default=7860, help="of the page")
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        type=_named_url,
        metavar="NAME=URL",
        help="another API, to compare its model with the page's; repeatable; it is sent no key",
    )
    parser.add_argument("--name", default="", help="of this page, such as a hospital's, to stand above its title")
    parser.add_argument(
        "--api-key-file",
        type=Path,
        help="holds the key that the API at --url asks for; whoever reaches the page may then use it "
        "(without it: the variable PNEUMONIA_API_KEY)",
    )
    parser.add_argument(
        "--audience",
        help="send Google Cloud's identity token for it to the API at --url (one at https://*.run.app gets its own)",
    )
    parser.add_argument("--language", choices=languages(), default="en", help="of the page")
    parser.add_argument("--examples", type=Path, metavar="DIR", help="a folder of films to offer beside the phantoms")
    return parser.parse_args(arguments)


def shown_url(url: str) -> str:
    """An address without the user and password that may be in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://127.0.0.1:8000")
    return text.rstrip("/")


def _named_url(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=URL such as new=http://127.0.0.1:8001")
    return name.strip(), _url(url)


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 1 to 65535")
    return port
