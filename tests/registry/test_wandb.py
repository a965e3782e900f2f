"""The registry of Weights & Biases, through its real client and a stand-in for its server."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pneumonia.bundle import GRAPH, load_bundle
from pneumonia.errors import RegistryError
from pneumonia.registry.base import BEST
from pneumonia.registry.resolve import chosen_alias, open_registry, resolve_bundle, split_reference
from pneumonia.registry.wandb import WandbRegistry
from pneumonia.serving.described import describe_model
from tests.registry.conftest import push_tested
from tests.wandb_server.server import WandbServer

pytest_plugins = ["tests.wandb_server.fixtures"]
pytestmark = pytest.mark.slow

Make = Callable[..., Path]


@pytest.fixture
def registry(online: WandbServer) -> WandbRegistry:
    opened = open_registry("wandb://team/model")
    assert isinstance(opened, WandbRegistry)
    return opened


def holders(registry: WandbRegistry, alias: str) -> list[str]:
    return [entry.reference for entry in registry.list() if alias in entry.aliases]


def test_versions_are_linked_and_an_alias_moves_whatever_the_name(registry: WandbRegistry, make: Make) -> None:
    first = registry.push(make("cnn"), ["candidate", "today"])
    second = registry.push(make("other"), ["candidate"])
    third = registry.push(make("cnn", wrong=3), [])
    assert [entry.reference for entry in (first, second, third)] == ["cnn:v0", "other:v0", "cnn:v1"]
    assert [entry.reference for entry in registry.list()] == ["cnn:v0", "other:v0", "cnn:v1"]
    assert holders(registry, "candidate") == ["other:v0"]
    assert holders(registry, "today") == ["cnn:v0"]
    assert registry.find("candidate").pushed_by


def test_what_is_pulled_is_what_was_pushed_and_is_fetched_once(
    registry: WandbRegistry, online: WandbServer, make: Make
) -> None:
    directory = make()
    (directory / "notes.txt").write_text("not part of it")
    entry = registry.push(directory, ["candidate"])
    pulled = registry.pull("cnn:candidate")
    listed = json.loads((directory / "bundle.json").read_text())["files"]
    for name in (*listed, "bundle.json"):
        assert (pulled / name).read_bytes() == (directory / name).read_bytes()
    assert not (pulled / "notes.txt").exists()
    online.store.blobs.clear()
    assert registry.pull(f"cnn:{entry.bundle_version}") == pulled
    assert json.loads((pulled / "wandb_artifact.json").read_text()) == {
        "name": "team-org/wandb-registry-model/cnn",
        "version": "v0",
        "validation_accuracy": load_bundle(directory).metrics["validation"]["accuracy"]["value"],
        "best_val_loss": pytest.approx(0.44, abs=0.3),
    }


def test_files_that_changed_where_they_are_kept_are_refused(
    registry: WandbRegistry, online: WandbServer, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry.push(make(), ["candidate"])
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "empty"))  # W&B keeps what it has sent
    place = next(place for place in online.store.blobs if place.endswith(GRAPH))
    online.store.blobs[place] = online.store.blobs[place][:-1] + b"?"
    with pytest.raises(RegistryError):
        registry.pull("candidate")
    assert not list(Path(os.environ["PNEUMONIA_REGISTRY_CACHE"]).rglob(GRAPH))


def test_a_cached_copy_that_was_changed_is_fetched_anew(registry: WandbRegistry, make: Make) -> None:
    registry.push(make(), ["candidate"])
    graph = registry.pull("candidate") / GRAPH
    whole = graph.read_bytes()
    graph.write_bytes(b"another")
    assert (registry.pull("candidate") / GRAPH).read_bytes() == whole


def test_a_better_bundle_becomes_best_and_a_worse_or_a_phantom_one_does_not(
    registry: WandbRegistry, make: Make
) -> None:
    push_tested(registry, make("cnn", wrong=20))
    assert registry.promote("cnn:v0").aliases == [BEST]
    push_tested(registry, make("cnn", wrong=60))
    with pytest.raises(RegistryError, match="it is worse than the present best"):
        registry.promote("cnn:v1")
    push_tested(registry, make("phantom", synthetic=True))
    with pytest.raises(RegistryError, match="phantoms"):
        registry.promote("phantom:v0", force=True, reason="we want to")
    untested = registry.push(make("other", wrong=3), [])
    with pytest.raises(RegistryError, match="test"):
        registry.promote(untested.reference)
    assert holders(registry, BEST) == ["cnn:v0"]
    push_tested(registry, make("better", wrong=3))
    assert registry.promote("better:v0", reason="no false alarms").aliases == [BEST]
    assert holders(registry, BEST) == ["better:v0"]
    assert registry.rollback("it was slow").reference == "cnn:v0"
    assert holders(registry, BEST) == ["cnn:v0"]
    done = [(event.action, event.reference, event.reason) for event in registry.history() if event.alias == BEST]
    assert done == [
        ("promote", "cnn:v0", ""),
        ("promote", "better:v0", "no false alarms"),
        ("rollback", "cnn:v0", "it was slow"),
    ]
    assert all(event.who and event.when for event in registry.history())


def test_what_is_annotated_stays_beside_what_was(registry: WandbRegistry, make: Make) -> None:
    registry.push(make(), ["candidate"])
    registry.annotate("candidate", {"one": {"passed": True}})
    assert registry.annotate("candidate", {"two": 2}).metadata == {"one": {"passed": True}, "two": 2}
    assert [event.action for event in registry.history()] == ["push"]


def test_an_alias_is_taken_away_and_that_is_recorded(registry: WandbRegistry, make: Make) -> None:
    registry.push(make(), ["candidate"])
    registry.unalias("candidate", "not wanted")
    assert registry.list()[0].aliases == []
    assert [(event.action, event.reason) for event in registry.history()] == [("push", ""), ("unalias", "not wanted")]


def test_who_names_wandb_gets_its_best_or_none(
    registry: WandbRegistry, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMONIA_REGISTRY", registry.place)
    options = argparse.Namespace(bundle=None, registry=None)
    with pytest.raises(RegistryError, match=r"There is no 'best' in the registry wandb://team/model: it is empty"):
        resolve_bundle(options)
    push_tested(registry, make())
    registry.promote("cnn:v0")
    assert chosen_alias(options) == "best"
    found = resolve_bundle(options)
    assert found.label == load_bundle(make()).label
    assert describe_model(found, "best").info["wandb_artifact"]["version"] == "v0"


def test_the_same_bundle_pushed_again_keeps_its_version(registry: WandbRegistry, make: Make) -> None:
    registry.push(make(), ["candidate"])
    assert registry.push(make(), ["again"]).reference == "cnn:v0"
    assert sorted(registry.list()[0].aliases) == ["again", "candidate"]


def test_a_registry_that_is_not_there_is_an_error_that_names_it(online: WandbServer) -> None:
    with pytest.raises(RegistryError, match=r"wandb://team/nothing .*'nothing'"):
        open_registry("wandb://team/nothing").list()


def test_without_an_account_the_error_says_what_to_do(
    wandb_service: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", wandb_service.url)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    with pytest.raises(RegistryError, match=r"needs a W&B account: `wandb login`, or WANDB_API_KEY"):
        open_registry("wandb://team/model").list()
    assert wandb_service.asked == []


@pytest.mark.parametrize("place", ["wandb://team", "wandb://", "wandb://team/model/cnn", "ftp://team/model"])
def test_a_place_of_another_form_is_refused(place: str) -> None:
    with pytest.raises(RegistryError, match="is no place of a registry"):
        open_registry(place)


@pytest.mark.parametrize(
    ("text", "place", "reference"),
    [
        ("wandb://team/model:best", "wandb://team/model", "best"),
        ("wandb://team/model", "wandb://team/model", "best"),
        ("wandb://team/model/cnn:v3", "wandb://team/model", "cnn:v3"),
        ("cnn:v3", "artifacts/registry", "cnn:v3"),
    ],
)
def test_a_reference_may_bring_its_place_along(text: str, place: str, reference: str) -> None:
    assert split_reference(text) == (place, reference)
