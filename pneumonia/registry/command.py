"""`pneumonia registry push | list | pull | promote`: the local registry."""

import argparse
import shutil
from pathlib import Path

from pneumonia.errors import RegistryError
from pneumonia.files import atomic_directory
from pneumonia.registry.base import CANDIDATE
from pneumonia.registry.resolve import REGISTRY_VARIABLE, open_registry, registry_root


def main(arguments: list[str]) -> int:
    """Run one registry command."""
    parser = argparse.ArgumentParser(prog="pneumonia registry", description=__doc__)
    parser.add_argument("--root", default=registry_root(), help=f"the folder ({REGISTRY_VARIABLE})")
    commands = parser.add_subparsers(dest="command", required=True)
    push = commands.add_parser("push", help="add a bundle as the next version of its name")
    push.add_argument("directory", type=Path)
    push.add_argument("--alias", action="append", help=f"may be repeated (default: {CANDIDATE})")
    push.add_argument("--promote", action="store_true", help="make it `best` if it may be, else say why not")
    commands.add_parser("list", help="all versions with their aliases")
    pull = commands.add_parser("pull", help="copy a bundle out of the registry")
    pull.add_argument("reference", help="name:version, name:alias or alias")
    pull.add_argument("--output", type=Path, required=True)
    promote = commands.add_parser("promote", help="make a bundle `best`")
    promote.add_argument("reference")
    options = parser.parse_args(arguments)
    return {"push": _push, "list": _list, "pull": _pull, "promote": _promote}[options.command](options)


def _push(options: argparse.Namespace) -> int:
    registry = open_registry(options.root)
    entry = registry.push(options.directory, options.alias or [CANDIDATE])
    _say(f"pushed {entry.reference} {entry.aliases}")
    if options.promote:
        try:
            _say(f"promoted {registry.promote(entry.reference).reference} to best")
        except RegistryError as error:
            _say(f"not promoted: {error}")
    return 0


def _list(options: argparse.Namespace) -> int:
    for entry in open_registry(options.root).list():
        _say(f"{entry.reference:<20} {entry.bundle_version:<14} {entry.created}  {' '.join(entry.aliases)}")
    return 0


def _pull(options: argparse.Namespace) -> int:
    source = open_registry(options.root).pull(options.reference)
    try:
        with atomic_directory(options.output) as temporary:
            shutil.copytree(source, temporary, dirs_exist_ok=True)
    except FileExistsError as error:
        raise RegistryError(f"{options.output} exists already; name another --output.") from error
    _say(str(options.output))
    return 0


def _promote(options: argparse.Namespace) -> int:
    _say(f"promoted {open_registry(options.root).promote(options.reference).reference} to best")
    return 0


def _say(line: str) -> None:
    print(line)  # noqa: T201
