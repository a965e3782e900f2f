"""What the stand-in for W&B's server knows: entities, projects, runs, artifacts, collections and their aliases."""

import datetime
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.wandb_server.graphql import Refused

REGISTRY_PREFIX = "wandb-registry-"

_ids = itertools.count(1)


def new_id(kind: str) -> str:
    return f"{kind}-{next(_ids)}"


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(eq=False)
class Run:
    """A run: what was streamed of it, its files by name, and what it used and made."""

    name: str
    project: "Project"
    id: str = field(default_factory=lambda: new_id("run"))
    config: str = "{}"
    summary: str = "{}"
    state: str = "running"
    display_name: str = ""
    streams: dict[str, list[str]] = field(default_factory=dict)
    inputs: list["Artifact"] = field(default_factory=list)
    outputs: list["Artifact"] = field(default_factory=list)

    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.streams.get("wandb-history.jsonl", [])]

    def configuration(self) -> dict[str, Any]:
        return {key: item["value"] for key, item in json.loads(self.config).items()}


@dataclass(eq=False)
class Membership:
    """An artifact as a version of a collection."""

    artifact: "Artifact"
    collection: "Collection"
    index: int
    aliases: list[str]
    id: str = field(default_factory=lambda: new_id("membership"))
    created: str = field(default_factory=now)


@dataclass(eq=False)
class Collection:
    """Versions under one name: a sequence, in which artifacts are made, or a portfolio, to which they are linked."""

    name: str
    kind: str
    project: "Project"
    type: str
    members: list[Membership] = field(default_factory=list)
    id: str = field(default_factory=lambda: new_id("collection"))
    created: str = field(default_factory=now)
    given: int = 0

    def add(self, artifact: "Artifact", aliases: list[str]) -> Membership:
        found = next((member for member in self.members if member.artifact is artifact), None)
        if found is None:
            found = Membership(artifact, self, self.given, [])
            self.given += 1
            self.members.append(found)
            aliases = [*aliases, "latest"]
        for alias in dict.fromkeys(aliases):
            self.move(alias, found)
        return found

    def move(self, alias: str, to: Membership | None) -> None:
        for member in self.members:
            if alias in member.aliases:
                member.aliases.remove(alias)
        if to is not None:
            to.aliases.append(alias)

    def find(self, tag: str) -> Membership | None:
        return next((item for item in self.members if tag in item.aliases or tag in (f"v{item.index}", "")), None)


@dataclass(eq=False)
class Artifact:
    """An artifact: its files' places in storage by name, and its state."""

    sequence: Collection
    digest: str
    metadata: str
    description: str | None
    client_id: str | None
    aliases: list[str]
    made_by: Run | None
    id: str = field(default_factory=lambda: new_id("artifact"))
    state: str = "PENDING"
    created: str = field(default_factory=now)
    manifest: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Project:
    """A project of an entity; a registry is one, too."""

    name: str
    entity: str
    runs: dict[str, Run] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)
    id: str = field(default_factory=lambda: new_id("project"))
    created: str = field(default_factory=now)

    def collection(self, name: str, kind: str, type_: str) -> Collection:
        if name not in self.collections:
            self.collections[name] = Collection(name, kind, self, type_)
        return self.collections[name]


@dataclass
class Store:
    """Everything; a team `team` whose organization's registries are projects of the entity `team-org`."""

    team: str = "team"
    organization: str = "Team Org"
    org_entity: str = "team-org"
    user: str = "tester"
    projects: dict[tuple[str, str], Project] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def project(self, entity: str | None, name: str, make: bool = False) -> Project | None:
        key = (entity or self.team, name)
        if make and key not in self.projects:
            if name.startswith(REGISTRY_PREFIX):
                raise Refused(f"registry {name} not found in {entity}")
            self.projects[key] = Project(name, key[0])
        return self.projects.get(key)

    def add_registry(self, name: str) -> Project:
        project = Project(f"{REGISTRY_PREFIX}{name}", self.org_entity)
        self.projects[self.org_entity, project.name] = project
        return project

    def run(self, entity: str | None, project: str, name: str) -> Run | None:
        found = self.project(entity, project)
        return None if found is None else found.runs.get(name)

    def memberships(self, artifact: Artifact) -> list[Membership]:
        collections = [item for project in self.projects.values() for item in project.collections.values()]
        return [member for item in collections for member in item.members if member.artifact is artifact]

    def artifact(self, wanted: Mapping[str, Any]) -> Artifact:
        """Of an input's `artifactID` or `clientID`."""
        for item in self.artifacts.values():
            if item.id == wanted.get("artifactID") or (wanted.get("clientID") and item.client_id == wanted["clientID"]):
                return item
        raise Refused("artifact not found")
