"""Which versions CI installs, and which a release may have."""

import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.workflows.scripts import PROJECT, script


class TestLowestVersions:
    def test_they_are_the_lower_bounds_of_pyproject(self) -> None:
        lowest = script(".ci/lowest.py")
        assert lowest.lowest(["torch>=2.8", "Gradio>=6,<7", "lightning>=2.6.1,!=2.6.2"]) == {
            "gradio": "6",
            "lightning": "2.6.1",
            "torch": "2.8",
        }

    def test_of_two_bounds_the_higher_one_holds(self) -> None:
        assert script(".ci/lowest.py").lowest(["httpx>=0.9", "httpx>=0.27"]) == {"httpx": "0.27"}

    @pytest.mark.parametrize("text", ["torch", "torch<3", "torch!=2.1"])
    def test_a_range_without_a_lower_end_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="lower bound"):
            script(".ci/lowest.py").lowest([text])

    def test_every_dependency_has_one_and_the_pinned_version_is_in_its_range(self) -> None:
        pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
        lowest = script(".ci/lowest.py")
        extras = list(pyproject["project"]["optional-dependencies"])
        named = lowest.requirements(pyproject, extras)
        assert len(lowest.lowest(named)) > 20
        lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        pins = {
            name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)
        }
        for requirement in map(Requirement, named):
            assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement

    def test_the_command_prints_constraints(self) -> None:
        words = [sys.executable, PROJECT / ".ci" / "lowest.py", "train"]
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        assert "torch==2.8" in lines
        assert not any(line.startswith("litserve") for line in lines)


class TestRelease:
    LOG = "# Changelog\n\n## Unreleased\n\n## [1.2.3] - 2026-01-02\n\n- new\n\n## 1.2.2\n\n- old\n"

    def test_its_notes_are_the_changelog_of_its_version(self) -> None:
        notes = script(".ci/release.py").notes
        assert notes(self.LOG, "1.2.3") == "- new\n"
        assert notes(self.LOG, "1.2.2") == "- old\n"

    def test_a_version_without_notes_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"no section '## 1\.2'"):
            script(".ci/release.py").notes(self.LOG, "1.2")

    def test_a_tag_that_is_not_the_packages_version_is_refused(self) -> None:
        words = [sys.executable, PROJECT / ".ci" / "release.py", "v99.0.0"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 1
        assert "v99.0.0" in done.stderr
