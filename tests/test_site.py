"""The documentation as a site: complete, its links lead somewhere, and nothing on it comes from another host."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

PROJECT = Path(__file__).parents[1]


def beside_the_documents(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, PROJECT / "docs" / f"{name}.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


hooks, diagram = beside_the_documents("hooks"), beside_the_documents("diagram")
PAGES = {"index.md", "http.md", "CHANGELOG.md"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    expected = {path.stem for path in (PROJECT / "docs").glob("*.md")} | {Path(page).stem for page in hooks.ELSEWHERE}
    assert expected <= {path.stem for path in site.glob("*.html")}


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    loading = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^\"'> ]+")
    for page in site.glob("*.html"):
        assert not loading.findall(page.read_text(encoding="utf-8")), page.name
    for style in site.glob("assets/stylesheets/*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_the_site_can_be_searched_for_what_the_documents_say(site: Path) -> None:
    assert "Retry-After" in (site / "search" / "search_index.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "before", "after"),
    [
        ("index.md", "[a](docs/http.md#faults)", "[a](http.md#faults)"),
        ("http.md", "[a](../README.md)", "[a](index.md)"),
        ("http.md", "[a](../configs/cnn.yaml)", "[a](HOST/configs/cnn.yaml)"),
        ("CHANGELOG.md", "[a](https://example.org/x)", "[a](https://example.org/x)"),
        ("http.md", "[a](#faults)", "[a](#faults)"),
        ("http.md", "```\n[a](../nowhere)\n```", "```\n[a](../nowhere)\n```"),
    ],
)
def test_links_of_the_checkout_become_links_of_the_site(page: str, before: str, after: str) -> None:
    assert hooks.relink(before, page, PAGES, "HOST") == after


def test_without_a_host_a_file_is_named_in_words() -> None:
    assert hooks.relink("[a](../configs/cnn.yaml)", "http.md", PAGES, "") == "a (`configs/cnn.yaml`)"


def test_a_link_to_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="which the checkout does not have"):
        hooks.relink("[a](../nowhere.yaml)", "http.md", PAGES, "")


class TestDiagram:
    SOURCE = tomllib.loads((PROJECT / "docs" / "architecture.toml").read_text(encoding="utf-8"))

    def test_it_is_drawn_from_its_source(self) -> None:
        assert (PROJECT / "docs" / "architecture.svg").read_text(encoding="utf-8") == diagram.draw(self.SOURCE)

    def test_it_says_in_words_what_it_shows(self) -> None:
        root = ElementTree.fromstring(diagram.draw(self.SOURCE))
        texts = {element.tag.split("}")[1]: element.text for element in root}
        assert texts["title"] == self.SOURCE["title"]
        assert "operating point" in (texts["desc"] or "")

    def test_its_boxes_name_code_that_is_there(self) -> None:
        for box in self.SOURCE["boxes"].values():
            for name in box["where"].split(", "):
                if "/" in name or name.endswith((".py", ".dvc")):
                    assert (PROJECT / name).exists() or (PROJECT / "pneumonia" / name).exists(), name

    def test_each_box_has_a_place_of_its_own_and_is_joined_to_another(self) -> None:
        places = [tuple(box["at"]) for box in self.SOURCE["boxes"].values()]
        assert len(set(places)) == len(places)
        assert {name for group in self.SOURCE["arrows"] for name in group["path"]} == set(self.SOURCE["boxes"])

    def test_an_arrow_across_rows_and_columns_is_refused(self) -> None:
        with pytest.raises(ValueError, match="one row or column"):
            diagram.arrow([0, 0], [1, 1])
