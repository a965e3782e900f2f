"""Whether films are those of data.dvc, against what DVC itself writes and hashes."""

import shutil
import sys
from pathlib import Path

import pytest

from pneumonia.data.version import data_version, read_tracker

from .conftest import Run


@pytest.fixture
def checkout(committed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(committed, tmp_path / "checkout"))


def test_films_that_dvc_added_are_those_of_data_dvc(checkout: Path) -> None:
    version = data_version(checkout / "data" / "chest_xray")
    assert version["same"] is True
    assert version["found"] == version["tracked"] == read_tracker(checkout / "data.dvc")[0]


def test_the_same_films_elsewhere_are_as_well_and_hidden_files_do_not_count(checkout: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.move(checkout / "data" / "chest_xray", tmp_path / "chest_xray"))
    (elsewhere / ".fetched.json").write_text("{}")
    assert data_version(elsewhere, checkout)["same"] is True


def test_a_tracked_folder_may_be_the_tree_itself_under_any_name(checkout: Path, run_in: Run, tmp_path: Path) -> None:
    films = shutil.move(checkout / "data" / "chest_xray", checkout / "films")
    run_in(checkout, "dvc", "add", "-q", "films")
    (checkout / "films.dvc").rename(checkout / "data.dvc")
    assert data_version(Path(films), checkout)["same"] is True
    assert data_version(Path(shutil.move(films, tmp_path / "other")), checkout)["same"] is True


def test_another_film_a_missing_one_and_a_new_name_are_other_data(checkout: Path) -> None:
    films = sorted((checkout / "data" / "chest_xray" / "train" / "NORMAL").iterdir())
    content, tracked = films[0].read_bytes(), read_tracker(checkout / "data.dvc")[0]
    films[0].write_bytes(content + b"\0")
    changed = data_version(checkout / "data" / "chest_xray")
    films[0].unlink()
    missing = data_version(checkout / "data" / "chest_xray")
    films[0].with_name("renamed.jpeg").write_bytes(content)
    renamed = data_version(checkout / "data" / "chest_xray")
    assert [version["same"] for version in (changed, missing, renamed)] == [False] * 3
    assert len({version["found"] for version in (changed, missing, renamed)} - {tracked}) == 3
    assert changed["found"] in changed["note"]


def test_without_data_dvc_nothing_is_known(tree: Path) -> None:
    version = data_version(tree)
    assert (version["tracked"], version["same"]) == (None, None)
    assert "no data.dvc" in version["note"]


def test_without_dvc_nothing_is_known(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dvc_data.hashfile.build", None)
    version = data_version(checkout / "data" / "chest_xray")
    assert (version["found"], version["same"]) == (None, None)
    assert "pneumonia[data]" in version["note"]


@pytest.mark.parametrize(
    "content", ["", "outs: [", "outs: []", "outs: [{md5: 0f}]", "outs:\n- {md5: 0f, path: a.png}", "\xff"]
)
def test_a_data_dvc_that_can_not_be_read_is_said_to_be_so(content: str, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "data.dvc").write_bytes(content.encode("latin-1"))
    version = data_version(tree, tmp_path)
    assert version["same"] is None
    assert "can't be read" in version["note"]
