"""Whatever is done to a film's bytes, decoding gives a radiograph or an `ImageError`: in time, and in little memory.

For long: `pytest tests/test_fuzz.py --hypothesis-profile long`; `--hypothesis-seed` chooses another path.
"""

import faulthandler
import resource
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.hostile_files import CHANGES, break_dicom, sound_films
from pneumonia.errors import ImageError
from pneumonia.images import Limits, image_size, read_radiograph

# Pillow warns of the metadata that are damaged here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")

FILMS = sound_films()
LIMITS = Limits(max_bytes=2**20, max_pixels=2**20)
# Of a radiograph of so many pixels: the gray image, copies of other depth on the way, and what a library adds.
ALLOWED_KIB = 200 * 1024
HANGS = 20.0
fuzzed = settings(
    max_examples=3 * settings().max_examples,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def hostile(draw: Callable) -> bytes:
    """A film after one to four changes, of which each may undo what makes the next one harmless."""
    data = FILMS[draw(st.sampled_from(sorted(FILMS)))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    for change in draw(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=4)):
        if len(data) > 3:
            data = change(data, rng)
    return data


def read_or_refuse(data: bytes, size: int | None) -> None:
    """The property. What hangs ends the run with the trace of where."""
    faulthandler.dump_traceback_later(HANGS, exit=True, file=sys.__stderr__)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        radiograph = read_radiograph(data, size, LIMITS)
    except ImageError:
        pass
    else:
        assert radiograph.pixels.dtype == np.uint8
        assert radiograph.pixels.shape == ((size, size) if size else (radiograph.height, radiograph.width))
        assert radiograph.width * radiograph.height <= LIMITS.max_pixels
        assert image_size(data, LIMITS) == (radiograph.width, radiograph.height)
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < ALLOWED_KIB


@fuzzed
@given(hostile(), st.sampled_from([None, 96]))
def test_a_film_that_was_changed_is_read_or_refused(data: bytes, size: int | None) -> None:
    read_or_refuse(data, size)


@fuzzed
@given(st.integers(0, 2**32))
def test_a_dicom_file_of_broken_tags_is_read_or_refused(seed: int) -> None:
    read_or_refuse(break_dicom(b"", np.random.default_rng(seed)), 96)


@fuzzed
@given(st.sampled_from(sorted(FILMS)), st.binary(max_size=400), st.integers(0, 200))
def test_any_bytes_behind_a_films_beginning_are_read_or_refused(kind: str, data: bytes, kept: int) -> None:
    read_or_refuse(FILMS[kind][:kept] + data, 96)
