"""The input check: what can be no chest film, or is a turned one, is told apart from what can."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia.bundle import REFERENCE, load_bundle
from pneumonia.data.phantom_film import render_phantom
from pneumonia.images import Radiograph
from pneumonia.inference.input_check import InputCheck, check_inputs
from pneumonia.inference.prediction import Prediction
from pneumonia.inference.predictor import Predictor
from pneumonia.inference.typicality import Typicality, fit_typicality

Array = np.ndarray
Check = Callable[..., InputCheck]
SIDE, DIMENSIONS = 64, 5
# A network embeds the films of each class about a place of its own.
PLACES = np.array([[0.0] * DIMENSIONS, [4.0] * DIMENSIONS], np.float32)
# As far from the place as films of the class are.
TYPICAL = PLACES[1] + 1


def phantom(seed: int) -> Array:
    film = render_phantom(np.random.default_rng(seed), ("", "bacteria")[seed % 2], 128)  # type: ignore[arg-type]
    return np.asarray(Image.fromarray(film).resize((SIDE, SIDE)))


def phantoms(start: int, count: int) -> tuple[Array, Array]:
    """Films (N, S, S) and made-up embeddings (N, D), the classes in turns."""
    spread = np.random.default_rng(start).normal(0, 1, (count, DIMENSIONS)).astype(np.float32)
    return np.stack([phantom(seed) for seed in range(start, start + count)]), PLACES[np.arange(count) % 2] + spread


def radiograph(pixels: object, width: int = 1000, height: int = 800) -> Radiograph:
    return Radiograph(np.asarray(pixels, np.uint8), width, height, "PNG")


@pytest.fixture(scope="module")
def typicality() -> Typicality:
    return fit_typicality(*phantoms(0, 150), np.arange(150) % 2, phantoms(1000, 100))


@pytest.fixture(scope="module")
def check(typicality: Typicality) -> Check:
    """Of one film; its embedding is typical unless another is given."""

    def run(film: Radiograph, embedding: Array = TYPICAL) -> InputCheck:
        return check_inputs([film], embedding[None], typicality)[0]

    return run


@pytest.fixture
def pixels() -> Array:
    return phantom(2001)


@pytest.mark.parametrize("seed", range(2000, 2010))
def test_a_film_passes(check: Check, seed: int) -> None:
    checked = check(radiograph(phantom(seed)))
    assert (checked.passed, checked.reasons) == (True, [])
    assert checked.score <= 0


def test_nearly_all_films_pass_with_any_embedding_of_their_class(typicality: Typicality) -> None:
    films, embeddings = phantoms(3000, 100)
    checks = check_inputs([radiograph(film) for film in films], embeddings, typicality)
    assert sum(checked.passed for checked in checks) >= 95


@pytest.mark.parametrize("gray", [0, 1, 128, 254, 255])
def test_a_film_of_one_gray_is_refused(check: Check, gray: int) -> None:
    checked = check(radiograph(np.full((SIDE, SIDE), gray)))
    assert not checked.passed
    assert checked.reasons == ["The image is blank or nearly so."]


def test_a_blank_film_with_noise_is_refused(check: Check) -> None:
    assert not check(radiograph(np.random.default_rng(0).normal(120, 2, (SIDE, SIDE)).clip(0, 255))).passed


@pytest.mark.parametrize(("width", "height"), [(1, 1), (63, 63), (63, 100), (100, 63)])
def test_a_tiny_film_is_refused_with_its_size(check: Check, pixels: Array, width: int, height: int) -> None:
    checked = check(radiograph(pixels, width, height))
    assert not checked.passed
    assert f"{width} x {height}" in checked.reasons[0]


@pytest.mark.parametrize(("width", "height"), [(64, 64), (127, 160), (2916, 2713), (1000, 455), (300, 100), (100, 300)])
def test_the_sizes_of_films_pass(check: Check, pixels: Array, width: int, height: int) -> None:
    assert check(radiograph(pixels, width, height)).passed


@pytest.mark.parametrize(("width", "height"), [(400, 100), (100, 400), (5000, 64), (301, 100)])
def test_a_strip_is_refused(check: Check, pixels: Array, width: int, height: int) -> None:
    checked = check(radiograph(pixels, width, height))
    assert not checked.passed
    assert "times as long as wide" in checked.reasons[0]


def test_every_reason_is_given_as_a_sentence(check: Check) -> None:
    checked = check(radiograph(np.zeros((SIDE, SIDE)), 200, 10))
    assert len(checked.reasons) == 3
    assert all(reason.endswith(".") and reason[0].isupper() for reason in checked.reasons)


@pytest.mark.parametrize(
    ("turn", "names"),
    [
        (np.rot90, ["turned by a quarter to the left"]),
        (partial(np.rot90, k=-1), ["turned by a quarter to the right"]),
        # So coarsely seen, the left and the right of a phantom are alike.
        (partial(np.rot90, k=2), ["upside down", "mirrored top to bottom"]),
        (np.flipud, ["mirrored top to bottom", "upside down"]),
        (np.invert, ["inverted, bones dark"]),
    ],
)
@pytest.mark.parametrize("seed", range(2000, 2005))
def test_a_film_that_is_turned_or_inverted_is_said_to_be_so(
    check: Check, turn: Callable[[Array], Array], names: list[str], seed: int
) -> None:
    checked = check(radiograph(turn(phantom(seed))))
    assert not checked.passed
    assert checked.score > 0
    assert checked.reasons in [
        [f"This looks like a chest X-ray that is {name}. Send it upright, with bones bright."] for name in names
    ]


def test_a_picture_of_something_else_is_refused(check: Check) -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    checked = check(radiograph((x // 8 + y // 8) % 2 * 200))
    assert checked.reasons == ["This does not look like a frontal chest X-ray."]
    assert checked.score > 0


def test_what_the_network_sees_as_nothing_it_knows_is_refused(check: Check, pixels: Array) -> None:
    assert check(radiograph(pixels), TYPICAL).passed
    assert check(radiograph(pixels), TYPICAL + 1000).reasons == ["This does not look like a frontal chest X-ray."]


def test_a_blank_film_is_not_said_to_look_like_something(check: Check) -> None:
    assert check(radiograph(np.zeros((SIDE, SIDE))), TYPICAL + 1000).reasons == ["The image is blank or nearly so."]


def test_many_films_are_checked_as_each_alone(typicality: Typicality, check: Check) -> None:
    films, embeddings = phantoms(2000, 6)
    films[1], films[4] = 0, np.rot90(films[4])
    radiographs = [radiograph(film) for film in films]
    together = check_inputs(radiographs, embeddings, typicality)
    alone = [check(film, embedding) for film, embedding in zip(radiographs, embeddings, strict=True)]
    assert [one.reasons for one in together] == [one.reasons for one in alone]
    assert [one.score for one in together] == pytest.approx([one.score for one in alone])


def refused(folder: Path) -> tuple[Sequence[Path], list[Path]]:
    """The films under a folder, and those that the reference model's check refuses."""
    films = sorted(folder.rglob("*.jpeg"))
    answers = Predictor(load_bundle(REFERENCE)).predict_files(films)
    passed = [isinstance(answer, Prediction) and answer.input_check.passed for answer in answers]
    return films, [film for film, good in zip(films, passed, strict=True) if not good]


def test_every_real_film_of_the_validation_folder_passes(mirror: Path) -> None:
    films, bad = refused(mirror / "val")
    assert films
    assert bad == []


@pytest.mark.slow
def test_nearly_every_real_film_of_the_test_folder_passes(mirror: Path) -> None:
    films, bad = refused(mirror / "test")
    assert len(bad) <= 0.02 * len(films)
