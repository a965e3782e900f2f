"""The pictures of the page in the documents: there, small, and of the page as it is."""

import pytest
from PIL import Image

from benchmarks.screenshots import IMAGES, is_current

NAMES = ("about", "compare", "many", "monitor", "operating_point", "phone", "read")


def test_the_pictures_are_of_the_page_as_it_is() -> None:
    assert is_current(), "The page has changed since its pictures were taken: make screenshots"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_there_and_small(name: str) -> None:
    path = IMAGES / f"{name}.png"
    assert path.stat().st_size < 400_000
    with Image.open(path) as picture:
        assert picture.width in (1280, 390)
