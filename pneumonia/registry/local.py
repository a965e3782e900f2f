"""A registry in a folder: `<root>/<name>/v1`, ... and `aliases.json`; atomic, safe for concurrent processes."""

import datetime
import getpass
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from pneumonia.bundle import load_bundle
from pneumonia.errors import BundleError, RegistryError
from pneumonia.files import atomic_directory, write_json
from pneumonia.registry.base import BEST, Entry, check_promotion

_INDEX = "registry.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class LocalRegistry:
    """Bundles and their aliases under one folder.

    An alias belongs to the whole registry: `best` is one bundle, whatever its name.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def push(self, directory: Path, aliases: list[str]) -> Entry:
        """Copy a bundle in as the next version of its name, verified before and after; the aliases move to it.

        Raises `RegistryError` for names that can't be, and for `best`, which only `promote` gives.
        """
        bundle = load_bundle(directory)
        if BEST in aliases:
            raise RegistryError(f"{BEST!r} is given by `pneumonia registry promote`, or `push --promote`: both check.")
        for name in (bundle.name, *aliases):
            if not _NAME.fullmatch(name) or re.fullmatch(r"v\d+", name):
                raise RegistryError(f"{name!r} is no name for a bundle or alias: letters, digits, dot, dash, not v1.")
        with self._locked():
            entries = self.list()
            number = 1 + sum(entry.name == bundle.name for entry in entries)
            entry = Entry(
                bundle.name,
                f"v{number}",
                bundle.version,
                list(dict.fromkeys(aliases)),
                datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                _user(),
            )
            with atomic_directory(self._folder(entry), replace=True) as temporary:
                shutil.copytree(directory, temporary, dirs_exist_ok=True)
                load_bundle(temporary)
            self._write([*(_without(item, aliases) for item in entries), entry])
        return entry

    def list(self) -> list[Entry]:
        """All versions, oldest first."""
        try:
            content = json.loads((self.root / _INDEX).read_text(encoding="utf-8"))
            return [Entry(**item) for item in content["entries"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RegistryError(f"{self.root / _INDEX} can't be read ({error}); restore it or start anew.") from error

    def pull(self, reference: str) -> Path:
        """The bundle's own folder in the registry, verified; nothing is copied."""
        folder = self._folder(self.find(reference))
        try:
            load_bundle(folder)
        except BundleError as error:
            raise RegistryError(f"{reference} in {self.root} is damaged: {error}") from error
        return folder

    def find(self, reference: str) -> Entry:
        """The entry of `name:version`, `name:alias` or `alias`. Raises `RegistryError` when there is none."""
        name, _, tag = reference.rpartition(":")
        for entry in reversed(self.list()):
            if name in ("", entry.name) and (tag in entry.aliases or (name and tag == entry.version)):
                return entry
        known = ", ".join(f"{e.reference} {e.aliases}" for e in self.list()) or "it is empty"
        raise RegistryError(f"There is no {reference!r} in the registry {self.root}: {known}.")

    def promote(self, reference: str) -> Entry:
        """Move `best` to an entry, if it may be (see `check_promotion`)."""
        with self._locked():
            entry = self.find(reference)
            candidate = load_bundle(self.pull(reference))
            holders = [e for e in self.list() if BEST in e.aliases]
            check_promotion(candidate, load_bundle(self._folder(holders[0])) if holders else None)
            return self._move(BEST, entry)

    def _move(self, alias: str, entry: Entry) -> Entry:
        moved = replace(entry, aliases=[*_without(entry, [alias]).aliases, alias])
        self._write([moved if item.reference == entry.reference else _without(item, [alias]) for item in self.list()])
        return moved

    def _write(self, entries: Sequence[Entry]) -> None:
        content: list[dict[str, Any]] = [asdict(entry) for entry in entries]
        write_json(self.root / _INDEX, {"entries": content})

    def _folder(self, entry: Entry) -> Path:
        return self.root / entry.name / entry.version

    def _locked(self) -> FileLock:
        self.root.mkdir(parents=True, exist_ok=True)
        return FileLock(self.root / ".lock")


def _without(entry: Entry, aliases: Sequence[str]) -> Entry:
    return replace(entry, aliases=[alias for alias in entry.aliases if alias not in aliases])


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
