"""A registry of Weights & Biases: bundles as artifacts of their runs, linked to `wandb-registry-NAME`."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pneumonia.bundle import Bundle, load_bundle, read_bundle_manifest
from pneumonia.errors import BundleError, PneumoniaError, RegistryError
from pneumonia.files import atomic_directory, write_json
from pneumonia.registry.base import PUSH, Entry, Event, Registry, check_names, current_user, timestamp
from pneumonia.registry.wandb_artifact import (
    SIDECAR,
    bundle_files,
    bundle_metadata,
    collection_of,
    described,
    entry_of,
    events_of,
    first_seen,
    record_of,
    with_event,
    with_record,
)
from pneumonia.wandb_account import PROJECT, has_account, require_wandb

CACHE_VARIABLE = "PNEUMONIA_REGISTRY_CACHE"
_TYPE = "model"


class WandbRegistry(Registry):
    """The registry `wandb-registry-NAME` of the organization that an entity (a team or a user) belongs to.

    A bundle's name is a collection there. What was done, by whom and why, and what was annotated, is metadata of the
    version it concerns. W&B has no transactions: of two people who promote in the same second, the later one's word
    stands.
    """

    def __init__(self, entity: str, name: str, cache: Path | None = None) -> None:
        self.entity, self.name = entity, name
        self._cache = cache_folder() if cache is None else cache

    @property
    def place(self) -> str:
        """As it is given to `--root`."""
        return f"wandb://{self.entity}/{self.name}"

    def push(self, directory: Path, aliases: Sequence[str]) -> Entry:
        """Log a bundle as an artifact of the run that made it, link it, and move the aliases to it.

        The run is the one that its provenance names, also when that was offline: what was not sent yet is now. A bundle
        that is in the registry already keeps its version there.
        """
        bundle = load_bundle(directory)
        check_names(*aliases, bundle=bundle.name)
        with self._explained(), self._run(bundle) as run:
            artifact = run.log_artifact(self._artifact(bundle))
            artifact.wait()
            linked = run.link_artifact(
                artifact, f"wandb-registry-{self.name}/{bundle.name}", aliases=list(dict.fromkeys(aliases))
            )
            entry = entry_of(linked)
            event = Event(timestamp(), current_user(), PUSH, entry.reference, " ".join(aliases))
            record = {"pushed_by": event.who, **record_of(linked)}
            linked.metadata = with_record(linked, with_event(record, event))
            linked.save()
            for alias in aliases:
                self._take(alias, entry)
        return self.find(entry.reference)

    def list(self) -> Sequence[Entry]:
        """All versions, oldest first."""
        return [entry_of(artifact) for artifact in self._artifacts()]

    def pull(self, reference: str) -> Path:
        """A folder of this machine's cache with the bundle, verified; downloaded when it is not there yet."""
        entry = self.find(reference)
        folder = self._cache / self.entity / self.name / entry.name / f"{entry.version}-{entry.bundle_version}"
        if _is_whole(folder, entry):
            return folder
        try:
            with self._explained(), atomic_directory(folder, replace=True) as temporary:
                artifact = self._named(entry.reference)
                artifact.download(root=str(temporary))
                write_json(temporary / SIDECAR, described(artifact))
                _check(temporary, entry, f"{reference} in {self.place}")
        except RegistryError:
            if not _is_whole(folder, entry):  # another process may have put it there meanwhile
                raise
        return folder

    def annotate(self, reference: str, metadata: Mapping[str, Any]) -> Entry:
        """Write these keys into an entry's metadata, where others stay."""
        entry = self.find(reference)
        with self._explained():
            artifact = self._named(entry.reference)
            record = record_of(artifact)
            record["notes"] = {**(record.get("notes") or {}), **metadata}
            artifact.metadata = with_record(artifact, record)
            artifact.save()
        return self.find(entry.reference)

    def history(self) -> Sequence[Event]:
        """What was done, oldest first."""
        events = [event for artifact in self._artifacts() for event in events_of(artifact)]
        return [event for _, event in sorted(events, key=lambda item: item[0])]

    def _move(self, alias: str, to: Entry | None, event: Event) -> None:
        with self._explained():
            artifact = self._named(event.reference)
            artifact.metadata = with_record(artifact, with_event(record_of(artifact), event))
            if to is not None and alias not in artifact.aliases:
                artifact.aliases = [*artifact.aliases, alias]
            artifact.save()
            self._take(alias, to)

    def _take(self, alias: str, keeper: Entry | None) -> None:
        """Take an alias from all but one. In that one's own collection W&B has moved it already."""
        for artifact in self._artifacts():
            kept = keeper is not None and collection_of(artifact) == keeper.name
            if alias in artifact.aliases and not kept:
                artifact.aliases = [held for held in artifact.aliases if held != alias]
                artifact.save()

    def _artifacts(self) -> Sequence[Any]:
        """The linked artifacts that are bundles, oldest first."""
        with self._explained():
            found = [item for item in self._linked.versions() if "bundle_version" in item.metadata]
        return sorted(found, key=first_seen)

    def _named(self, reference: str) -> Any:
        return self._api.artifact(f"wandb-registry-{self.name}/{reference}")

    @cached_property
    def _linked(self) -> Any:
        return self._api.registry(self.name)

    @cached_property
    def _api(self) -> Any:
        wandb = require_wandb(f"The registry {self.place}")
        if not has_account():
            raise RegistryError(
                f"The registry {self.place} needs a W&B account: `wandb login`, or WANDB_API_KEY. Without one, --root "
                "names a folder."
            )
        wandb.setup(wandb.Settings(silent=True))
        return wandb.Api(overrides={"entity": self.entity})

    def _artifact(self, bundle: Bundle) -> Any:
        artifact = require_wandb(self.place).Artifact(bundle.name, type=_TYPE, metadata=bundle_metadata(bundle))
        for path in bundle_files(bundle, read_bundle_manifest(bundle.directory)["files"]):
            artifact.add_file(str(path))
        return artifact

    @contextmanager
    def _run(self, bundle: Bundle) -> Iterator[Any]:
        """The run that made a bundle, resumed; for one that was not tracked, a run of its own."""
        assert self._api is not None  # who has no account is told so first
        known = bundle.provenance.get("run") or {}
        wandb = require_wandb(self.place)
        with (
            tempfile.TemporaryDirectory(prefix="pneumonia-", ignore_cleanup_errors=True) as folder,
            wandb.init(
                entity=known.get("entity") or self.entity,
                project=known.get("project") or PROJECT,
                id=known.get("id"),
                resume="allow" if known.get("id") else None,
                job_type=None if known.get("id") else "push",
                dir=folder,
                mode="online",
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
            ) as run,
        ):
            yield run

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What the client raises, of many kinds, as one of ours."""
        try:
            yield
        except PneumoniaError:
            raise
        except Exception as error:
            raise RegistryError(f"W&B refused what the registry {self.place} was asked: {error}") from error


def cache_folder() -> Path:
    """Where pulled bundles are kept: `PNEUMONIA_REGISTRY_CACHE`, else the user's cache."""
    given = os.environ.get(CACHE_VARIABLE)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "pneumonia" / "registry"


def _check(folder: Path, entry: Entry, what: str) -> None:
    try:
        found = load_bundle(folder).version
    except BundleError as error:
        raise RegistryError(f"{what} is damaged: {error}") from error
    if found != entry.bundle_version:
        raise RegistryError(f"{what} is {found}, not {entry.bundle_version} as it says; push it again.")


def _is_whole(folder: Path, entry: Entry) -> bool:
    try:
        return folder.is_dir() and load_bundle(folder).version == entry.bundle_version
    except BundleError:
        return False
