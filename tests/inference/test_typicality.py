"""Typicality: what is like the films of train is told from what is not, and turned films are named."""

import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.errors import BundleError, DataError
from pneumonia.inference.typicality import Typicality, fit_typicality, load_typicality

Array = np.ndarray
SIDE, DIMENSIONS = 48, 6
TURNS: dict[str, Callable[[Array], Array]] = {
    "turned by a quarter to the left": lambda films: np.rot90(films, 1, (1, 2)),
    "turned by a quarter to the right": lambda films: np.rot90(films, -1, (1, 2)),
    "upside down": lambda films: np.rot90(films, 2, (1, 2)),
    "mirrored top to bottom": lambda films: films[:, ::-1],
    "inverted, bones dark": lambda films: 255 - films,
}


def chest(seed: int) -> Array:
    """Two lungs above a bright abdomen, and a heart on one side: no turn of it looks like itself."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    x, y = x - rng.normal(0, 0.03), y - rng.normal(0, 0.03)
    film = 120 + rng.normal(0, 5) + rng.normal(0, 4, (SIDE, SIDE))
    film -= 70.0 * (((np.abs(x) - 0.45) / 0.3) ** 2 + ((y + 0.15) / 0.6) ** 2 < 1)
    film += 60 * (y > 0.55) + 50 * (((x - 0.2) / 0.25) ** 2 + ((y - 0.3) / 0.25) ** 2 < 1)
    return (film * rng.uniform(0.7, 1.1)).clip(0, 255).astype(np.uint8)


def embedded(films: Array, seed: int = 0) -> Array:
    """Embeddings as a network might give them: a cloud about each of two classes, which take turns."""
    centres = np.arange(len(films))[:, None] % 2 * 5.0
    return (np.random.default_rng(seed).normal(centres, 1, (len(films), DIMENSIONS))).astype(np.float32)


def chests(start: int, count: int) -> Array:
    return np.stack([chest(seed) for seed in range(start, start + count)])


@pytest.fixture(scope="module")
def held_out() -> tuple[Array, Array]:
    films = chests(1000, 400)
    return films, embedded(films, 1)


@pytest.fixture(scope="module")
def typicality(held_out: tuple[Array, Array]) -> Typicality:
    films = chests(0, 100)
    return fit_typicality(films, embedded(films), np.arange(100) % 2, held_out)


@pytest.fixture(scope="module")
def films() -> Array:
    """Of no patient that was fitted on."""
    return chests(5000, 40)


def test_one_in_200_of_the_held_out_films_is_beyond_the_limit(
    typicality: Typicality, held_out: tuple[Array, Array]
) -> None:
    assert (typicality.excess(*held_out) > 0).sum() == 2


def test_one_in_200_of_the_held_out_films_is_recognised_in_no_turn(
    typicality: Typicality, held_out: tuple[Array, Array]
) -> None:
    margins, _ = typicality.turns(TURNS["upside down"](held_out[0]))
    assert np.isneginf(margins).sum() == 2


def test_films_of_other_patients_are_typical(typicality: Typicality, films: Array) -> None:
    assert (typicality.excess(films, embedded(films, 2)) > 0).mean() <= 0.05


def test_pictures_of_something_else_are_not(typicality: Typicality, films: Array) -> None:
    noise = np.random.default_rng(0).integers(0, 256, films.shape, dtype=np.uint8)
    assert (typicality.excess(noise, embedded(noise, 2)) > 0).all()


def test_an_embedding_that_no_film_has_is_not_typical_of_the_best_film(typicality: Typicality, films: Array) -> None:
    assert (typicality.excess(films, embedded(films, 2) + 100) > 0).all()


def test_the_farther_an_embedding_lies_the_larger_the_distance(typicality: Typicality, films: Array) -> None:
    distances = [typicality.distances(films, embedded(films, 2) + offset) for offset in (20, 40, 80)]
    assert (np.diff(distances, axis=0) > 0).all()


def test_an_embedding_is_compared_with_the_class_that_it_is_nearest_to(typicality: Typicality, films: Array) -> None:
    at_one, at_other, between = (
        typicality.distances(films, np.full((len(films), DIMENSIONS), value, np.float32)) for value in (0.0, 5.0, 2.5)
    )
    assert (between > np.maximum(at_one, at_other)).all()


@given(seed=st.integers(0, 10_000), gain=st.floats(0.7, 1), offset=st.integers(0, 60))
def test_exposure_does_not_make_a_film_untypical(typicality: Typicality, seed: int, gain: float, offset: int) -> None:
    film = np.clip(chest(seed)[None], 0, 180)
    exposed = (film * gain + offset).round().astype(np.uint8)
    embeddings = embedded(film, seed)
    np.testing.assert_allclose(
        typicality.distances(exposed, embeddings), typicality.distances(film, embeddings), atol=0.3
    )


@pytest.mark.parametrize("name", TURNS)
def test_a_turned_film_is_named_by_its_turn(typicality: Typicality, films: Array, name: str) -> None:
    margins, names = typicality.turns(TURNS[name](films))
    assert (margins > 0).mean() >= 0.95
    assert set(names) == {name}


def test_an_upright_film_is_not_said_to_be_turned(typicality: Typicality, films: Array) -> None:
    assert (typicality.turns(films)[0] < 0).all()


def test_what_would_be_no_film_either_way_is_not_said_to_be_turned(typicality: Typicality, films: Array) -> None:
    noise = np.random.default_rng(0).integers(0, 256, films.shape, dtype=np.uint8)
    assert np.isneginf(typicality.turns(noise)[0]).all()


def test_what_is_saved_is_loaded_as_it_was(typicality: Typicality, films: Array, tmp_path: Path) -> None:
    typicality.save(tmp_path / "typicality.npz")
    loaded, embeddings = load_typicality(tmp_path / "typicality.npz"), embedded(films, 2)
    np.testing.assert_allclose(loaded.excess(films, embeddings), typicality.excess(films, embeddings), atol=1e-4)
    np.testing.assert_allclose(loaded.turns(films)[0], typicality.turns(films)[0], atol=1e-4)


def test_what_is_loaded_is_saved_as_it_was(typicality: Typicality, tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    typicality.save(first)
    load_typicality(first).save(second)
    with np.load(first) as ours, np.load(second) as theirs:
        assert set(ours) == set(theirs) == {field.name for field in fields(Typicality)}
        assert all(ours[name].dtype == np.float32 and np.array_equal(ours[name], theirs[name]) for name in ours)


def write_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thesis.txt", "years of work")


FOREIGN: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "an empty file": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no arrays"),
    "an archive of text": write_archive,
    "one array": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "arrays of other names": lambda path: np.savez(path.open("wb"), mean=np.zeros(3), other=np.zeros(3)),
    "too few arrays": lambda path: np.savez(path.open("wb"), mean=np.zeros(3)),
    "objects": lambda path: np.savez(path.open("wb"), mean=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("write", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_refused_by_its_name(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path / "typicality.npz")
    with pytest.raises(BundleError, match=r"typicality\.npz holds no model of typical films"):
        load_typicality(tmp_path / "typicality.npz")


@pytest.mark.parametrize("name", [field.name for field in fields(Typicality)])
def test_a_damaged_array_is_noticed(typicality: Typicality, tmp_path: Path, name: str) -> None:
    path = tmp_path / "typicality.npz"
    typicality.save(path)
    content = bytearray(path.read_bytes())
    content[content.index(getattr(typicality, name).astype(np.float32).tobytes())] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BundleError, match="export the bundle again"):
        load_typicality(path)


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_is_noticed(
    typicality: Typicality, tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    path = tmp_path_factory.mktemp("cut") / "typicality.npz"
    typicality.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: 1 + int(share * (len(content) - 1))])
    with pytest.raises(BundleError):
        load_typicality(path)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_films_are_refused(held_out: tuple[Array, Array], count: int) -> None:
    with pytest.raises(DataError, match=f"{count} films are too few"):
        fit_typicality(held_out[0][:count], held_out[1][:count], np.arange(count) % 2, held_out)


def test_three_films_are_enough_to_measure_with(held_out: tuple[Array, Array]) -> None:
    fitted = fit_typicality(held_out[0][:3], held_out[1][:3], np.array([0, 1, 1]), held_out)
    assert np.isfinite(fitted.excess(*held_out)).all()
