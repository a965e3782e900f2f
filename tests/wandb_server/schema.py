"""The part of W&B's GraphQL API that its client asks for here: nodes, queries and mutations over a `Store`."""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from tests.wandb_server.graphql import Node, Refused, connection
from tests.wandb_server.store import Artifact, Collection, Membership, Project, Run, Store, new_id

# What a present server says that it can.
FEATURES = (
    "ARTIFACT_REGISTRY_SEARCH",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
)


class Schema:
    """Resolvers over a store; `url_of` gives the address of a blob to read or to write."""

    def __init__(self, store: Store, url_of: Callable[[str], str]) -> None:
        self.store, self.url_of = store, url_of
        self.roots = {"query": self._queries(), "mutation": self._mutations()}

    # ---- nodes

    def project_node(self, project: Project | None) -> Node | None:
        if project is None:
            return None
        types = {item.type for item in project.collections.values()}
        return {
            "__typename": "Project",
            "id": project.id,
            "internalId": b64encode(f"ProjectInternalId:{project.id.partition('-')[2]}".encode()).decode(),
            "name": project.name,
            "createdAt": project.created,
            "updatedAt": project.created,
            "readOnly": False,
            "description": "",
            "access": "PRIVATE",
            "allowAllArtifactTypesInRegistry": True,
            "entity": lambda: self.entity_node(project.entity),
            "run": lambda name: self.run_node(project.runs.get(name)),
            "bucket": lambda name: self.run_node(project.runs.get(name)),
            "artifact": lambda name: self._artifact_named(project, name),
            "artifactType": lambda name: self.type_node(project, name),
            "artifactTypes": lambda: connection([self.type_node(project, name) for name in sorted(types)]),
            "artifactCollection": lambda name: self.collection_node(project.collections.get(name)),
            "artifactCollections": lambda: connection(
                [self.collection_node(item) for item in project.collections.values()]
            ),
            "artifactCollectionMembership": lambda name: self.membership_node(self._member_named(project, name)),
        }

    def entity_node(self, name: str) -> Node:
        ours = name in (self.store.team, self.store.org_entity)
        return {
            "__typename": "Entity",
            "id": f"entity-{name}",
            "name": name,
            "entityType": "organization" if name == self.store.org_entity else "team",
            "organization": self._organization_node if ours else None,
            "user": None,
            "project": lambda name, entity=name: self.project_node(self.store.project(entity, name)),
            "artifactMemberships": lambda projectFilters=None: connection(self._linked(projectFilters)),
        }

    def type_node(self, project: Project, name: str) -> Node:
        def collections() -> list[Node | None]:
            return [self.collection_node(item) for item in project.collections.values() if item.type == name]

        return {
            "__typename": "ArtifactType",
            "id": f"type-{name}",
            "name": name,
            "description": "",
            "createdAt": project.created,
            "artifactCollection": lambda name: self.collection_node(project.collections.get(name)),
            "artifactCollections": lambda: connection(collections()),
        }

    def collection_node(self, collection: Collection | None) -> Node | None:
        if collection is None:
            return None
        latest = collection.members[-1].artifact if collection.members else None
        aliases = [self._alias_node(member, alias) for member in collection.members for alias in member.aliases]
        return {
            "__typename": collection.kind,
            "__interfaces": ("ArtifactCollection",),
            "id": collection.id,
            "name": collection.name,
            "description": "",
            "state": "READY",
            "createdAt": collection.created,
            "updatedAt": collection.created,
            "project": lambda: self.project_node(collection.project),
            "defaultArtifactType": lambda: self.type_node(collection.project, collection.type),
            "digestAlgorithm": "MANIFEST_MD5",
            "tags": connection([]),
            "aliases": lambda: connection(aliases),
            "latestArtifact": lambda: self.artifact_node(latest),
            "artifactMembership": lambda aliasName: self.membership_node(collection.find(aliasName)),
            "artifacts": lambda: self._versions(collection),
            "artifactMemberships": lambda: connection([self.membership_node(item) for item in collection.members]),
        }

    def membership_node(self, member: Membership | None) -> Node | None:
        if member is None:
            return None
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": member.id,
            "versionIndex": member.index,
            "createdAt": member.created,
            "aliases": [self._alias_node(member, alias) for alias in member.aliases],
            "artifactCollection": lambda: self.collection_node(member.collection),
            "artifact": lambda: self.artifact_node(member.artifact),
            "files": lambda names=None: connection(self._file_nodes(member.artifact, names)),
        }

    def artifact_node(self, artifact: Artifact | None) -> Node | None:
        if artifact is None:
            return None
        members = self.store.memberships(artifact)
        own = next((member.index for member in members if member.collection is artifact.sequence), None)
        blobs = [self.store.blobs.get(place, b"") for place in artifact.files.values()]
        return {
            "__typename": "Artifact",
            "id": artifact.id,
            "state": artifact.state,
            "digest": artifact.digest,
            "digestAlgorithm": "MANIFEST_MD5",
            "metadata": artifact.metadata,
            "description": artifact.description,
            "versionIndex": own,
            "createdAt": artifact.created,
            "updatedAt": artifact.created,
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": None,
            "commitHash": artifact.digest,
            "size": sum(map(len, blobs)),
            "fileCount": len(blobs),
            "artifactType": lambda: self.type_node(artifact.sequence.project, artifact.sequence.type),
            "artifactSequence": lambda: self.collection_node(artifact.sequence),
            "artifactMemberships": lambda: connection([self.membership_node(member) for member in members]),
            "aliases": [self._alias_node(member, alias) for member in members for alias in member.aliases],
            "currentManifest": lambda: {
                "__typename": "ArtifactManifest",
                "id": artifact.manifest,
                "file": self._blob_node(artifact.manifest),
            },
            "files": lambda names=None: connection(self._file_nodes(artifact, names)),
            "filesByManifestEntries": lambda entries=(): connection(
                self._file_nodes(artifact, [entry["name"] for entry in entries])
            ),
            "createdBy": lambda: self.run_node(artifact.made_by),
            "usedBy": lambda: connection(
                [
                    self.run_node(run)
                    for project in self.store.projects.values()
                    for run in project.runs.values()
                    if artifact in run.inputs
                ]
            ),
        }

    def run_node(self, run: Run | None) -> Node | None:
        if run is None:
            return None

        def lines(stream: str) -> int:
            return len(run.streams.get(stream, []))

        def tail(stream: str) -> str:
            return json.dumps(run.streams.get(stream, [])[-1:])

        return {
            "__typename": "Run",
            "id": run.id,
            "name": run.name,
            "displayName": run.display_name or run.name,
            "description": "",
            "notes": "",
            "tags": [],
            "state": run.state,
            "stopped": False,
            "config": run.config,
            "wandbConfig": lambda keys: json.dumps(
                {key: run.configuration().get("_wandb", {}).get(key) for key in keys}
            ),
            "summaryMetrics": run.summary,
            "sweepName": None,
            "createdAt": run.project.created,
            "project": lambda: self.project_node(run.project),
            "historyLineCount": lines("wandb-history.jsonl"),
            "eventsLineCount": lines("wandb-events.jsonl"),
            "logLineCount": lines("output.log"),
            "historyTail": tail("wandb-history.jsonl"),
            "eventsTail": tail("wandb-events.jsonl"),
            "outputArtifacts": lambda: connection([self.artifact_node(item) for item in run.outputs]),
            "inputArtifacts": lambda: connection([self.artifact_node(item) for item in run.inputs]),
        }

    def _organization_node(self) -> Node:
        return {
            "__typename": "Organization",
            "id": "organization-1",
            "name": self.store.organization,
            "coreWeaveOrganizationId": None,
            "featureFlags": [],
            "advancedRegistryFeatures": None,
            "orgEntity": lambda: self.entity_node(self.store.org_entity),
        }

    def _linked(self, filters: str | None) -> list[Node | None]:
        """All versions in the registries that a filter names."""
        name = json.loads(filters or "{}").get("name")
        return [
            self.membership_node(member)
            for project in self.store.projects.values()
            if project.entity == self.store.org_entity and name in (None, project.name)
            for collection in project.collections.values()
            for member in reversed(collection.members)
        ]

    def _versions(self, collection: Collection) -> Node:
        page = connection([self.artifact_node(item.artifact) for item in collection.members])
        for edge, member in zip(page["edges"], collection.members, strict=True):
            edge["version"] = f"v{member.index}"
        return {**page, "edges": page["edges"][::-1]}

    def _alias_node(self, member: Membership, alias: str) -> Node:
        return {
            "__typename": "ArtifactAlias",
            "id": f"{member.id}-{alias}",
            "alias": alias,
            "artifactCollection": lambda: self.collection_node(member.collection),
        }

    def _file_nodes(self, artifact: Artifact, names: list[str] | None) -> list[Node]:
        wanted = artifact.files if names is None else {name: artifact.files[name] for name in names}
        return [{**self._blob_node(place), "name": name, "displayName": name} for name, place in wanted.items()]

    def _blob_node(self, place: str) -> dict[str, Any]:
        return {
            "__typename": "File",
            "id": place,
            "storagePath": place,
            "uploadUrl": self.url_of(place),
            "directUrl": self.url_of(place),
            "url": self.url_of(place),
            "uploadHeaders": [],
            "sizeBytes": len(self.store.blobs.get(place, b"")),
            "mimetype": "application/octet-stream",
            "updatedAt": None,
            "digest": None,
            "md5": None,
        }

    def _member_named(self, project: Project, name: str) -> Membership | None:
        collection, _, tag = name.partition(":")
        found = project.collections.get(collection)
        return None if found is None else found.find(tag or "latest")

    def _artifact_named(self, project: Project, name: str) -> Node | None:
        member = self._member_named(project, name)
        return None if member is None else self.artifact_node(member.artifact)

    # ---- queries and mutations

    def _queries(self) -> Node:
        store = self.store
        teams = connection([{"__typename": "Entity", "name": store.team}])
        return {
            "__typename": "Query",
            "viewer": lambda: {
                "__typename": "User",
                "id": "user-1",
                "entity": store.team,
                "username": store.user,
                "email": "",
                "flags": "{}",
                "teams": teams,
            },
            "serverInfo": {
                "__typename": "ServerInfo",
                "features": [{"__typename": "Feature", "name": name, "isEnabled": True} for name in FEATURES],
            },
            "entity": lambda name: self.entity_node(name),
            "organization": lambda name: self._organization_node() if name == store.organization else None,
            "project": lambda name, entityName=None: self.project_node(store.project(entityName, name)),
            "model": lambda name, entityName=None: self.project_node(store.project(entityName, name)),
            "artifact": lambda id: self.artifact_node(store.artifacts.get(id)),
            "artifactCollection": lambda id: next(
                self.collection_node(item)
                for project in store.projects.values()
                for item in project.collections.values()
                if item.id == id
            ),
        }

    def _mutations(self) -> Node:
        names = (
            *("upsertBucket", "createRunFiles", "markRunFilesUploaded", "createArtifact", "createArtifactManifest"),
            *("updateArtifactManifest", "createArtifactFiles", "commitArtifact", "useArtifact", "updateArtifact"),
            *("linkArtifact", "unlinkArtifact", "addAliases", "deleteAliases"),
        )
        return {"__typename": "Mutation", **{name: getattr(self, f"_{name}") for name in names}}

    def _upsertBucket(self, input: dict[str, Any]) -> Node:
        project = self.store.project(input.get("entityName"), input["modelName"], make=True)
        assert project is not None
        inserted = input["name"] not in project.runs
        run = project.runs.setdefault(input["name"], Run(input["name"], project))
        run.config = input.get("config") or run.config
        run.summary = input.get("summaryMetrics") or run.summary
        run.display_name = input.get("displayName") or run.display_name
        return {"__typename": "Payload", "bucket": self.run_node(run), "inserted": inserted}

    def _createRunFiles(self, input: dict[str, Any]) -> Node:
        run = self._run_of(input)
        files = [{**self._blob_node(f"run/{run.id}/{name}"), "name": name} for name in input["files"]]
        return {"__typename": "Payload", "runID": run.id, "uploadHeaders": [], "files": files}

    def _markRunFilesUploaded(self, input: dict[str, Any]) -> Node:
        return {"__typename": "Payload", "success": True}

    def _createArtifact(self, input: dict[str, Any]) -> Node:
        project = self.store.project(input["entityName"], input["projectName"], make=True)
        assert project is not None
        name = input.get("artifactCollectionName") or input["artifactCollectionNames"][0]
        sequence = project.collection(name, "ArtifactSequence", input["artifactTypeName"])
        same = [item.artifact for item in sequence.members if item.artifact.digest == input["digest"]]
        aliases = [item["alias"] for item in input.get("aliases") or []]
        made = (
            same[0]
            if same
            else Artifact(
                sequence,
                input["digest"],
                input.get("metadata") or "{}",
                input.get("description"),
                input.get("clientID"),
                aliases,
                project.runs.get(input.get("runName") or ""),
            )
        )
        if same:
            sequence.add(made, aliases)
        # The client has learned of the latest version before this one.
        node = self.artifact_node(made)
        assert node is not None
        latest = self.artifact_node(sequence.members[-1].artifact) if sequence.members else None
        self.store.artifacts[made.id] = made
        return {
            "__typename": "Payload",
            "artifact": {
                **node,
                "artifactSequence": {**(self.collection_node(sequence) or {}), "latestArtifact": latest},
            },
        }

    def _createArtifactManifest(self, input: dict[str, Any]) -> Node:
        artifact = self.store.artifact(input)
        artifact.manifest = f"manifest/{new_id('manifest')}"
        return self._manifest_node(artifact)

    def _updateArtifactManifest(self, input: dict[str, Any]) -> Node:
        found = [item for item in self.store.artifacts.values() if item.manifest == input["artifactManifestID"]]
        return self._manifest_node(found[0])

    def _manifest_node(self, artifact: Artifact) -> Node:
        manifest = {
            "__typename": "ArtifactManifest",
            "id": artifact.manifest,
            "file": self._blob_node(artifact.manifest),
        }
        return {"__typename": "Payload", "artifactManifest": manifest}

    def _createArtifactFiles(self, input: dict[str, Any]) -> Node:
        nodes = []
        for item in input["artifactFiles"]:
            artifact = self.store.artifact(item)
            place = artifact.files[item["name"]] = f"artifact/{artifact.id}/{item['name']}"
            nodes.append(
                {**self._blob_node(place), "uploadMultipartUrls": None, "artifact": self.artifact_node(artifact)}
            )
        return {"__typename": "Payload", "files": connection(nodes)}

    def _commitArtifact(self, input: dict[str, Any]) -> Node:
        artifact = self.store.artifact(input)
        missing = [name for name, place in artifact.files.items() if place not in self.store.blobs]
        if missing or artifact.manifest not in self.store.blobs:
            raise Refused(f"not uploaded: {missing or 'manifest'}")
        for name, entry in json.loads(self.store.blobs[artifact.manifest])["contents"].items():
            born = self.store.artifacts.get(entry.get("birthArtifactID", ""))
            if name not in artifact.files and born is not None:
                artifact.files[name] = born.files[name]
        artifact.state = "COMMITTED"
        artifact.sequence.add(artifact, artifact.aliases)
        if artifact.made_by is not None and artifact not in artifact.made_by.outputs:
            artifact.made_by.outputs.append(artifact)
        return {"__typename": "Payload", "artifact": self.artifact_node(artifact)}

    def _useArtifact(self, input: dict[str, Any]) -> Node:
        run, artifact = self._run_of(input), self.store.artifact(input)
        if artifact not in run.inputs:
            run.inputs.append(artifact)
        # What a run uses it has not made.
        run.outputs = [item for item in run.outputs if item is not artifact]
        return {"__typename": "Payload", "artifact": self.artifact_node(artifact)}

    def _updateArtifact(self, input: dict[str, Any]) -> Node:
        artifact = self.store.artifact(input)
        artifact.metadata = input.get("metadata") or artifact.metadata
        artifact.description = input.get("description") or artifact.description
        return {"__typename": "Payload", "artifact": self.artifact_node(artifact)}

    def _linkArtifact(self, input: dict[str, Any]) -> Node:
        artifact = self.store.artifact(input)
        project = self.store.project(input["entityName"], input["projectName"], make=True)
        assert project is not None
        portfolio = project.collection(input["artifactPortfolioName"], "ArtifactPortfolio", artifact.sequence.type)
        member = portfolio.add(artifact, [item["alias"] for item in input.get("aliases") or []])
        return {
            "__typename": "Payload",
            "versionIndex": member.index,
            "artifactMembership": self.membership_node(member),
        }

    def _unlinkArtifact(self, input: dict[str, Any]) -> Node:
        artifact = self.store.artifact(input)
        for member in self.store.memberships(artifact):
            if member.collection.id == input["artifactPortfolioID"]:
                member.collection.members.remove(member)
        return {"__typename": "Payload", "success": True}

    def _addAliases(self, input: dict[str, Any]) -> Node:
        for member, alias in self._aliased(input):
            member.collection.move(alias, member)
        return {"__typename": "Payload", "success": True}

    def _deleteAliases(self, input: dict[str, Any]) -> Node:
        for member, alias in self._aliased(input):
            if alias in member.aliases:
                member.aliases.remove(alias)
        return {"__typename": "Payload", "success": True}

    def _aliased(self, input: dict[str, Any]) -> list[tuple[Membership, str]]:
        artifact = self.store.artifact(input)
        pairs = []
        for item in input["aliases"]:
            where = (item.get("entityName"), item.get("projectName"), item["artifactCollectionName"])
            for member in self.store.memberships(artifact):
                project = member.collection.project
                if (project.entity, project.name, member.collection.name) == where:
                    pairs.append((member, item["alias"]))
        if not pairs:
            raise Refused("no such collection")
        return pairs

    def _run_of(self, input: dict[str, Any]) -> Run:
        run = self.store.run(input["entityName"], input["projectName"], input["runName"])
        if run is None:
            raise Refused("run not found")
        return run
