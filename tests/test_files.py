"""A file or directory is whole or not there at all, whatever happens while it is written."""

import hashlib
import json
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.files import atomic_directory, atomic_write, sha256_of, write_json


class Interruption(BaseException):
    """As Ctrl-C is: no `Exception`."""


def test_a_file_is_there_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with atomic_write(str(path)) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, Interruption])
def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path / "name") as temporary:
        temporary.write_text("file")
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_a_name_may_be_as_long_as_any(tmp_path: Path) -> None:
    with atomic_write(tmp_path / ("ö" * 127)) as temporary:
        temporary.write_text("long")
    assert (tmp_path / ("ö" * 127)).read_text() == "long"


@pytest.mark.parametrize("umask", ["022", "027", "077"])
def test_files_and_directories_get_the_users_usual_permissions(tmp_path: Path, umask: str) -> None:
    # In a process of its own: the umask is the whole process's.
    code = (
        "import os, sys; from pathlib import Path; from pneumonia.files import atomic_directory, atomic_write\n"
        f"os.umask(0o{umask}); folder = Path(sys.argv[1])\n"
        "with atomic_write(folder / 'file'): pass\n"
        "with atomic_directory(folder / 'directory'): pass\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~int(umask, 8)
    assert stat.S_IMODE((tmp_path / "directory").stat().st_mode) == 0o777 & ~int(umask, 8)


def test_a_reader_sees_one_version_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    versions = {letter * 100_000 for letter in "ab"}
    path.write_text("a" * 100_000)
    done = threading.Event()

    def write() -> None:
        for _ in range(20):
            for version in sorted(versions):
                with atomic_write(path) as temporary:
                    temporary.write_text(version)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert path.read_text() in versions
    writer.join()


def test_a_directory_is_there_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "directory"
    with atomic_directory(path) as temporary:
        (temporary / "nested").mkdir()
        (temporary / "nested" / "file.txt").write_text("whole")
        (temporary / "link").symlink_to("nowhere")
        assert not path.exists()
    assert (path / "nested" / "file.txt").read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_directory_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(FileExistsError, match="exists already"), atomic_directory(tmp_path / "directory"):
        pytest.fail("nothing may be written")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def test_a_directory_is_replaced_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with atomic_directory(path, replace=True) as temporary:
        (temporary / "new.txt").write_text("new")
        assert (path / "old.txt").read_text() == "old"
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, Interruption])
@pytest.mark.parametrize("replace", [False, True])
def test_a_directory_that_fails_half_way_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException], replace: bool
) -> None:
    path = tmp_path / "directory"
    if replace:
        path.mkdir()
        (path / "old.txt").write_text("old")

    def write_half() -> None:
        with atomic_directory(path, replace) as temporary:
            (temporary / "half.txt").write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.txt")] == (
        ["directory/old.txt"] if replace else []
    )
    assert len(list(tmp_path.iterdir())) == replace


def test_the_old_directory_comes_back_when_the_new_one_cannot_take_its_place(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_directory(path, replace=True) as temporary:
        temporary.rmdir()
    assert (path / "old.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("contents", [[], ["file.txt"]])
def test_a_directory_that_appears_meanwhile_is_not_replaced(tmp_path: Path, contents: list[str]) -> None:
    path = tmp_path / "directory"

    def write_while_another_does() -> None:
        with atomic_directory(path) as temporary:
            (temporary / "mine.txt").write_text("mine")
            path.mkdir()
            for name in contents:
                (path / name).write_text("another's")

    with pytest.raises(FileExistsError):
        write_while_another_does()
    assert [file.name for file in path.iterdir()] == contents
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_written_for_people_too(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"name": "Zoë", "values": [1, 2.5, None]})
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"name": "Zoë", "values": [1, 2.5, None]}
    assert text.startswith('{\n  "name"')
    assert text.endswith("}\n")


@pytest.mark.parametrize("content", [float("nan"), [float("inf")], {"x": object()}, {("a", "b"): 1}])
def test_what_is_no_json_leaves_the_old_file(tmp_path: Path, content: object) -> None:
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "x.json", content)
    assert json.loads((tmp_path / "x.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@given(st.binary(max_size=3 * 2**18))
def test_a_hash_is_that_of_the_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hashed"
    path.write_bytes(data)
    assert sha256_of(path) == sha256_of(str(path)) == hashlib.sha256(data).hexdigest()
