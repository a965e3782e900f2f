"""An uploaded file becomes a film in memory, or a problem in plain words, and leaves the disk."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia.demo.film import Film, caption, colour_layer, take_upload
from pneumonia.demo.problems import Problem
from pneumonia.demo.strings import Strings
from pneumonia.demo.viewer import heat, light_box
from tests.demo.dicom_files import write_dicom

SAY = Strings("en")

Draw = Callable[..., Image.Image]


def shown(film: Film) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(film.picture.partition(",")[2]))))


@pytest.fixture
def uploaded(tmp_path: Path) -> Path:
    """A folder of its own for a file, as uploads have."""
    folder = tmp_path / "uploads" / "0123abcd"
    folder.mkdir(parents=True)
    return folder


def test_a_film_keeps_its_bytes_and_says_what_it_is(uploaded: Path, draw_film: Draw) -> None:
    path = uploaded / "chest.png"
    draw_film(1, "NORMAL", 120, 90).save(path)
    content, pixels = path.read_bytes(), np.asarray(Image.open(path))
    film = take_upload(path)
    assert isinstance(film, Film)
    assert film.data == content
    assert caption(SAY, film) == "chest.png, PNG, 120 x 90 pixels"
    assert (film.width, film.height) == (120, 90)
    np.testing.assert_array_equal(shown(film), pixels)


def test_a_dicom_file_of_twelve_bits_is_shown(uploaded: Path) -> None:
    ramp = np.tile(np.linspace(0, 4095, 100), (80, 1))
    film = take_upload(write_dicom(uploaded / "film.dcm", ramp))
    assert isinstance(film, Film)
    assert "DICOM, 100 x 80 pixels" in caption(SAY, film)
    row = shown(film)[0].astype(int)
    assert (row[0], row[-1]) == (0, 255)
    assert (np.diff(row) >= 0).all()


def test_a_sixteen_bit_png_is_shown(uploaded: Path) -> None:
    path = uploaded / "film.png"
    Image.fromarray(np.tile(np.linspace(0, 65535, 90).astype(np.uint16), (70, 1))).save(path)
    film = take_upload(path)
    assert isinstance(film, Film)
    assert len(np.unique(shown(film))) == 90


@pytest.mark.parametrize("name", ["film.png", "notes.txt"])
def test_the_uploaded_file_does_not_stay_on_the_disk(uploaded: Path, draw_film: Draw, name: str) -> None:
    path = uploaded / name
    if name.endswith("png"):
        draw_film(2, "NORMAL").save(path)
    else:
        path.write_text("no film")
    take_upload(path)
    assert not uploaded.exists()
    assert uploaded.parent.exists()


def test_what_else_is_in_the_folder_is_left_alone(uploaded: Path, draw_film: Draw) -> None:
    draw_film(3, "NORMAL").save(uploaded / "film.png")
    (uploaded / "other.png").write_bytes(b"another's")
    take_upload(uploaded / "film.png")
    assert [path.name for path in uploaded.iterdir()] == ["other.png"]


def test_a_text_file_is_a_problem_without_a_retry(uploaded: Path) -> None:
    path = uploaded / "notes.txt"
    path.write_text("These are notes.")
    problem = take_upload(path)
    assert isinstance(problem, Problem)
    assert "DICOM" in problem.detail
    assert problem.advice(SAY)
    assert not problem.retry


def test_a_dicom_file_of_several_frames_is_a_problem(uploaded: Path) -> None:
    problem = take_upload(write_dicom(uploaded / "loop.dcm", np.ones((40, 50)), frames=3))
    assert isinstance(problem, Problem)
    assert "3 frames" in problem.detail


def test_a_truncated_file_is_a_problem(uploaded: Path, draw_film: Draw) -> None:
    path = uploaded / "film.png"
    draw_film(4, "NORMAL").save(path)
    path.write_bytes(path.read_bytes()[:300])
    assert isinstance(take_upload(path), Problem)


def test_a_file_that_is_gone_is_a_problem(uploaded: Path) -> None:
    assert isinstance(take_upload(uploaded / "gone.png"), Problem)


def test_no_problem_tells_the_name_or_place_of_the_file(uploaded: Path) -> None:
    path = uploaded / "Doe^Jane.txt"
    path.write_text("no film")
    problem = take_upload(path)
    assert isinstance(problem, Problem)
    assert "Doe" not in problem.what(SAY) + problem.detail + problem.advice(SAY)
    assert str(uploaded) not in problem.what(SAY) + problem.detail + problem.advice(SAY)


def test_a_heatmap_is_brought_to_the_film_it_is_of(uploaded: Path, draw_film: Draw) -> None:
    path = uploaded / "film.png"
    draw_film(5, "PNEUMONIA").save(path)
    content = path.read_bytes()
    film = take_upload(path)
    assert isinstance(film, Film)
    layer = colour_layer(content)
    assert layer is not None
    assert layer in heat("read", film, layer)
    assert film.token in heat("read", film, layer)
    assert film.token in light_box(SAY, "read", film)
    assert "src" not in heat("read", film, None)
    assert "src" not in heat("read", None, layer)


@pytest.mark.parametrize("heatmap", [None, b"", b"no picture"])
def test_a_heatmap_that_is_none_is_left_out(heatmap: bytes | None) -> None:
    assert colour_layer(heatmap) is None


def test_names_are_text_and_never_markup(uploaded: Path, draw_film: Draw) -> None:
    path = uploaded / "<img src=x onerror=alert(1)>.png"
    draw_film(6, "NORMAL").save(path, format="PNG")
    film = take_upload(path)
    assert isinstance(film, Film)
    assert "<img src=x" not in light_box(SAY, "read", film)
    assert "<img src=x" not in light_box(SAY, "read", None, refused=path.name)
