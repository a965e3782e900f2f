"""Many films: what is taken of folders and archives, in which order, and what each comes to."""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from pneumonia.demo import problems
from pneumonia.demo.batch import LIMITS, Batch, open_items, read_batch, take_uploads
from pneumonia.demo.problems import Problem
from pneumonia.errors import DataError
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction

Draw = Callable[..., Image.Image]


def answer(probability: float, passed: bool = True) -> Prediction:
    return Prediction(
        prediction="PNEUMONIA" if probability >= 0.5 else "NORMAL",
        class_index=int(probability >= 0.5),
        probability=probability,
        threshold=0.5,
        probabilities={"NORMAL": 1 - probability, "PNEUMONIA": probability},
        prediction_set=["PNEUMONIA" if probability >= 0.5 else "NORMAL"],
        coverage=0.95,
        abstained=not passed,
        input_check=InputCheck(passed, [] if passed else ["The image is blank or nearly so."], 0.0),
        model="cnn:1",
    )


def by_length(films: Iterable[bytes]) -> Iterator[Prediction | Problem]:
    """A model that says of a film how long its file is, and can't be reached for a text."""
    for film in films:
        yield problems.DOWN if film.startswith(b"text") else answer(min(1.0, len(film) / 1e5), len(film) > 500)


@pytest.fixture
def film(draw_film: Draw) -> bytes:
    buffer = io.BytesIO()
    draw_film(1, "NORMAL", 300, 200).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def uploads(tmp_path: Path, film: bytes) -> Callable[..., list[str]]:
    """Files as Gradio leaves them: each in a folder of its own."""

    def put(**files: bytes) -> list[str]:
        paths = []
        for number, (name, data) in enumerate(files.items()):
            folder = tmp_path / f"upload-{number}"
            folder.mkdir()
            path = folder / name.replace("__", ".")
            path.write_bytes(data)
            paths.append(str(path))
        return paths

    return put


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return buffer.getvalue()


def read(batch: Batch) -> list[tuple[str, str]]:
    return [(row.name, row.status) for row in read_batch(batch, by_length)]


def test_films_are_read_in_the_order_of_their_names_and_each_has_its_row(
    uploads: Callable[..., list[str]], film: bytes
) -> None:
    batch = take_uploads(uploads(b__png=film, a__png=film, note__txt=b"text", small__png=b"x"))
    assert read(batch) == [
        ("a.png", "answered"),
        ("b.png", "answered"),
        ("note.txt", "failed"),
        ("small.png", "refused"),
    ]
    assert batch.total == 4
    assert batch.in_order()[0].thumbnail.startswith("data:image/jpeg;base64,")
    assert batch.in_order()[2].thumbnail == ""
    batch.close()


def test_a_thumbnail_keeps_the_film_s_shape(uploads: Callable[..., list[str]], film: bytes) -> None:
    import base64

    batch = take_uploads(uploads(a__png=film))
    read(batch)
    data = base64.b64decode(batch.in_order()[0].thumbnail.partition(",")[2])
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (72, 48)


def test_archives_are_opened_and_what_systems_leave_is_passed_over(
    uploads: Callable[..., list[str]], film: bytes
) -> None:
    inside = zipped(**{"ward/b.png": film, "ward/.hidden": b"x", "__MACOSX/ward/b.png": b"x", "ward/Thumbs.db": b"x"})
    inside_names = ["films.zip/ward/b.png", "z.png"]
    batch = take_uploads(uploads(films__zip=inside, z__png=film))
    assert [name for name, _ in read(batch)] == inside_names


def test_the_name_of_a_lone_archive_is_left_out(uploads: Callable[..., list[str]], film: bytes) -> None:
    assert read(take_uploads(uploads(films__zip=zipped(**{"b.png": film})))) == [("b.png", "answered")]


def test_an_archive_that_leads_out_is_refused(uploads: Callable[..., list[str]], film: bytes) -> None:
    with pytest.raises(DataError):
        read(take_uploads(uploads(films__zip=zipped(**{"../../b.png": film}))))


def test_more_files_than_are_taken_are_refused_with_the_number(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(b"x")
    count = LIMITS.max_files + 1
    with pytest.raises(DataError, match="2,001"), open_items([path] * count, ["film.png"] * count):
        pass


def test_what_failed_can_be_read_again(uploads: Callable[..., list[str]], film: bytes) -> None:
    batch = take_uploads(uploads(a__png=film, note__txt=b"text"))
    read(batch)
    assert batch.failed == [1]
    first = batch.run
    for index in batch.failed:
        del batch.rows[index]
    assert [row.status for row in read_batch(batch, lambda films: (answer(0.9) for _ in films))] == ["answered"]
    assert [row.status for row in batch.in_order()] == ["answered", "answered"]
    assert batch.run != first


def test_it_stops_when_told_to_and_keeps_what_it_has(uploads: Callable[..., list[str]], film: bytes) -> None:
    batch = take_uploads(uploads(a__png=film, b__png=film, c__png=film))
    rows = read_batch(batch, by_length)
    next(rows)
    batch.stop.set()
    assert list(rows) == []
    assert len(batch.rows) == 1
    assert batch.total == 3


def test_uploads_are_moved_and_removed_when_the_batch_is_closed(
    uploads: Callable[..., list[str]], film: bytes, tmp_path: Path
) -> None:
    batch = take_uploads(uploads(a__png=film))
    assert list(tmp_path.rglob("*.png")) == []
    assert batch.paths[0].is_file()
    batch.close()
    assert not batch.paths[0].exists()


def test_a_file_that_is_gone_is_a_row_that_says_so(uploads: Callable[..., list[str]], film: bytes) -> None:
    batch = take_uploads(uploads(a__png=film, b__png=film))
    batch.paths[0].unlink()
    assert read(batch) == [("a.png", "failed"), ("b.png", "answered")]
    assert batch.rows[0].problem == problems.UNREADABLE
