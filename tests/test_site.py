"""The documentation as a site: complete, its links lead somewhere, and nothing on it comes from another host."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SPECIFICATION = importlib.util.spec_from_file_location("hooks", PROJECT / "docs" / "hooks.py")
assert SPECIFICATION
assert SPECIFICATION.loader
hooks = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(hooks)
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
