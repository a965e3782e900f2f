"""Tests of what is recorded of code and libraries."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pneumonia
from pneumonia import __version__
from pneumonia.errors import ConfigError
from pneumonia.provenance import (
    REVISION_VARIABLE,
    describe_recalibration,
    describe_reproducibility,
    git_state,
    reproducibility,
    software_versions,
    stated_revision,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLEAN: dict[str, Any] = {
    "git": {"commit": COMMIT, "dirty": False},
    "data_version": {"tracked": "0f.dir", "found": "0f.dir", "same": True, "note": ""},
    "model": {"network": {"class_path": "pneumonia.models.SmallResNet", "init_args": {}}},
    "export": {"git": {"commit": COMMIT, "dirty": False}},
}
STATE = "import json; from pneumonia.provenance import git_state; print(json.dumps(git_state()))"


def test_versions_name_python_the_package_and_what_is_installed() -> None:
    versions = software_versions()
    assert versions["pneumonia"] == __version__
    assert re.fullmatch(r"3\.\d+\.\d+.*", versions["python"])
    assert "numpy" in versions
    assert all(isinstance(version, str) for version in versions.values())


def test_git_state_is_the_commit_of_the_checkout() -> None:
    state = git_state()
    if state["commit"] is None:  # an installed wheel, or no git
        assert state["dirty"] is None
        return
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert state["commit"] == commit
    assert isinstance(state["dirty"], bool)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A commit of what `git_state` needs of the package, and of a dvc.lock."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    source = Path(pneumonia.__file__).parent
    (tmp_path / "pneumonia").mkdir()
    for name in ("__init__.py", "errors.py", "provenance.py"):
        shutil.copy(source / name, tmp_path / "pneumonia")
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    for words in (
        ("init", "--quiet"),
        ("add", "."),
        ("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message", "test"),
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def dirty(checkout: Path) -> bool:
    environment = {"PYTHONPATH": str(checkout), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", STATE], cwd=checkout, env=environment, capture_output=True, text=True, check=True
    )
    return bool(json.loads(done.stdout)["dirty"])


def test_a_checkout_is_dirty_when_code_was_changed_and_not_when_dvc_wrote_its_lock(checkout: Path) -> None:
    assert dirty(checkout) is False
    (checkout / "dvc.lock").write_text("stages: {index: {}}\n")
    (checkout / "notes.txt").write_text("not tracked")
    assert dirty(checkout) is False
    (checkout / "pneumonia" / "errors.py").write_text("class ConfigError(Exception): ...\n")
    assert dirty(checkout) is True


def test_code_outside_a_checkout_has_the_commit_that_the_environment_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pneumonia.provenance.__file__", str(tmp_path / "pneumonia" / "provenance.py"))
    assert git_state() == {"commit": None, "dirty": None}
    monkeypatch.setenv(REVISION_VARIABLE, f"{COMMIT}-dirty")
    assert git_state() == {"commit": COMMIT, "dirty": True}


@pytest.mark.parametrize("revision", ["main", "unknown", "0123", f"{COMMIT} ", f"{COMMIT}-changed"])
def test_a_revision_that_is_no_commit_is_refused(revision: str) -> None:
    with pytest.raises(ConfigError, match=REVISION_VARIABLE):
        stated_revision(revision)


def test_known_code_and_known_data_are_reproducible() -> None:
    verdict = reproducibility(CLEAN)
    assert verdict == {"reproducible": True, "reasons": []}
    told = describe_reproducibility({**CLEAN, "reproducibility": verdict})
    assert told == "yes: commit 0123456789ab, data.dvc 0f.dir"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"git": {"commit": COMMIT, "dirty": True}}, "trained with uncommitted changes"),
        ({"git": {"commit": None, "dirty": None}}, "trained by code of no known commit"),
        ({"git": {}}, "trained by code of no known commit"),
        ({"export": {"git": {"commit": COMMIT, "dirty": True}}}, "exported with uncommitted changes"),
        ({"export": {}}, "exported by code of no known commit"),
        ({"data_version": None}, "the run did not compare its data with data.dvc"),
        (
            {"data_version": {"tracked": "0f.dir", "found": "1f.dir", "same": False, "note": "their hash is 1f.dir"}},
            "the data are not those of data.dvc: their hash is 1f.dir",
        ),
        (
            {"data_version": {"tracked": "0f.dir", "found": None, "same": None, "note": "DVC is not installed"}},
            "whether the data are those of data.dvc is unknown: DVC is not installed",
        ),
        ({"model": {"network": {"class_path": "mine.Net"}}}, "the network mine.Net is not in the package"),
        ({"model": {}}, "the network of no known class is not in the package"),
        (
            {"model": {"network": {"class_path": "pneumonia.models.X", "init_args": {"weights": "mine.pt"}}}},
            "it began with weights from a file",
        ),
        ({"recalibration": {}}, "its operating point was fitted anew, on films that are named nowhere"),
    ],
)
def test_each_reason_alone_makes_a_bundle_not_reproducible(change: dict[str, Any], reason: str) -> None:
    verdict = reproducibility({**CLEAN, **change})
    assert verdict == {"reproducible": False, "reasons": [reason]}
    assert describe_reproducibility({**CLEAN, **change, "reproducibility": verdict}) == f"no: {reason}"


def test_of_a_bundle_that_records_nothing_nothing_is_claimed() -> None:
    assert describe_reproducibility({}) == "not recorded"


def test_a_recalibration_is_told_with_its_source_and_its_films() -> None:
    recorded = {"source": "cnn:v1", "films": 50, "patients": 40, "classes": {"NORMAL": 20, "PNEUMONIA": 30}}
    told = describe_recalibration(recorded)
    assert told == "from cnn:v1 on 50 films of 40 patients (20 NORMAL, 30 PNEUMONIA)"
