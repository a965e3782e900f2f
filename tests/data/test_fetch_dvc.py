"""Pulling the data set with DVC, from a real remote into a real checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pneumonia.data.fetch import fetch
from pneumonia.errors import DataError

FOLDERS = ("train/NORMAL", "train/PNEUMONIA", "test/NORMAL", "test/PNEUMONIA")


def make_tree(root: Path) -> Path:
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
        for number in range(2):
            (root / folder / f"{number}.jpeg").write_text(f"{folder} {number}")
    return root


def content_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "source" / "chest_xray")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "checkout" / "data" / "chest_xray"


@pytest.fixture(scope="module")
def dvc_remote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Git and DVC checkout whose data are only in its remote, the folder `store`."""
    pytest.importorskip("dvc", reason="needs pneumonia[data]")
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = tmp_path_factory.mktemp("dvc")
    root = folder / "checkout"
    make_tree(root / "data" / "chest_xray")
    dvc = (sys.executable, "-m", "dvc")
    for command in (
        ("git", "init", "-q"),
        (*dvc, "init", "-q"),
        (*dvc, "remote", "add", "-q", "-d", "store", "../store"),
        (*dvc, "add", "-q", "data"),
        (*dvc, "push", "-q"),
    ):
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
        subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    shutil.rmtree(root / "data")
    shutil.rmtree(root / ".dvc" / "cache")
    return folder


@pytest.fixture
def checkout(dvc_remote: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dvc_remote, tmp_path, dirs_exist_ok=True)) / "checkout"


def test_in_a_dvc_checkout_no_lock_is_left_in_the_folder_that_dvc_tracks(source: Path, destination: Path) -> None:
    (destination.parents[1] / ".dvc").mkdir(parents=True)
    (destination.parents[1] / "data.dvc").write_text("outs:\n- path: data\n")
    fetch(str(source), destination)
    assert [path.name for path in destination.parent.iterdir()] == ["chest_xray"]


def test_dvc_pulls_the_data_of_the_checkout(checkout: Path, source: Path, destination: Path) -> None:
    for _ in range(2):
        assert fetch("dvc", destination) == destination
        assert content_of(destination) == content_of(source)
    assert [path.name for path in destination.parent.iterdir()] == ["chest_xray"]


def test_dvc_pulls_after_another_source_was_broken_off(checkout: Path, source: Path, destination: Path) -> None:
    destination.parent.mkdir()
    (destination.parent / ".chest_xray.part").write_bytes(b"x")
    (destination.parent / ".chest_xray.abcd_123.tmp").mkdir()
    fetch("dvc", destination)
    assert content_of(destination) == content_of(source)


def test_dvc_overwrites_nothing(checkout: Path, destination: Path) -> None:
    image = destination / "train" / "NORMAL" / "0.jpeg"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"(?s)nothing was overwritten.*train/NORMAL/0\.jpeg"):
        fetch("dvc", destination)
    assert image.read_bytes() == b"mine"


def test_dvc_data_without_the_destination_are_an_error(checkout: Path, destination: Path) -> None:
    with pytest.raises(DataError, match="no image in train/NORMAL"):
        fetch("dvc", destination.with_name("other"))


def test_dvc_without_its_remote_is_an_error_with_what_dvc_says(
    checkout: Path, destination: Path, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(DataError, match=r"(?s)failed.*DVC says: .*data"):
        fetch("dvc", destination)


def test_dvc_outside_of_a_checkout_is_an_error(destination: Path) -> None:
    with pytest.raises(DataError, match=r"No data\.dvc in a folder around"):
        fetch("dvc", destination)


def test_dvc_that_is_not_installed_is_an_error_that_names_the_extra(
    destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination.parent.mkdir(parents=True)
    (destination.parents[1] / "data.dvc").write_text("outs:\n- path: data\n")
    monkeypatch.setitem(sys.modules, "dvc", None)
    with pytest.raises(DataError, match=r"pneumonia\[data\]"):
        fetch("dvc", destination)
