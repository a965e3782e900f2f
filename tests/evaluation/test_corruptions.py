"""Corruptions: films in, films out, the same for the same seed, and worse with every grade."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumonia.evaluation.corruptions import CORRUPTIONS, GRADES, MIDDLE_GRADE, corrupt

KEEP_THE_SHAPE = (
    "blur",
    "sharpening",
    "noise",
    "low contrast",
    "high contrast",
    "brighter",
    "darker",
    "rotation",
    "JPEG",
)
NAMES = st.sampled_from(sorted(CORRUPTIONS))
SEEDS = st.integers(0, 2**64 - 1)
FEW = settings(max_examples=10)


def textured(seed=0, height=90, width=120):
    """Fine and coarse structure at once, well inside 0..255, as a film has it."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    film = 128 + 55 * np.sin(x / 9) + 20 * np.cos(y / 5) + 10 * generator.standard_normal((height, width))
    return film.clip(0, 255).astype(np.uint8)


def any_film(height, width, seed, low, high):
    """Of any size, and of any range of gray levels: dark, bright, uniform or all of them."""
    low, high = sorted((low, high))
    return np.random.default_rng(seed).integers(low, high, (height, width), dtype=np.uint8, endpoint=True)


SIDES, LEVELS = st.integers(16, 130), st.integers(0, 255)
FILMS = st.builds(any_film, SIDES, SIDES, SEEDS, LEVELS, LEVELS)


def change(pixels, name, grade, seed=0):
    return np.abs(corrupt(pixels, name, grade, seed).astype(int) - pixels).mean()


@given(FILMS, NAMES, st.sampled_from(GRADES), SEEDS)
def test_any_film_stays_a_film(pixels, name, grade, seed):
    changed = corrupt(pixels, name, grade, seed)
    assert changed.dtype == np.uint8
    assert changed.ndim == 2
    assert min(changed.shape) >= 1
    if name in KEEP_THE_SHAPE:
        assert changed.shape == pixels.shape


@given(FILMS, NAMES, st.sampled_from(GRADES), SEEDS)
def test_the_same_seed_gives_the_same_film_and_the_original_stays_as_it_is(pixels, name, grade, seed):
    before = pixels.copy()
    assert np.array_equal(corrupt(pixels, name, grade, seed), corrupt(pixels, name, grade, seed))
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("name", ["noise", "crop", "border", "rotation", "stretch"])
def test_what_is_random_differs_between_seeds(name):
    films = [corrupt(textured(), name, MIDDLE_GRADE, seed) for seed in range(8)]
    assert len({(film.shape, film.tobytes()) for film in films}) > 1


@pytest.mark.parametrize("name", KEEP_THE_SHAPE)
@FEW
@given(seed=st.integers(0, 1000))
def test_every_grade_changes_a_film_more_than_the_one_before(name, seed):
    changes = [change(textured(seed), name, grade, seed) for grade in GRADES]
    assert changes[0] > 0
    assert all(milder < worse for milder, worse in pairwise(changes))


@pytest.mark.parametrize(("name", "sign"), [("resolution", -1), ("crop", -1), ("stretch", -1), ("border", 1)])
@FEW
@given(seed=SEEDS)
def test_every_grade_takes_or_adds_more_pixels_than_the_one_before(name, sign, seed):
    pixels = textured(height=180, width=220)
    areas = [pixels.size, *(corrupt(pixels, name, grade, seed).size for grade in GRADES)]
    assert areas == sorted(areas, reverse=sign < 0)
    assert len(set(areas)) == len(areas)


@given(FILMS, st.sampled_from(GRADES))
def test_resolution_gives_the_short_side_its_amount_and_leaves_smaller_films_alone(pixels, grade):
    side, changed = CORRUPTIONS["resolution"].amounts[grade - 1], corrupt(pixels, "resolution", grade)
    if min(pixels.shape) <= side:
        assert np.array_equal(changed, pixels)
    else:
        assert min(changed.shape) == side


@given(FILMS, st.sampled_from(GRADES), SEEDS)
def test_a_crop_is_a_window_of_the_film(pixels, grade, seed):
    rows, columns = (corrupt(place.astype(np.uint8), "crop", grade, seed) for place in np.indices(pixels.shape))
    assert (np.diff(rows, axis=0) == 1).all()
    assert (np.diff(columns, axis=1) == 1).all()
    assert np.array_equal(corrupt(pixels, "crop", grade, seed), pixels[rows, columns])


@given(FILMS, st.sampled_from(GRADES), SEEDS)
def test_a_border_holds_all_of_the_film_and_black_around_it(pixels, grade, seed):
    white = corrupt(np.full_like(pixels, 255), "border", grade, seed) == 255
    framed = corrupt(pixels, "border", grade, seed)
    assert np.array_equal(framed[white].reshape(pixels.shape), pixels)
    assert not framed[~white].any()


@given(FILMS, st.sampled_from(GRADES))
def test_tone_curves_keep_black_and_white_and_the_order_of_gray_levels(pixels, grade):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for name, moves in (("brighter", np.greater_equal), ("darker", np.less_equal)):
        curve = corrupt(levels, name, grade).ravel().astype(int)
        assert (curve[0], curve[-1]) == (0, 255)
        assert (np.diff(curve) >= 0).all()
        assert moves(corrupt(pixels, name, grade), pixels).all()


@given(st.integers(0, 255), st.sampled_from(["low contrast", "high contrast", "blur", "sharpening"]))
def test_contrast_blur_and_sharpening_leave_a_uniform_film_as_it_is(level, name):
    film = np.full((40, 50), level, dtype=np.uint8)
    assert all(np.array_equal(corrupt(film, name, grade), film) for grade in GRADES)


@pytest.mark.parametrize("grade", [0, 6, -1])
def test_a_grade_that_is_not_there_is_refused(grade):
    with pytest.raises(ValueError, match="grade"):
        corrupt(textured(), "blur", grade)


def test_amounts_are_ordered_from_mild_to_severe():
    for corruption in CORRUPTIONS.values():
        amounts = list(corruption.amounts)
        assert amounts in (sorted(amounts), sorted(amounts, reverse=True))
        assert len(set(amounts)) == len(GRADES)
