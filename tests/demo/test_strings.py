"""The page's words: every language has all of them, and the code asks for none that is missing."""

import re
import string
from pathlib import Path

import pytest

import pneumonia.demo
from pneumonia import DISCLAIMER
from pneumonia.demo.strings import Strings, languages
from pneumonia.errors import ConfigError

ENGLISH = Strings("en")
SOURCES = sorted(Path(pneumonia.demo.__path__[0]).rglob("*.py"))


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", languages())
def test_every_language_has_the_same_strings_with_the_same_placeholders(language: str) -> None:
    texts = Strings(language).texts
    assert texts.keys() == ENGLISH.texts.keys()
    assert {key: placeholders(text) for key, text in texts.items()} == {
        key: placeholders(text) for key, text in ENGLISH.texts.items()
    }


@pytest.mark.parametrize("language", languages())
def test_no_string_is_empty_and_marks_are_closed(language: str) -> None:
    for key, text in Strings(language).texts.items():
        assert text.strip(), key
        assert text.count("**") % 2 == 0, key
        assert text.count("`") % 2 == 0, key


def test_every_string_that_the_code_names_is_there() -> None:
    named = {
        key
        for path in SOURCES
        for key in re.findall(r"\bsay(?:\.html)?\(\s*\"([a-z_.0-9]+)\"", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 40
    assert named <= ENGLISH.texts.keys()


def test_the_disclaimer_is_the_package_s() -> None:
    assert ENGLISH("disclaimer") == DISCLAIMER


def test_what_is_filled_in_is_text_and_never_markup() -> None:
    assert "<script" not in ENGLISH.html("header.model", label="<script>alert(1)</script>")


def test_marks_become_markup() -> None:
    assert Strings.mark_up("**Both** by `--url` & <b>") == (
        "<strong>Both</strong> by <code>--url</code> &amp; &lt;b&gt;"
    )


def test_figures_are_written_as_the_language_writes_them() -> None:
    assert ENGLISH.figure("1,234.5%") == "1,234.5%"


def test_a_language_without_strings_is_said_to_be() -> None:
    with pytest.raises(ConfigError, match="en"):
        Strings("xx")


def test_german_figures_have_a_comma_and_a_space() -> None:
    assert Strings("de").figure("1,234.5%") == "1.234,5\N{NO-BREAK SPACE}%"
