"""Run by the Google Cloud SDK's own Python: what its parser says of commands, and its messages of the files.

stdin: {"commands": [[word, ...], ...], "messages": [[api, version, type, content], ...]}; stdout: a list of what is
wrong. No network, no account: a command is parsed, and not run.
"""

import contextlib
import io
import json
import sys
from typing import Any


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
    json.dump(wrong, sys.stdout)


main()
