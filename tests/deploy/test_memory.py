"""benchmarks/memory.py: the films that it makes are films, and what they take is seen."""

import sys

import pytest

from benchmarks.memory import dicom, jpeg, peak, png
from pneumonia.images import read_radiograph

HEIGHT, WIDTH = 250, 8000


@pytest.mark.parametrize("film", [png(HEIGHT, 1), png(HEIGHT, 3), jpeg(HEIGHT), dicom(HEIGHT)])
def test_each_film_is_read_at_its_size(film: bytes) -> None:
    assert read_radiograph(film).pixels.shape == (HEIGHT, WIDTH)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's own count")
def test_a_film_takes_at_least_its_pixels() -> None:
    assert peak(png(HEIGHT, 1)) * 2**20 > HEIGHT * WIDTH
