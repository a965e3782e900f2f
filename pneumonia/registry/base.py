"""What every registry does: versions of bundles, aliases that move, and a history of who moved them and why."""

import datetime
import getpass
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pneumonia.bundle import Bundle, load_bundle
from pneumonia.errors import RegistryError
from pneumonia.registry.policy import Verdict, judge_promotion

CANDIDATE = "candidate"
BEST = "best"
# Of an entry's metadata: what came of its staged tests.
STAGED = "staged"

PUSH, ALIAS, UNALIAS, PROMOTE, ROLLBACK = "push", "alias", "unalias", "promote", "rollback"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Entry:
    """One version of a bundle in a registry: `name:v3`, its aliases, when and by whom it was pushed.

    `metadata` is what was written to it since (`Registry.annotate`); the bundle itself never changes.
    """

    name: str
    version: str
    bundle_version: str
    aliases: list[str] = field(default_factory=list)
    created: str = ""
    pushed_by: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True)
class Event:
    """What was done to a registry.

    `action` is push, alias, unalias, promote or rollback; `reference` what it was done to; `alias` the one that moved
    and `previous` what held it before, empty for none. `reason` is the one that was given; `forced` whether the policy
    was against it; `finding` what the policy found.
    """

    when: str
    who: str
    action: str
    reference: str
    alias: str = ""
    previous: str = ""
    reason: str = ""
    forced: bool = False
    finding: str = ""

    def __str__(self) -> str:
        """A line of a log."""
        of = f" {self.alias}" if self.alias else ""
        before = f" (before: {self.previous})" if self.previous else ""
        why = "; ".join(filter(None, ["by force" if self.forced else "", self.reason, self.finding]))
        return f"{self.when} {self.who}: {self.action} {self.reference}{of}{before}{': ' if why else ''}{why}"


class Registry(ABC):
    """Where bundles are versioned. An alias belongs to the whole registry: `best` is one bundle, whatever its name.

    A backend stores (the abstract methods); what is allowed and what is recorded is the same for all of them.
    """

    @abstractmethod
    def push(self, directory: Path, aliases: Sequence[str]) -> Entry:
        """Add a bundle as the next version of its name, verified; the aliases move to it.

        A version that was given is never given again. Raises `BundleError` for a damaged bundle and what
        `check_names` raises.
        """

    @abstractmethod
    def list(self) -> Sequence[Entry]:
        """All versions, oldest first."""

    @abstractmethod
    def pull(self, reference: str) -> Path:
        """A directory with the bundle of `name:version`, `name:alias` or `alias`, verified.

        Raises `RegistryError` when there is none, or it is damaged.
        """

    @abstractmethod
    def annotate(self, reference: str, metadata: Mapping[str, Any]) -> Entry:
        """Write these keys into an entry's metadata, where others stay. Values are strict JSON."""

    @abstractmethod
    def history(self) -> Sequence[Event]:
        """What was done, oldest first."""

    @abstractmethod
    def _move(self, alias: str, to: Entry | None, event: Event) -> None:
        """Take an alias from whatever holds it, give it to an entry unless that is None, and record the event."""

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """What is decided inside holds until it is written, where the backend can have it so; it may be nested."""
        yield

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return type(self).__name__

    def find(self, reference: str) -> Entry:
        """The entry of `name:version`, `name:alias`, `alias`, or of a prediction's `model`, `name:bundle_version`.

        Raises `RegistryError` when there is none. Of equal bundles that were pushed twice it is the newest.
        """
        name, _, tag = reference.rpartition(":")
        entries = self.list()
        for entry in reversed(entries):
            if name in ("", entry.name) and (
                tag in entry.aliases or (name and tag == entry.version) or (tag and tag == entry.bundle_version)
            ):
                return entry
        known = ", ".join(f"{entry.reference} {entry.aliases}" for entry in entries) or "it is empty"
        raise RegistryError(f"There is no {reference!r} in the registry {self.place}: {known}.")

    def holder(self, alias: str) -> Entry | None:
        """What an alias is on; None where nothing has it."""
        return next((entry for entry in reversed(self.list()) if alias in entry.aliases), None)

    def alias(self, reference: str, alias: str, reason: str = "") -> Entry:
        """Move an alias to an entry. Raises what `check_names` raises."""
        check_names(alias)
        with self._exclusive():
            return self._give(ALIAS, alias, self.find(reference), reason)

    def unalias(self, alias: str, reason: str = "") -> Entry:
        """Take an alias away; returns what had it. Raises `RegistryError` where nothing has, and for `best`."""
        check_names(alias)
        with self._exclusive():
            entry = self.find(alias)
            event = Event(timestamp(), current_user(), UNALIAS, entry.reference, alias, entry.reference, reason)
            self._move(alias, None, event)
            return entry

    def promote(self, reference: str, force: bool = False, reason: str = "") -> Entry:
        """Move `best` to an entry, if the policy allows it (`pneumonia.registry.policy`); the finding is recorded.

        With `force` it moves against the policy, for a `reason` that is recorded; never to a bundle of phantoms or one
        that is damaged. Raises `RegistryError` when it is refused.
        """
        if force and not reason.strip():
            raise RegistryError("Who promotes by force gives a reason, which is recorded: --force --reason TEXT.")
        with self._exclusive():
            entry, present = self.find(reference), self.holder(BEST)
            bundle = load_bundle(self.pull(entry.reference))
            if present is not None and present.reference == entry.reference:
                return entry
            verdict = self._judge(bundle, entry, present)
            if not verdict.allowed and not (force and verdict.forceable):
                raise RegistryError(f"{entry.reference} ({bundle.label}) is not promoted: {verdict.finding}")
            return self._give(PROMOTE, BEST, entry, reason, not verdict.allowed, verdict.finding)

    def rollback(self, reason: str = "") -> Entry:
        """Move `best` back to what held it before. Raises `RegistryError` when nothing did, or that is damaged."""
        with self._exclusive():
            earlier = earlier_holder(self.history())
            if earlier is None:
                raise RegistryError(
                    f"In the registry {self.place} nothing held {BEST!r} before: promote another bundle."
                )
            entry = self.find(earlier)
            self.pull(entry.reference)
            return self._give(ROLLBACK, BEST, entry, reason)

    def _judge(self, bundle: Bundle, entry: Entry, present: Entry | None) -> Verdict:
        staged = entry.metadata.get(STAGED)
        try:
            best = None if present is None else load_bundle(self.pull(present.reference))
        except RegistryError as error:  # one that was damaged must not stay best for ever
            verdict = judge_promotion(bundle, None, staged)
            words = (
                f"it can't be compared with the present best: {error} Another takes its place by --force --reason TEXT."
            )
            return Verdict(False, words) if verdict.allowed else verdict
        return judge_promotion(bundle, best, staged)

    def _give(
        self, action: str, alias: str, entry: Entry, reason: str, forced: bool = False, finding: str = ""
    ) -> Entry:
        before = self.holder(alias)
        previous = "" if before is None else before.reference
        event = Event(timestamp(), current_user(), action, entry.reference, alias, previous, reason, forced, finding)
        self._move(alias, entry, event)
        return self.find(entry.reference)


def earlier_holder(history: Sequence[Event]) -> str | None:
    """What `best` goes back to: promotions stack up, and a rollback takes the last one off.

    >>> def event(action, reference):
    ...     return Event("", "", action, reference, BEST)
    >>> earlier_holder([event(PROMOTE, "cnn:v1"), event(PROMOTE, "cnn:v2"), event(PROMOTE, "cnn:v3")])
    'cnn:v2'
    >>> earlier_holder([event(PROMOTE, "cnn:v1"), event(PROMOTE, "cnn:v2"), event(ROLLBACK, "cnn:v1")]) is None
    True
    """
    stack: list[str] = []
    for event in history:
        if event.alias == BEST and event.action == PROMOTE:
            stack += [event.previous] if not stack and event.previous else []
            stack.append(event.reference)
        elif event.alias == BEST and event.action == ROLLBACK:
            del stack[-1:]
    return stack[-2] if len(stack) > 1 else None


def check_names(*aliases: str, bundle: str | None = None) -> None:
    """Raise `RegistryError` for names that can't be, and for `best`, which only `promote` gives."""
    if BEST in aliases:
        raise RegistryError(f"{BEST!r} is given by `pneumonia registry promote`, or `push --promote`: both check.")
    for name in (*([] if bundle is None else [bundle]), *aliases):
        if not _NAME.fullmatch(name) or re.fullmatch(r"v\d+", name):
            raise RegistryError(f"{name!r} is no name for a bundle or alias: letters, digits, dot, dash, not v1.")


def timestamp() -> str:
    """Now, in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def current_user() -> str:
    """Who is at work: the account's name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
