"""The reasons of the input check in the page's language: the API says them in English."""

import functools
import html
import re

from pneumonia.demo.strings import Strings

_PLACEHOLDER = re.compile(r"\\{(\w+)\\}")


def reason_html(say: Strings, reason: str) -> str:
    """A reason as HTML; one that is not known stays as it is, marked as English."""
    found = _translated(say, reason)
    return f'<span lang="en">{html.escape(reason)}</span>' if found is None else say.mark_up(found)


def reason_text(say: Strings, reason: str) -> str:
    """A reason as plain text; one that is not known stays as it is."""
    return _translated(say, reason) or reason


@functools.cache
def _english() -> Strings:
    """Read once: many films can be turned away."""
    return Strings("en")


def _translated(say: Strings, reason: str) -> str | None:
    english = _english()
    for key, text in english.texts.items():
        if not key.startswith("checks."):
            continue
        found = re.fullmatch(_PLACEHOLDER.sub(r"(?P<\1>.+)", re.escape(text)), reason)
        if found:
            return say(key, **{name: _value(say, english, value) for name, value in found.groupdict().items()})
    return None


def _value(say: Strings, english: Strings, value: str) -> str:
    """What was filled into a reason: how a film is turned, or a figure."""
    turns = (key for key, text in english.texts.items() if key.startswith("turns.") and text == value)
    key = next(turns, None)
    return say.figure(value) if key is None else say(key)
