"""The page's words in one language, from one file of strings: `strings/en.toml` and its translations beside it."""

import html
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from pneumonia.errors import ConfigError

_FOLDER = files("pneumonia.demo") / "strings"
_BOLD = re.compile(r"\*\*(.+?)\*\*")
_CODE = re.compile(r"`(.+?)`")


class Strings:
    """The strings of a language by their key, such as `read.title`.

    Args:
        language: a tag of BCP 47 that has a file here, such as `en`. Raises `ConfigError` for another.
    """

    def __init__(self, language: str = "en") -> None:
        if language not in languages():
            raise ConfigError(
                f"There are no strings for the language {language!r}; there are: {', '.join(languages())}."
            )
        self.language = language
        self.texts: Mapping[str, str] = dict(_flat(tomllib.loads((_FOLDER / f"{language}.toml").read_text("utf-8"))))

    def __call__(self, key: str, **values: object) -> str:
        """The string of a key with its placeholders filled, as plain text. Raises `KeyError` for a key without one."""
        return self.texts[key].format(**values)

    def html(self, key: str, **values: object) -> str:
        """As HTML: escaped, what is filled in as well; then `**bold**` and text between backticks as code."""
        return self.mark_up(self(key, **values))

    @staticmethod
    def mark_up(text: str) -> str:
        """A filled string as HTML."""
        return _CODE.sub(r"<code>\1</code>", _BOLD.sub(r"<strong>\1</strong>", html.escape(text)))

    def find(self, key: str) -> str | None:
        """The string of a key that may have none."""
        return self.texts.get(key)

    def figure(self, text: str) -> str:
        """A figure such as `87.3%` or `1,234` as the language writes it."""
        marks = {",": self("figures.thousands"), ".": self("figures.decimal"), "%": self("figures.percent")}
        return "".join(marks.get(character, character) for character in text)


def languages() -> list[str]:
    """The languages that have a file of strings."""
    return sorted(path.name.removesuffix(".toml") for path in _FOLDER.iterdir() if path.name.endswith(".toml"))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
