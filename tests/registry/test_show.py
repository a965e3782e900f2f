"""All that is known of a model, from what a prediction says of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pneumonia.bundle import GRAPH, REFERENCE, load_bundle, write_bundle
from pneumonia.errors import RegistryError
from pneumonia.registry.local import LocalRegistry
from pneumonia.registry.show import describe_model, tell
from tests.registry.conftest import push_tested, recalibration_of

Make = Callable[..., Path]


def told(registry: LocalRegistry, reference: str) -> str:
    return "\n".join(tell(describe_model(registry, reference)))


def test_the_reference_of_the_package_is_known_without_a_registry(registry: LocalRegistry) -> None:
    bundle = load_bundle(REFERENCE)
    for reference in (bundle.label, bundle.version, bundle.name):
        shown = describe_model(registry, reference)
        assert (shown["registry"], shown["model"], shown["staged"]) == (None, bundle.label, None)
    words = told(registry, bundle.label)
    assert "registry    the package itself" in words
    assert f"commit      {bundle.provenance['git']['commit']}" in words
    assert "staged      not tested" in words
    with pytest.raises(RegistryError, match="There is no 'cnn:v1'"):
        describe_model(registry, "cnn:v1")


def test_the_tracked_run_an_uncommitted_change_and_phantoms_are_said(registry: LocalRegistry, make: Make) -> None:
    directory = make(synthetic=True)
    bundle = load_bundle(directory)
    run = {"id": "abc", "url": "https://tracker.example/abc"}
    provenance = {**bundle.provenance, "run": run, "git": {"commit": "c0ffee", "dirty": True}}
    write_bundle(replace(bundle, provenance=provenance))
    registry.push(directory, ["candidate"])
    words = told(registry, "candidate")
    assert "run         id abc, url https://tracker.example/abc" in words
    assert "commit      c0ffee, with changes that were not committed" in words
    assert "SYNTHETIC" in words
    assert "run         not tracked" in told(registry, load_bundle(REFERENCE).label)


def test_a_recalibration_is_said_and_is_no_config(registry: LocalRegistry, make: Make) -> None:
    directory = make()
    bundle = load_bundle(directory)
    recorded = recalibration_of("cnn:v0")
    write_bundle(replace(bundle, provenance={**bundle.provenance, "recalibration": recorded}))
    registry.push(directory, ["candidate"])
    words = told(registry, "candidate")
    assert "recalibrated from cnn:v0 on 60 films of 50 patients (20 NORMAL, 40 PNEUMONIA)" in words
    assert "config      recalibration" not in words
    assert describe_model(registry, "candidate")["recalibration"] == recorded


def test_promotions_of_the_bundle_are_told_and_not_those_of_others(registry: LocalRegistry, make: Make) -> None:
    for name in ("one", "two"):
        push_tested(registry, make(name))
        registry.promote(f"{name}:v1", reason=f"{name} is here")
    registry.promote("one:v1", reason="that was a mistake")
    words = told(registry, "one:v1")
    assert "one is here" in words
    assert "that was a mistake: no worse than two:" in words
    assert "two is here" not in words


def test_a_damaged_bundle_is_said_to_be_and_its_history_is_told(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make())
    registry.promote("cnn:v1", reason="the only one")
    with (registry.pull("cnn:v1") / GRAPH).open("ab") as graph:
        graph.write(b"\0")
    words = told(registry, "best")
    assert "DAMAGED" in words
    assert "the only one" in words
