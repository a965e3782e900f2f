"""`pneumonia keys`: make, list and revoke the API keys that `pneumonia serve --api-keys FILE` asks for."""

import argparse
import os
import sys
from pathlib import Path

from pneumonia.errors import ConfigError
from pneumonia.serving.keys import FILE_VARIABLE, key_names, new_key, revoke_key


def main(arguments: list[str]) -> None:
    """Run one of `new`, `list` and `revoke`."""
    options = _parse(arguments)
    if options.file is None:
        raise ConfigError(f"Which file? Say --file FILE, or set {FILE_VARIABLE}.")
    if options.action == "new":
        # The key alone on stdout: it can be piped to where it is kept.
        print(new_key(options.file, options.name))  # noqa: T201
        _note(f"This is the only time that the key {options.name!r} is shown: {options.file} has its hash.")
    elif options.action == "revoke":
        revoke_key(options.file, options.name)
        _note("Revoked.")
    else:
        print("\n".join(key_names(options.file)))  # noqa: T201
        return
    _note("Servers that run read the file when they start again.")


def _parse(arguments: list[str]) -> argparse.Namespace:
    file = argparse.ArgumentParser(add_help=False)
    variable = os.environ.get(FILE_VARIABLE)
    file.add_argument(
        "--file", type=Path, default=Path(variable) if variable else None, help=f"the file of keys [{FILE_VARIABLE}]"
    )
    parser = argparse.ArgumentParser(prog="pneumonia keys", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    for action, text in (("new", "make a key and print it, once"), ("revoke", "remove a key")):
        actions.add_parser(action, parents=[file], help=text).add_argument("name", help="whose, or what for")
    actions.add_parser("list", parents=[file], help="print the names of the keys")
    return parser.parse_args(arguments)


def _note(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
