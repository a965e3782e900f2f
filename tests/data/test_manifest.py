"""The manifest tells what is in a tree: names, sizes, hashes, and what can't be read."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pneumonia.data.manifest import (
    SYNTHETIC_MARKER,
    Manifest,
    Row,
    parse_name,
    read_manifest,
    scan_tree,
    statistics,
    write_manifest,
)
from pneumonia.errors import DataError
from pneumonia.files import sha256_of


@pytest.fixture
def own_tree(tree: Path, tmp_path: Path) -> Path:
    """A copy of the tree that a test may change."""
    return Path(shutil.copytree(tree, tmp_path / "tree"))


@pytest.mark.parametrize(
    ("name", "patient", "pathogen"),
    [
        ("person23_bacteria_88.jpeg", "person23", "bacteria"),
        ("person1946_virus_4875.jpeg", "person1946", "virus"),
        ("person7_VIRUS_1.JPEG", "person7", "virus"),
        ("IM-0115-0001.jpeg", "IM-0115", ""),
        ("NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM-1427", ""),
        ("IM-0115-0001-0002.jpeg", "IM-0115", ""),
        ("IM-0115.jpeg", "IM-0115", ""),
        ("person23.jpeg", "person23", ""),
        ("a.b.png", "a.b", ""),
    ],
)
def test_a_name_tells_patient_and_pathogen(name: str, patient: str, pathogen: str) -> None:
    assert parse_name(name) == (patient, pathogen)


@given(st.integers(0, 9999), st.sampled_from(["bacteria", "virus"]), st.integers(0, 9999))
def test_films_of_a_patient_have_one_patient_and_those_of_others_another(number: int, kind: str, film: int) -> None:
    patient = parse_name(f"person{number}_{kind}_{film}.jpeg")[0]
    assert patient == parse_name(f"person{number}_virus_{film + 1}.jpeg")[0]
    assert patient != parse_name(f"person{number + 1}_{kind}_{film}.jpeg")[0]


@given(st.text())
def test_any_name_has_a_patient_of_its_own_and_never_fails(name: str) -> None:
    patient, pathogen = parse_name(name)
    assert isinstance(patient, str)
    assert pathogen in ("", "bacteria", "virus")


def test_a_scan_finds_every_film_in_the_order_of_the_paths(tree: Path) -> None:
    manifest = scan_tree(tree)
    on_disk = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.jpeg"))
    assert [row.path for row in manifest.rows] == on_disk
    assert manifest.paths() == [tree / path for path in on_disk]


def test_a_row_tells_split_label_size_and_hash(tree: Path) -> None:
    path = "train/PNEUMONIA/person4_virus_40.jpeg"
    [row] = [row for row in scan_tree(tree).rows if row.path == path]
    with Image.open(tree / path) as film:
        size = film.size
    assert row == Row(path, "train", "PNEUMONIA", "person4", "virus", *size, sha256_of(tree / path))


def test_the_digest_is_the_same_elsewhere(tree: Path, own_tree: Path) -> None:
    assert scan_tree(own_tree).digest == scan_tree(tree).digest


def test_the_digest_changes_with_a_file_s_bytes(own_tree: Path, draw_film: Callable[..., Image.Image]) -> None:
    before = scan_tree(own_tree).digest
    draw_film(1234, "NORMAL").save(own_tree / "train/NORMAL/IM-0001-0000.jpeg")
    assert scan_tree(own_tree).digest != before


def test_the_digest_changes_with_a_file_s_path(own_tree: Path) -> None:
    before = scan_tree(own_tree).digest
    film = own_tree / "train/NORMAL/IM-0001-0000.jpeg"
    film.rename(film.with_name("IM-0001-0009.jpeg"))
    assert scan_tree(own_tree).digest != before


def test_the_digest_changes_with_a_file_that_is_lost(own_tree: Path) -> None:
    before = scan_tree(own_tree).digest
    (own_tree / "train/NORMAL/IM-0001-0000.jpeg").unlink()
    assert scan_tree(own_tree).digest != before


def test_a_broken_file_is_named(own_tree: Path) -> None:
    (own_tree / "train/NORMAL/IM-9999-0001.jpeg").write_bytes(b"no film")
    with pytest.raises(DataError, match=r"1 of \d+ files .*\n  train/NORMAL/IM-9999-0001.jpeg: The file "):
        scan_tree(own_tree)


def test_of_many_broken_files_ten_are_named_and_the_others_counted(own_tree: Path) -> None:
    for film in range(13):
        (own_tree / f"test/NORMAL/IM-9999-{film:04}.jpeg").write_bytes(b"")
    with pytest.raises(DataError, match=r"13 of [^$]*IM-9999-0009[^$]*and 3 more") as raised:
        scan_tree(own_tree)
    assert "IM-9999-0010" not in str(raised.value)


def test_files_that_are_no_films_are_passed_over(tree: Path, own_tree: Path) -> None:
    for name in ("notes.txt", ".hidden.jpeg", "Thumbs.db"):
        (own_tree / "train/NORMAL" / name).write_bytes(b"no film")
    (own_tree / "train/OTHER").mkdir()
    (own_tree / "train/OTHER/a.jpeg").write_bytes(b"no film")
    (own_tree / "train/NORMAL/folder.jpeg").mkdir()
    assert scan_tree(own_tree).digest == scan_tree(tree).digest


def test_a_name_that_is_no_utf8_is_a_name_like_others(tmp_path: Path, draw_film: Callable[..., Image.Image]) -> None:
    folder = tmp_path / "test" / "NORMAL"
    folder.mkdir(parents=True)
    draw_film(0, "NORMAL").save(folder / os.fsdecode(b"caf\xe9.png"))
    manifest = scan_tree(tmp_path)
    write_manifest(manifest, tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv", tmp_path).digest == manifest.digest


def test_a_suffix_in_capitals_is_a_film(tmp_path: Path, draw_film: Callable[..., Image.Image]) -> None:
    folder = tmp_path / "test" / "NORMAL"
    folder.mkdir(parents=True)
    draw_film(0, "NORMAL").save(folder / "IM-0001-0001.PNG")
    assert len(scan_tree(tmp_path).rows) == 1


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_place_without_a_tree_is_an_error_that_says_what_is_expected(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"No X-ray files under .*\{train,val,test\}.*pneumonia data fetch"):
        scan_tree(tmp_path / name)


def test_a_tree_is_synthetic_when_its_generator_left_its_marker(own_tree: Path) -> None:
    assert not scan_tree(own_tree).synthetic
    (own_tree / SYNTHETIC_MARKER).write_text("{}")
    assert scan_tree(own_tree).synthetic
    assert scan_tree(own_tree).select([0]).synthetic


def test_what_is_written_as_csv_is_read_again(tree: Path, tmp_path: Path) -> None:
    manifest = scan_tree(tree)
    write_manifest(manifest, tmp_path / "manifest.csv")
    again = read_manifest(tmp_path / "manifest.csv", tree)
    assert again == manifest
    assert again.digest == manifest.digest


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1), max_size=5))
def test_any_path_survives_the_csv(tmp_path_factory: pytest.TempPathFactory, paths: list[str]) -> None:
    rows = tuple(Row(path, "train", "NORMAL", path, "", 1, 2, "ab") for path in paths)
    file = tmp_path_factory.getbasetemp() / "manifest.csv"
    write_manifest(Manifest(Path("tree"), rows), file)
    assert read_manifest(file, "tree").rows == rows


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\xff\xfe\x00",
        b"path,split\na,train\n",
        b"path,split,label,patient,pathogen,width,height,sha256\na,train,NORMAL,p,,wide,1,ab\n",
        b"path,split,label,patient,pathogen,width,height,sha256\na,train,NORMAL\n",
    ],
)
def test_a_file_that_is_no_manifest_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.csv is no manifest .*pneumonia data index"):
        read_manifest(tmp_path / "manifest.csv", tmp_path)


def test_statistics_count_files_patients_labels_and_identical_files(tree: Path) -> None:
    content = statistics(scan_tree(tree))
    assert content["files"] == 96
    assert content["identical_files"] == 1
    assert content["splits"]["test"] == {  # type: ignore[index]
        "files": 20,
        "patients": 20,
        "NORMAL": 9,
        "PNEUMONIA": 11,
        "bacteria": 5,
        "virus": 6,
        "width": [90, 120],
        "height": [80, 96],
    }


def test_the_real_films_are_what_their_description_says(mirror: Path) -> None:
    content = statistics(scan_tree(mirror))
    counts = {split: (part["NORMAL"], part["PNEUMONIA"]) for split, part in content["splits"].items()}  # type: ignore[attr-defined]
    assert counts == {"train": (1341, 3875), "val": (8, 8), "test": (115, 192)}
    assert content["splits"]["train"]["patients"] == 2846  # type: ignore[index]
    assert not content["synthetic"]
