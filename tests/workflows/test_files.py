"""GitHub's workflows: who may do what, pins, limits, and that they ask for what is there."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.scripts import PROJECT, WORKFLOWS, read

ACTIONS = sorted((PROJECT / ".github" / "actions").glob("*/action.yml"))
PIN = re.compile(r"^\s*(?:- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def jobs() -> list[Any]:
    return [
        pytest.param(path, job, id=f"{path.stem}-{name}")
        for path in WORKFLOWS
        for name, job in read(path)["jobs"].items()
    ]


class TestWorkflow:
    @pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
    def test_actions_are_pinned_by_commit_and_say_which_version_that_is(self, path: Path) -> None:
        uses = [line for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"[ -]*uses: (?!\./)", line)]
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

    def test_what_is_pushed_is_what_was_tried_and_scanned(self) -> None:
        jobs = read(PROJECT / ".github/workflows/images.yml")["jobs"]
        names = jobs["try"]["strategy"]["matrix"]["name"]
        assert names == jobs["publish"]["strategy"]["matrix"]["name"]
        assert sorted(names) == sorted(path.stem for path in (PROJECT / "docker").glob("*.Dockerfile"))
        steps = jobs["publish"]["steps"]
        kinds = [step.get("uses", step.get("run", "")).partition("@")[0] for step in steps]
        tried = kinds.index("./.github/actions/image")
        assert steps[tried]["with"]["tag"] == "${{ vars.IMAGE_REPOSITORY }}/${{ matrix.name }}:${{ github.ref_name }}"
        assert tried < next(number for number, kind in enumerate(kinds) if "docker push" in kind)
        assert "cache" not in " ".join(map(str, steps))
        action = [step.get("uses", step.get("run", "")) for step in read(ACTIONS[0])["runs"]["steps"]]
        assert "smoke_image.sh" in action[2]
        assert action[3].startswith("anchore/scan-action@")

    def test_a_key_reaches_a_build_as_a_secret_only(self) -> None:
        build = read(ACTIONS[0])["runs"]["steps"][1]["run"]
        assert '--secret "id=wandb,env=WANDB_API_KEY"' in build
        assert "$WANDB_API_KEY" not in build

    def test_make_targets_that_workflows_call_exist(self) -> None:
        makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
        for path in WORKFLOWS:
            for line in re.findall(r"(?:run: |^ +)make ([a-z- ]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
                for target in line.split():
                    assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{path.name}: {target}"
