"""The input check's reasons are recognised: those that the check gives, and no others."""

import numpy as np
import pytest

from pneumonia.demo.checks import reason_html
from pneumonia.demo.strings import Strings, languages
from pneumonia.images import Radiograph
from pneumonia.inference import typicality
from pneumonia.inference.input_check import _check

SAY = Strings("en")


def reasons() -> list[str]:
    """Every one that the check can give."""
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (128, 128), dtype=np.uint8)
    radiographs = [
        Radiograph(np.zeros_like(film), 200, 200, "PNG"),
        Radiograph(film, 20, 30, "PNG"),
        Radiograph(film, 1000, 200, "PNG"),
    ]
    given = [_check(radiograph, -1.0, -1.0, "") for radiograph in radiographs]
    good = Radiograph(film, 200, 200, "PNG")
    given += [_check(good, 1.0, -1.0, ""), *(_check(good, -1.0, 1.0, turn) for turn in typicality._TURNS)]
    return [reason for check in given for reason in check.reasons]


@pytest.mark.parametrize("reason", reasons())
def test_a_reason_of_the_check_is_recognised(reason: str) -> None:
    assert reason_html(SAY, reason) == reason
    for language in set(languages()) - {"en"}:
        said = reason_html(Strings(language), reason)
        assert 'lang="en"' not in said
        assert said != reason


def test_a_reason_of_a_newer_server_is_shown_as_english() -> None:
    assert reason_html(SAY, "It is a <b>cat</b>.") == '<span lang="en">It is a &lt;b&gt;cat&lt;/b&gt;.</span>'
