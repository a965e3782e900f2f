"""What the documents say of the reference bundle is what it carries."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.documents import PROJECT, blocks, insert
from pneumonia.bundle import REFERENCE, load_bundle

BLOCKS = blocks()


@pytest.mark.parametrize(("name", "marker"), BLOCKS)
def test_a_document_gives_the_figures_that_were_measured(name: str, marker: str) -> None:
    document = (PROJECT / name).read_text(encoding="utf-8")
    assert insert(document, marker, BLOCKS[name, marker]) == document


def measured(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((PROJECT / "docs" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def test_the_engines_were_measured_on_the_reference_and_not_on_the_test_folder() -> None:
    of = measured("engines")
    assert (of["bundle"], of["split"]) == (load_bundle(REFERENCE).label, "validation")


@pytest.mark.parametrize("name", ["own-films", "film-shape", "stand-ins"])
def test_what_a_benchmark_says_was_measured_of_the_reference(name: str) -> None:
    assert measured(name)["bundle"] == load_bundle(REFERENCE).label


@pytest.mark.parametrize("config", sorted((PROJECT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_is_named_in_the_readme(config: Path) -> None:
    assert f"(configs/{config.name})" in (PROJECT / "README.md").read_text(encoding="utf-8")


def test_a_document_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="x: begin"):
        insert("nothing", "x", "new")
