"""What the documents say of the reference bundle is what it carries."""

import json
from pathlib import Path

import pytest

from benchmarks.documents import PROJECT, blocks, insert
from pneumonia.bundle import REFERENCE, load_bundle

BLOCKS = blocks()


@pytest.mark.parametrize("name", BLOCKS)
def test_a_document_gives_the_figures_that_were_measured(name: str) -> None:
    document = (PROJECT / name).read_text(encoding="utf-8")
    assert insert(document, *BLOCKS[name]) == document


def test_the_engines_were_measured_on_the_reference_and_not_on_the_test_folder() -> None:
    measured = json.loads((PROJECT / "docs" / "engines.json").read_text(encoding="utf-8"))
    assert (measured["bundle"], measured["split"]) == (load_bundle(REFERENCE).label, "validation")


@pytest.mark.parametrize("config", sorted((PROJECT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_is_named_in_the_readme(config: Path) -> None:
    assert f"(configs/{config.name})" in (PROJECT / "README.md").read_text(encoding="utf-8")


def test_a_document_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="x: begin"):
        insert("nothing", "x", "new")
