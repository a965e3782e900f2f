"""Run by the Google Cloud SDK's own Python: what its parser says of commands, and its messages of the files.

stdin: {"commands": [[word, ...], ...], "messages": [[api, version, type, content], ...], "requests": [[api, version,
method, URL], ...]}; stdout: a list of what is wrong. No network, no account: a command is parsed, and not run.
"""

import contextlib
import io
import json
import re
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit


def wrong_command(parser: Any, words: list[str]) -> list[str]:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(words)
    except SystemExit:
        return [f"{' '.join(words)}: {said.getvalue().strip()[:500]}"]
    except Exception as error:  # each part of gcloud has its own
        return [f"{' '.join(words)}: {type(error).__name__}: {error}"]
    return []


def unknown_fields(message: Any, where: str) -> list[str]:
    from apitools.base.protorpclite import messages

    found = [f"{where}: {name}" for name in message.all_unrecognized_fields()]
    for field in message.all_fields():
        value = getattr(message, field.name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, messages.Message):
                found += unknown_fields(each, f"{where}.{field.name}")
    return found


def wrong_message(api: str, version: str, kind: str, content: Any) -> list[str]:
    from apitools.base.py import encoding
    from googlecloudsdk.api_lib.util import apis

    try:
        message = encoding.DictToMessage(content, getattr(apis.GetMessagesModule(api, version), kind))
    except Exception as error:
        return [f"{kind}: {error}"]
    return unknown_fields(message, kind)


def wrong_request(api: str, version: str, method: str, url: str) -> list[str]:
    """A request that is none of those that the API's client knows: by method, path, and names of parameters."""
    from googlecloudsdk.api_lib.util import apis

    parts = urlsplit(url)
    path, query = parts.path.strip("/"), parts.query
    client = apis.GetClientClass(api, version)
    if parts.netloc != urlsplit(client.BASE_URL).netloc:
        return [f"{url}: not at {client.BASE_URL}"]
    services = [each for each in vars(client).values() if isinstance(each, type) and hasattr(each, "GetMethodConfig")]
    for service in services:
        made = service(client(get_credentials=False, url=client.BASE_URL))
        for name in made.GetMethodsList():
            known = made.GetMethodConfig(name)
            pattern = re.sub(r"\{\w+\}", "[^/]+", known.flat_path or known.relative_path)
            if known.http_method == method and re.fullmatch(pattern, path):
                unknown = set(parse_qs(query)) - set(known.query_params)
                return [f"{url}: no parameter {name}" for name in sorted(unknown)]
    return [f"{method} {url}: there is no such method"]


def main() -> None:
    sdk = sys.argv[1]
    sys.path[:0] = [f"{sdk}/lib", f"{sdk}/lib/third_party"]
    from googlecloudsdk import gcloud_main

    asked = json.load(sys.stdin)
    parser = gcloud_main.CreateCLI([])._CLI__parser
    wrong: list[str] = []
    for words in asked["commands"]:
        wrong += wrong_command(parser, words)
    for api, version, kind, content in asked["messages"]:
        wrong += wrong_message(api, version, kind, content)
    for api, version, method, url in asked["requests"]:
        wrong += wrong_request(api, version, method, url)
    json.dump(wrong, sys.stdout)


main()
