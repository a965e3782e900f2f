"""The input check: what can be no chest film is told apart from what can."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia.images import Radiograph, read_radiograph
from pneumonia.inference.input_check import check_input


def radiograph(pixels: object, width: int = 1000, height: int = 800) -> Radiograph:
    return Radiograph(np.asarray(pixels, np.uint8), width, height, "PNG")


@pytest.fixture
def pixels(draw_film: Callable[..., Image.Image]) -> np.ndarray:
    return np.asarray(draw_film(1, "NORMAL", 64, 64))


@pytest.mark.parametrize("label", ["NORMAL", "PNEUMONIA"])
@pytest.mark.parametrize("seed", range(10))
def test_a_film_passes(draw_film: Callable[..., Image.Image], label: str, seed: int) -> None:
    checked = check_input(radiograph(draw_film(seed, label, 64, 64)))
    assert (checked.passed, checked.reasons) == (True, [])


@pytest.mark.parametrize("gray", [0, 1, 128, 254, 255])
def test_a_film_of_one_gray_is_refused(gray: int) -> None:
    checked = check_input(radiograph(np.full((64, 64), gray)))
    assert not checked.passed
    assert checked.reasons == ["The image is blank or nearly so."]


def test_a_blank_film_with_noise_is_refused() -> None:
    assert not check_input(radiograph(np.random.default_rng(0).normal(120, 2, (64, 64)).clip(0, 255))).passed


@pytest.mark.parametrize(("width", "height"), [(1, 1), (63, 63), (63, 100), (100, 63)])
def test_a_tiny_film_is_refused_with_its_size(pixels: np.ndarray, width: int, height: int) -> None:
    checked = check_input(radiograph(pixels, width, height))
    assert not checked.passed
    assert f"{width} x {height}" in checked.reasons[0]


@pytest.mark.parametrize(("width", "height"), [(64, 64), (127, 160), (2916, 2713), (1000, 455), (300, 100), (100, 300)])
def test_the_sizes_of_films_pass(pixels: np.ndarray, width: int, height: int) -> None:
    assert check_input(radiograph(pixels, width, height)).passed


@pytest.mark.parametrize(("width", "height"), [(400, 100), (100, 400), (5000, 64), (301, 100)])
def test_a_strip_is_refused(pixels: np.ndarray, width: int, height: int) -> None:
    checked = check_input(radiograph(pixels, width, height))
    assert not checked.passed
    assert "times as long as wide" in checked.reasons[0]


def test_every_reason_is_given_as_a_sentence() -> None:
    checked = check_input(radiograph(np.zeros((64, 64)), 200, 10))
    assert len(checked.reasons) == 3
    assert all(reason.endswith(".") and reason[0].isupper() for reason in checked.reasons)


def test_every_real_film_of_the_validation_folder_passes(mirror: Path) -> None:
    films = sorted((mirror / "val").rglob("*.jpeg"))
    assert films
    assert all(check_input(read_radiograph(film, 128)).passed for film in films)


@pytest.mark.slow
def test_every_real_film_of_the_test_folder_passes(mirror: Path) -> None:
    refused = [film for film in (mirror / "test").rglob("*.jpeg") if not check_input(read_radiograph(film, 128)).passed]
    assert refused == []
