"""The workflow of a staged model: a recorded payload tests and promotes a bundle, and another one does nothing."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pneumonia.bundle import GRAPH, REFERENCE
from pneumonia.registry.base import BEST, CANDIDATE, PROMOTE
from pneumonia.registry.local import LocalRegistry
from pneumonia.registry.resolve import open_registry
from tests.wandb_server.server import WandbServer
from tests.workflows.scripts import PROJECT, read, script

pytest_plugins = ["tests.wandb_server.fixtures"]

RECORDED = Path(__file__).parent / "repository_dispatch.json"
EVENT = json.loads(RECORDED.read_text(encoding="utf-8"))
WANDB = "wandb://hospital-org/pneumonia"


@pytest.fixture
def registry(tmp_path: Path) -> LocalRegistry:
    """The reference bundle is its candidate."""
    registry = LocalRegistry(tmp_path / "registry")
    registry.push(REFERENCE, [CANDIDATE])
    return registry


def run(place: Path | str, event: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The step of the workflow, as it is written there."""
    job = read(PROJECT / ".github/workflows/staged-model.yml")["jobs"]["test-and-promote"]
    words = job["steps"][-1]["run"].split()
    assert words == ["python", ".github/scripts/staged_model.py", '"$GITHUB_EVENT_PATH"']
    return subprocess.run(
        [sys.executable, PROJECT / words[1], event, "--max-slowdown", "1000"],  # a busy machine is no failure
        env={**os.environ, "PNEUMONIA_REGISTRY": str(place), **environment},
        capture_output=True,
        text=True,
    )


def with_payload(**fields: Any) -> dict[str, Any]:
    event = copy.deepcopy(EVENT)
    event["client_payload"].update(fields)
    return event


@pytest.mark.slow
class TestRun:
    def test_the_candidate_that_a_payload_names_is_tested_and_promoted(
        self, registry: LocalRegistry, tmp_path: Path
    ) -> None:
        done = run(registry.root, RECORDED, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
        assert done.returncode == 0, done.stdout + done.stderr
        entry = registry.find("reference:v1")
        assert BEST in entry.aliases
        assert entry.metadata["staged"]["passed"] is True
        assert registry.history()[-1].action == PROMOTE
        said = (tmp_path / "summary.md").read_text(encoding="utf-8")
        assert "**Promoted to best.**" in said
        assert "| `checksums` | `pass` |" in said

    def test_in_a_registry_of_wandb_it_is_the_same(self, online: WandbServer, tmp_path: Path) -> None:
        place = "wandb://team/model"
        pushed = open_registry(place).push(REFERENCE, [CANDIDATE])
        event = tmp_path / "event.json"
        linked = f"team-org/wandb-registry-model/{pushed.reference}"
        event.write_text(json.dumps(with_payload(artifact_version_string=linked, project_name="wandb-registry-model")))
        done = run(place, event)
        assert done.returncode == 0, done.stdout + done.stderr
        entry = open_registry(place).find(pushed.reference)
        assert BEST in entry.aliases
        assert entry.metadata["staged"]["passed"] is True

    def test_a_bundle_that_fails_its_tests_is_not_promoted(self, registry: LocalRegistry, tmp_path: Path) -> None:
        graph = registry.root / "reference" / "v1" / GRAPH
        graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")
        done = run(registry.root, RECORDED, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
        assert done.returncode == 1
        assert BEST not in registry.find("reference:v1").aliases
        assert "**Its staged tests failed**" in (tmp_path / "summary.md").read_text(encoding="utf-8")

    def test_a_version_that_is_not_there_is_said_to_be_missing(self, registry: LocalRegistry, tmp_path: Path) -> None:
        event = tmp_path / "event.json"
        event.write_text(json.dumps(with_payload(artifact_version_string="o/p/reference:v9")))
        done = run(registry.root, event)
        assert done.returncode == 1
        assert "reference:v9" in done.stdout

    def test_a_payload_that_is_refused_touches_nothing(self, registry: LocalRegistry, tmp_path: Path) -> None:
        event = tmp_path / "event.json"
        event.write_text(json.dumps(with_payload(artifact_collection_name="reference; touch /tmp/x")))
        before = (registry.root / "registry.json").read_bytes()
        done = run(registry.root, event)
        assert done.returncode == 2
        assert "touch" not in done.stdout + done.stderr
        assert (registry.root / "registry.json").read_bytes() == before


class TestPayload:
    def test_the_recorded_one_names_a_version(self) -> None:
        assert script(".github/scripts/staged_model.py").reference(EVENT, WANDB) == "reference:v1"

    @pytest.mark.parametrize(
        "fields",
        [
            {"artifact_version_string": "reference"},
            {"artifact_version_string": "reference:best"},
            {"artifact_version_string": "../../reference:v1"},
            {"artifact_version_string": "--root:v1", "artifact_collection_name": "--root"},
            {"artifact_version_string": "reference:v1\n"},
            {"artifact_version_string": "reference:v1 && curl x"},
            {"artifact_version_string": 1},
            {"artifact_version_string": ["reference:v1"]},
            {"artifact_version_string": "a/b/other:v1"},
            {"artifact_collection_name": "$(id)"},
            {"artifact_version": "https://example.org/"},
            {"project_name": "wandb-registry-another"},
            {"event_author": "a\nb"},
            {"alias": "candidate`id`"},
            {"registry": "wandb://mine/registry"},
        ],
        ids=str,
    )
    def test_what_is_not_of_the_form_is_refused(self, fields: dict[str, Any]) -> None:
        module = script(".github/scripts/staged_model.py")
        with pytest.raises(module.PayloadError):
            module.reference(with_payload(**fields), WANDB)

    @pytest.mark.parametrize("field", ["artifact_version_string", "artifact_collection_name", "project_name"])
    def test_what_is_missing_is_named(self, field: str) -> None:
        module = script(".github/scripts/staged_model.py")
        event = copy.deepcopy(EVENT)
        del event["client_payload"][field]
        with pytest.raises(module.PayloadError, match=field):
            module.reference(event, WANDB)

    @pytest.mark.parametrize(
        "event", [None, [], {}, {"action": "other", "client_payload": {}}, {"action": "staged-model"}]
    )
    def test_another_event_is_refused(self, event: Any) -> None:
        module = script(".github/scripts/staged_model.py")
        with pytest.raises(module.PayloadError):
            module.reference(event, WANDB)

    def test_a_local_registry_takes_payloads_of_any_project(self) -> None:
        module = script(".github/scripts/staged_model.py")
        assert module.reference(with_payload(project_name="another"), "artifacts/registry") == "reference:v1"

    def test_words_from_elsewhere_render_nothing_in_the_summary(self) -> None:
        check = {"name": "x|y", "outcome": "fail", "words": "`<img src=x>`\n| a |"}
        text = script(".github/scripts/staged_model.py").summary("n:v1", {"checks": [check]}, "no")
        assert text.splitlines()[-1] == "| `x y` | `fail` | `<img src=x> a` |"

    def test_without_a_registry_nothing_is_done(self, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
        monkeypatch.delenv("PNEUMONIA_REGISTRY", raising=False)
        assert script(".github/scripts/staged_model.py").main([str(RECORDED)]) == 2
        assert "PNEUMONIA_REGISTRY" in capsys.readouterr().out


class TestWorkflow:
    JOB = read(PROJECT / ".github/workflows/staged-model.yml")

    def test_it_listens_to_the_event_that_the_script_acts_on(self) -> None:
        types = self.JOB["on"]["repository_dispatch"]["types"]
        assert types == [script(".github/scripts/staged_model.py").EVENT_TYPE] == [EVENT["action"]]

    def test_no_field_of_the_payload_is_in_the_workflow(self) -> None:
        text = (PROJECT / ".github/workflows/staged-model.yml").read_text(encoding="utf-8")
        assert "github.event" not in text

    def test_the_template_in_the_documents_is_what_the_script_takes(self) -> None:
        document = (PROJECT / "docs" / "workflows.md").read_text(encoding="utf-8")
        template = json.loads(document.partition("```json\n")[2].partition("```")[0])
        assert template["event_type"] == EVENT["action"]
        assert set(template["client_payload"]) == set(EVENT["client_payload"])
        assert set(template["client_payload"]) <= set(script(".github/scripts/staged_model.py").FIELDS)
        assert all(value == f"${{{name}}}" for name, value in template["client_payload"].items())
