"""The official layout: found wherever it lies, compared by bytes, verified against a list."""

import hashlib
from pathlib import Path

import pytest

from pneumonia.data.archives import SourceFile, list_folder
from pneumonia.data.tree import find_tree, read_checksums, same_tree, tree_at, verify_checksums
from pneumonia.errors import DataError

FOLDERS = ("train/NORMAL", "train/PNEUMONIA", "test/NORMAL", "test/PNEUMONIA")


def make_tree(root: Path, folders: tuple[str, ...] = FOLDERS, images: int = 2) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for number in range(images):
            (root / folder / f"{number}.jpeg").write_bytes(f"{folder} {number}".encode())
    return root


def write_list(root: Path, path: Path, prefix: str = "./", mark: str = " ") -> Path:
    images = sorted(root.rglob("*.jpeg"))
    lines = [
        f"{hashlib.sha256(image.read_bytes()).hexdigest()} {mark}{prefix}{image.relative_to(root)}\n"
        for image in images
    ]
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("prefix", ["", "chest_xray", "x/chest_xray/chest_xray"])
def test_a_tree_is_found_at_any_depth(tmp_path: Path, prefix: str) -> None:
    make_tree(tmp_path / prefix)
    tree = find_tree(list_folder(tmp_path), "here")
    assert tree.prefix == prefix
    assert tree.counts() == dict.fromkeys(FOLDERS, 2)


def test_of_a_doubled_tree_the_outer_one_is_taken(tmp_path: Path) -> None:
    make_tree(tmp_path / "chest_xray")
    make_tree(tmp_path / "chest_xray" / "chest_xray")
    assert find_tree(list_folder(tmp_path), "here").prefix == "chest_xray"


def test_an_outer_tree_that_is_incomplete_gives_way_to_a_complete_one(tmp_path: Path) -> None:
    make_tree(tmp_path / "chest_xray", FOLDERS[:3])
    make_tree(tmp_path / "chest_xray" / "chest_xray")
    assert find_tree(list_folder(tmp_path), "here").prefix == "chest_xray/chest_xray"


@pytest.mark.parametrize("folder", ["__MACOSX", ".cache"])
def test_a_tree_in_a_hidden_folder_of_an_archive_is_none(tmp_path: Path, folder: str) -> None:
    make_tree(tmp_path)
    files = [SourceFile(f"{folder}/{file.name}", file.size, file.open) for file in list_folder(tmp_path)]
    with pytest.raises(DataError, match="No complete data tree"):
        find_tree(files, "here")


def test_two_trees_side_by_side_that_differ_are_refused(tmp_path: Path) -> None:
    make_tree(tmp_path / "one")
    make_tree(tmp_path / "two", images=3)
    with pytest.raises(DataError, match="several data trees that differ: one, two"):
        find_tree(list_folder(tmp_path), "here")


def test_files_that_are_no_images_of_the_layout_are_left(tmp_path: Path) -> None:
    make_tree(tmp_path)
    for name in (
        "train/NORMAL/notes.txt",
        "train/NORMAL/.DS_Store",
        "train/OTHER/a.jpeg",
        "extra/NORMAL/a.jpeg",
        "a.jpeg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert len(find_tree(list_folder(tmp_path), "here").files) == 8


@pytest.mark.parametrize("missing", FOLDERS)
def test_a_tree_without_a_label_is_an_error_that_names_it(tmp_path: Path, missing: str) -> None:
    make_tree(tmp_path, tuple(folder for folder in FOLDERS if folder != missing))
    with pytest.raises(DataError, match=f"No complete data tree in here: no image in {missing}\\."):
        find_tree(list_folder(tmp_path), "here")


def test_a_file_listed_twice_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path)
    with pytest.raises(DataError, match="twice"):
        find_tree([*list_folder(tmp_path), *list_folder(tmp_path)], "here")


def test_trees_are_the_same_only_byte_by_byte(tmp_path: Path) -> None:
    tree = tree_at(make_tree(tmp_path / "one"))
    other = make_tree(tmp_path / "two")
    assert same_tree(tree, other)
    (other / "train/NORMAL/0.jpeg").write_bytes(b"train/NORMAL X")
    assert not same_tree(tree, other)
    (other / "train/NORMAL/0.jpeg").unlink()
    assert not same_tree(tree, other)
    assert not same_tree(tree, tmp_path / "missing")


@pytest.mark.parametrize("prefix", ["", "./", "chest_xray/", "./x/chest_xray/"])
@pytest.mark.parametrize("mark", [" ", "*"])
def test_a_list_holds_whatever_folder_its_paths_begin_with(tmp_path: Path, prefix: str, mark: str) -> None:
    root = make_tree(tmp_path / "tree")
    verify_checksums(root, write_list(root, tmp_path / "list", prefix, mark))


def test_files_that_do_not_match_the_list_are_named(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree")
    checksums = write_list(root, tmp_path / "list")
    (root / "train/NORMAL/0.jpeg").write_bytes(b"other")
    (root / "train/NORMAL/1.jpeg").rename(root / "train/NORMAL/2.jpeg")
    with pytest.raises(DataError) as refused:
        verify_checksums(root, checksums)
    assert "3 files do not match" in str(refused.value)
    assert "train/NORMAL/0.jpeg: other bytes" in str(refused.value)
    assert "train/NORMAL/1.jpeg: missing" in str(refused.value)
    assert "train/NORMAL/2.jpeg: not in the list" in str(refused.value)


def test_of_many_files_that_do_not_match_ten_are_named(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", images=5)
    checksums = write_list(root, tmp_path / "list")
    for image in root.rglob("*.jpeg"):
        image.write_bytes(b"other")
    with pytest.raises(DataError, match="and 10 more") as refused:
        verify_checksums(root, checksums)
    assert str(refused.value).count("other bytes") == 10


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no list\n", "Line 1 of .* is no"),
        (f"{'0' * 64}  ./README.md\n", "lists no file of a tree"),
        ("", "lists no file of a tree"),
        (f"{'0' * 64}  a/train/NORMAL/1.png\n{'1' * 64}  b/train/NORMAL/1.png\n", "twice"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "list").write_text(content)
    with pytest.raises(DataError, match=reason):
        read_checksums(tmp_path / "list")


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        read_checksums(tmp_path / "list")
