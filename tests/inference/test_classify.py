"""`pneumonia classify`, by its command line; as a process of its own where that is what matters."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pneumonia.cli import main
from pneumonia.inference.command import distinct_names
from pneumonia.inference.prediction import Prediction

Command = Callable[..., Any]

LINE = re.compile(
    r"(?P<path>.+): (?P<label>NORMAL|PNEUMONIA)  (?P<probability>[01]\.\d{4}) \(threshold [01]\.\d{4}\)"
    r"(  not (to be used|sure).+)?"
)


@pytest.fixture
def classify(bundle_dir: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """`pneumonia classify ...` on the bundle, in this process."""

    def run(*words: object) -> "subprocess.CompletedProcess[str]":
        with pytest.raises(SystemExit) as ended:
            main(["classify", *map(str, words), "--bundle", str(bundle_dir)])
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def films(tmp_path: Path, draw_film: Callable[..., Image.Image]) -> list[Path]:
    """Two films of different sizes with the same name, in two folders."""
    paths = [tmp_path / "a" / "film.png", tmp_path / "b" / "film.png"]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        draw_film(seed, "NORMAL", 100 + 20 * seed, 80).save(path)
    return paths


def test_each_film_has_a_line_to_read(classify: Command, films: list[Path]) -> None:
    result = classify(*films)
    assert (result.returncode, result.stderr) == (0, "")
    lines = [LINE.fullmatch(line) for line in result.stdout.splitlines()]
    assert [line and line["path"] for line in lines] == [str(path) for path in films]


def test_each_film_has_a_line_for_programs(classify: Command, films: list[Path]) -> None:
    result = classify(*films, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    fields = {"path", *(field.name for field in dataclasses.fields(Prediction))} - {"heatmap"}
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["path"] for line in lines] == [str(path) for path in films]
    assert all(set(line) == fields for line in lines)


def test_a_folder_stands_for_its_films_in_order(classify: Command, tree: Path) -> None:
    result = classify(tree / "val", "--json")
    paths = [json.loads(line)["path"] for line in result.stdout.splitlines()]
    assert paths == [str(path) for path in sorted((tree / "val").rglob("*.jpeg"))]


def test_what_is_no_image_in_a_folder_is_passed_over(classify: Command, films: list[Path]) -> None:
    folder = films[0].parent
    (folder / "notes.txt").write_text("no film")
    (folder / "folder.png").mkdir()
    result = classify(folder)
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 1)


def test_a_folder_without_a_film_is_an_error(classify: Command, tmp_path: Path) -> None:
    result = classify(tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "no image" in result.stderr
    assert str(tmp_path) in result.stderr


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_bad_file_has_its_own_line_and_the_others_theirs(
    command: Command, bundle_dir: Path, films: list[Path], tmp_path: Path, form: list[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(films[0].read_bytes()[:200])
    result = command("classify", films[0], bad, tmp_path / "nowhere.png", films[1], *form, "--bundle", bundle_dir)
    lines = result.stdout.splitlines()
    assert (result.returncode, len(lines)) == (1, 4)
    assert ["error" in line for line in lines] == [False, True, True, False]
    assert "Traceback" not in result.stderr
    if form:
        assert [set(json.loads(line)["error"]) for line in lines[1:3]] == [{"code", "message"}] * 2
        assert json.loads(lines[1])["error"]["code"] == "damaged_image"


def test_a_film_not_to_be_used_says_so_on_its_line(classify: Command, tmp_path: Path) -> None:
    Image.new("L", (200, 200), 90).save(tmp_path / "blank.png")
    result = classify(tmp_path / "blank.png")
    assert result.returncode == 0
    assert "not to be used: The image is blank" in result.stdout


def test_each_film_has_a_heatmap_of_its_size_even_if_names_repeat(
    classify: Command, films: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "heatmaps"
    result = classify(*films, "--json", "--heatmaps", folder)
    assert result.returncode == 0
    written = [Path(json.loads(line)["heatmap_path"]) for line in result.stdout.splitlines()]
    assert sorted(written) == sorted(folder.iterdir())
    for film, heatmap in zip(films, written, strict=True):
        with Image.open(film) as shown, Image.open(heatmap) as map_of_it:
            assert (map_of_it.format, map_of_it.size) == ("PNG", shown.size)


def test_a_folder_that_takes_no_heatmaps_is_told_in_one_line(classify: Command, films: list[Path]) -> None:
    result = classify(films[0], "--heatmaps", films[1])
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("pneumonia: error: Can't write heatmaps")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.png", "b/x.png", "c/x.jpeg"], ["x", "x-2", "x-3"]),
        (["x-2.png", "a/x.png", "b/x.png"], ["x-2", "x", "x-3"]),
        (["a/Film.png", "b/film.png"], ["Film", "film-2"]),
        (["a/x.1.png", "a/x.2.png"], ["x.1", "x.2"]),
        ([], []),
    ],
)
def test_names_of_heatmaps_are_distinct(paths: list[str], names: list[str]) -> None:
    assert list(distinct_names([Path(path) for path in paths])) == names


def test_it_works_from_any_folder(command: Command, bundle_dir: Path, films: list[Path]) -> None:
    result = command(
        "classify", "film.png", "--bundle", os.path.relpath(bundle_dir, films[0].parent), cwd=films[0].parent
    )
    assert result.returncode == 0
    assert result.stdout.startswith("film.png: ")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_name_that_is_no_text_is_shown_as_far_as_it_goes(
    command: Command, bundle_dir: Path, films: list[Path], tmp_path: Path, form: list[str]
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfflm.png"))
    try:
        path.write_bytes(films[0].read_bytes())
    except OSError:
        pytest.skip("this file system takes no such name")
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    result = command("classify", path, *form, "--bundle", bundle_dir, env=strict)
    assert (result.returncode, result.stderr) == (0, "")
    assert "NORMAL" in result.stdout or "PNEUMONIA" in result.stdout


def start(bundle_dir: Path, *paths: Path, **options: Any) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "pneumonia", "classify", *map(str, paths), "--bundle", str(bundle_dir)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, **options)


def test_a_reader_that_goes_away_ends_it_without_a_trace(bundle_dir: Path, tree: Path) -> None:
    process = start(bundle_dir, tree, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=120)
    assert said == b""
    assert process.returncode == 141


def test_a_closed_standard_input_does_not_matter(bundle_dir: Path, films: list[Path]) -> None:
    process = start(bundle_dir, films[0], stdout=subprocess.PIPE, preexec_fn=lambda: os.close(0))
    out, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, b"")
    assert LINE.fullmatch(out.decode().strip())


def test_a_bundle_that_is_not_there_is_told_in_one_line(command: Command, films: list[Path]) -> None:
    result = command("classify", films[0], "--bundle", "nowhere")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("pneumonia: error: nowhere is no bundle")
