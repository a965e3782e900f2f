"""Tests of what is recorded of code and libraries."""

import re
import subprocess

from pneumonia import __version__
from pneumonia.provenance import git_state, software_versions


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
