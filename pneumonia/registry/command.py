"""`pneumonia registry`: versions of bundles, their aliases, and what decides which one is `best`."""

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from pneumonia.errors import RegistryError
from pneumonia.files import atomic_directory
from pneumonia.registry.base import BEST, CANDIDATE, STAGED, Entry, Registry
from pneumonia.registry.resolve import REGISTRY_VARIABLE, open_registry, registry_root
from pneumonia.registry.show import describe_model, tell
from pneumonia.registry.staged.result import StagedResult
from pneumonia.registry.staged.run import examine_entry
from pneumonia.registry.staged.subject import add_staged_options, staged_options

_REFERENCE = "name:version, name:alias or alias"


def main(arguments: list[str]) -> int:
    """Run one registry command."""
    options = _parser().parse_args(arguments)
    run = {
        "push": _push,
        "list": _list,
        "pull": _pull,
        "test": _test,
        "promote": _promote,
        "rollback": _rollback,
        "alias": _alias,
        "show": _show,
        "history": _history,
    }[options.command]
    return run(open_registry(options.root), options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pneumonia registry", description=__doc__)
    parser.add_argument(
        "--root",
        default=registry_root(),
        help=f"its folder, or wandb://ENTITY/REGISTRY [{REGISTRY_VARIABLE}] (%(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    push = commands.add_parser("push", help="add a bundle as the next version of its name")
    push.add_argument("directory", type=Path)
    push.add_argument("--alias", action="append", help=f"may be repeated (default: {CANDIDATE})")
    push.add_argument(
        "--promote", action="store_true", help="test it, and make it `best` if it may be, else say why not"
    )
    add_staged_options(push)
    commands.add_parser("list", help="all versions with their aliases")
    pull = commands.add_parser("pull", help="copy a bundle out of the registry")
    pull.add_argument("reference", help=_REFERENCE)
    pull.add_argument("--output", type=Path, required=True)
    test = commands.add_parser("test", help="run the staged tests of a bundle, and keep the result with it")
    test.add_argument("reference", help=_REFERENCE)
    test.add_argument("--json", action="store_true", help="the result as it is kept")
    add_staged_options(test)
    promote = commands.add_parser("promote", help="make a bundle `best`, if its tests passed and it is no worse")
    promote.add_argument("reference", help=_REFERENCE)
    promote.add_argument("--force", action="store_true", help="even so, for the reason that is given")
    promote.add_argument("--reason", default="", metavar="TEXT", help="is recorded")
    rollback = commands.add_parser("rollback", help="give `best` back to what held it before")
    rollback.add_argument("--reason", default="", metavar="TEXT", help="is recorded")
    alias = commands.add_parser("alias", help="give a bundle another alias, or take one away")
    alias.add_argument("alias")
    chosen = alias.add_mutually_exclusive_group(required=True)
    chosen.add_argument("reference", nargs="?", help=_REFERENCE)
    chosen.add_argument("--remove", action="store_true", help="take the alias away from what has it")
    alias.add_argument("--reason", default="", metavar="TEXT", help="is recorded")
    show = commands.add_parser(
        "show", help="all that is known of a bundle: run, config, commit, data, tests, promotions"
    )
    show.add_argument("reference", help=f"{_REFERENCE}, or what a prediction says in `model`")
    show.add_argument("--json", action="store_true", help="one JSON object")
    history = commands.add_parser("history", help="who did what, when and why")
    history.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _push(registry: Registry, options: argparse.Namespace) -> int:
    settings = staged_options(options)
    entry = registry.push(options.directory, options.alias or [CANDIDATE])
    _say(f"pushed {entry.reference} {entry.aliases}")
    if options.promote:
        _report(*examine_entry(registry, entry.reference, settings))
        try:
            _say(f"promoted {registry.promote(entry.reference).reference} to {BEST}")
        except RegistryError as error:
            _say(str(error))
    return 0


def _list(registry: Registry, _: argparse.Namespace) -> int:
    for entry in registry.list():
        staged = entry.metadata.get(STAGED)
        tests = "not tested" if staged is None else "tests passed" if staged["passed"] else "tests FAILED"
        columns = f"{entry.reference:<20} {entry.bundle_version:<14} {entry.created}  {tests:<12}"
        _say(f"{columns}  {' '.join(entry.aliases)}")
    return 0


def _pull(registry: Registry, options: argparse.Namespace) -> int:
    source = registry.pull(options.reference)
    try:
        with atomic_directory(options.output) as temporary:
            shutil.copytree(source, temporary, dirs_exist_ok=True)
    except FileExistsError as error:
        raise RegistryError(f"{options.output} exists already; name another --output.") from error
    _say(str(options.output))
    return 0


def _test(registry: Registry, options: argparse.Namespace) -> int:
    entry, result = examine_entry(registry, options.reference, staged_options(options))
    if options.json:
        _say(json.dumps({"reference": entry.reference, **result.as_json()}))
    else:
        _report(entry, result)
    return 0 if result.passed else 1


def _promote(registry: Registry, options: argparse.Namespace) -> int:
    if options.force and not options.reason.strip():
        raise RegistryError("--force needs --reason TEXT, which is recorded.")
    entry = registry.promote(options.reference, options.force, options.reason)
    _say(f"promoted {entry.reference} to {BEST}")
    return 0


def _rollback(registry: Registry, options: argparse.Namespace) -> int:
    _say(f"rolled back: {registry.rollback(options.reason).reference} is {BEST}")
    return 0


def _alias(registry: Registry, options: argparse.Namespace) -> int:
    if options.remove:
        entry = registry.unalias(options.alias, options.reason)
        _say(f"{entry.reference} is {options.alias} no more")
    else:
        entry = registry.alias(options.reference, options.alias, options.reason)
        _say(f"{entry.reference} is {options.alias}")
    return 0


def _show(registry: Registry, options: argparse.Namespace) -> int:
    described = describe_model(registry, options.reference)
    for line in [json.dumps(described)] if options.json else tell(described):
        _say(line)
    return 0


def _history(registry: Registry, options: argparse.Namespace) -> int:
    for event in registry.history():
        _say(json.dumps(asdict(event)) if options.json else str(event))
    return 0


def _report(entry: Entry, result: StagedResult) -> None:
    _say(f"staged tests of {entry.reference} ({entry.bundle_version}): {'passed' if result.passed else 'FAILED'}")
    for check in result.checks:
        _say(f"  {check}")


def _say(line: str) -> None:
    print(line)  # noqa: T201
