"""The workflow of a change of the data: its own steps, and the words it comments with."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.scripts import PROJECT, environment, read, script


class TestDataWorkflow:
    JOB = read(PROJECT / ".github/workflows/data.yml")["jobs"]["measure"]

    def test_a_fork_gets_no_credentials(self) -> None:
        assert "head.repo.full_name == github.repository" in self.JOB["if"]

    def test_the_job_that_may_comment_runs_no_code_of_the_branch(self) -> None:
        steps = read(PROJECT / ".github/workflows/data.yml")["jobs"]["comment"]["steps"]
        assert not any("checkout" in step.get("uses", "") for step in steps)

    @pytest.mark.slow
    def test_its_own_steps_measure_a_tree_and_put_it_into_words(self, tmp_path: Path, tree: Path) -> None:
        """The steps as they are written, in a checkout whose config trains in seconds and whose data are phantoms."""
        for name in ("data", ".venv/bin", "configs", "measured"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "data" / "chest_xray").symlink_to(tree)
        (tmp_path / ".github").symlink_to(PROJECT / ".github")
        shutil.copy(PROJECT / "configs" / "debug.yaml", tmp_path / "configs" / "cnn.yaml")
        with (tmp_path / "configs" / "cnn.yaml").open("a") as file:
            file.write("  validation_fraction: 0.3\n")
        text = (tmp_path / "configs" / "cnn.yaml").read_text().replace("root: data/phantom", "root: data/chest_xray")
        (tmp_path / "configs" / "cnn.yaml").write_text(text)
        (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
        tool = tmp_path / ".venv" / "bin" / "pneumonia"
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pneumonia "$@"\n')
        tool.chmod(0o755)
        run: dict[str, Any] = {"cwd": tmp_path, "capture_output": True, "text": True}
        for files in ("1", "94"):
            (tmp_path / "data.dvc").write_text(f"outs: [{{md5: {'abc' * 10}.dir, size: 1000000, nfiles: {files}}}]\n")
            git = ["git", "-c", "user.name=x", "-c", "user.email=x@y.z"]
            subprocess.run(["git", "init", "--quiet"], **run, check=True)
            subprocess.run(["git", "add", "data.dvc"], **run, check=True)
            subprocess.run([*git, "commit", "--quiet", "--message", files], **run, check=True)
        summary = tmp_path / "summary.md"
        for step in self.JOB["steps"]:
            if step.get("name", "").startswith(("Index", "Fit", "Put")):
                words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
                done = subprocess.run(words, **run, env={**environment(), "GITHUB_STEP_SUMMARY": str(summary)})
                assert done.returncode == 0, done.stdout + done.stderr
        said = summary.read_text(encoding="utf-8")
        assert "| files | 1 | 94 |" in said
        assert re.search(r"\| auroc \| [01]\.\d{3} \|", said)

    def test_data_that_are_new_have_no_version_before(self) -> None:
        comment = script(".github/scripts/data_comment.py")
        assert comment.version("") == {}
        split = {"files": 3, "patients": 2, "NORMAL": 1, "PNEUMONIA": 2}
        figures = {name: {"value": 0.5, "low": 0.25, "high": 0.75} for name in comment.SHOWN}
        text = comment.comment(
            {},
            {"md5": "0123456789abcdef.dir"},
            {"splits": {"train": split}, "synthetic": True},
            {**figures, "n": 3, "patients": 2},
        )
        assert "| version | - | `0123456789ab` |" in text
        assert "| train | 3 | 2 | 1 | 2 |" in text
        assert "mean nothing for people" in text
