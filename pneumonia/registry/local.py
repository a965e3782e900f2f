"""A registry in a folder: `<root>/<name>/v1`, ... and `registry.json`; atomic, safe for concurrent processes."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from pneumonia.bundle import load_bundle
from pneumonia.errors import BundleError, RegistryError
from pneumonia.files import atomic_directory, write_json
from pneumonia.registry.base import PUSH, Entry, Event, Registry, check_names, current_user, timestamp

_INDEX = "registry.json"


@dataclass(frozen=True)
class _Index:
    """What `registry.json` says."""

    entries: tuple[Entry, ...] = ()
    history: tuple[Event, ...] = ()


class LocalRegistry(Registry):
    """Bundles and their aliases under one folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._lock = FileLock(self.root / ".lock")

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.root)

    def push(self, directory: Path, aliases: Sequence[str]) -> Entry:
        """Copy a bundle in as the next version of its name, verified before and after; the aliases move to it."""
        bundle = load_bundle(directory)
        check_names(*aliases, bundle=bundle.name)
        with self._exclusive():
            index = self._read()
            entry = Entry(
                bundle.name,
                f"v{1 + _last_version(index, bundle.name)}",
                bundle.version,
                list(dict.fromkeys(aliases)),
                timestamp(),
                current_user(),
            )
            with atomic_directory(self._folder(entry), replace=True) as temporary:
                shutil.copytree(directory, temporary, dirs_exist_ok=True)
                load_bundle(temporary)
            kept = [_without(item, aliases) for item in index.entries]
            event = Event(entry.created, entry.pushed_by, PUSH, entry.reference, " ".join(entry.aliases))
            self._write([*kept, entry], [*index.history, event])
        return entry

    def list(self) -> Sequence[Entry]:
        """All versions, oldest first."""
        return list(self._read().entries)

    def pull(self, reference: str) -> Path:
        """The bundle's own folder in the registry, verified; nothing is copied."""
        folder = self._folder(self.find(reference))
        try:
            load_bundle(folder)
        except BundleError as error:
            raise RegistryError(f"{reference} in {self.root} is damaged: {error}") from error
        return folder

    def annotate(self, reference: str, metadata: Mapping[str, Any]) -> Entry:
        """Write these keys into an entry's metadata, where others stay."""
        with self._exclusive():
            index, entry = self._read(), self.find(reference)
            changed = replace(entry, metadata={**entry.metadata, **metadata})
            self._write([changed if item == entry else item for item in index.entries], index.history)
        return changed

    def history(self) -> Sequence[Event]:
        """What was done, oldest first."""
        return self._read().history

    def _move(self, alias: str, to: Entry | None, event: Event) -> None:
        index = self._read()
        entries = [_without(item, [alias]) for item in index.entries]
        if to is not None:
            entries = [
                replace(item, aliases=[*item.aliases, alias]) if item.reference == to.reference else item
                for item in entries
            ]
        self._write(entries, [*index.history, event])

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock:
            yield

    def _read(self) -> _Index:
        try:
            content = json.loads((self.root / _INDEX).read_text(encoding="utf-8"))
            return _Index(
                tuple(Entry(**item) for item in content["entries"]),
                tuple(Event(**item) for item in content.get("history", [])),
            )
        except FileNotFoundError:
            return _Index()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(f"{self.root / _INDEX} can't be read ({error}); restore it or start anew.") from error

    def _write(self, entries: Sequence[Entry], history: Sequence[Event]) -> None:
        content = {"entries": list(map(asdict, entries)), "history": list(map(asdict, history))}
        write_json(self.root / _INDEX, content)

    def _folder(self, entry: Entry) -> Path:
        return self.root / entry.name / entry.version


def _last_version(index: _Index, name: str) -> int:
    """Of the ones that are listed and those that ever were: what was removed by hand keeps its number."""
    references = [entry.reference for entry in index.entries] + [event.reference for event in index.history]
    numbers = [re.fullmatch(re.escape(name) + r":v(\d+)", reference) for reference in references]
    return max((int(found[1]) for found in numbers if found), default=0)


def _without(entry: Entry, aliases: Sequence[str]) -> Entry:
    return replace(entry, aliases=[alias for alias in entry.aliases if alias not in aliases])
