"""Dashboards and alert rules ask for metrics that a real server has, with labels that it gives them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server_process import pneumonia_serve, serve
from pneumonia.bundle import REFERENCE

PROJECT = Path(__file__).parents[1]
PROMETHEUS = PROJECT / "docker" / "prometheus"
GRAFANA = PROJECT / "docker" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))

METRIC = re.compile(r"\b(pneumonia_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|ignoring|on)\s*\(([^)]*)\)")
# What Prometheus adds to every sample that it collects.
ADDED = {"instance", "job"}
BUILT_IN = re.compile(r"\$__rate_interval|\$instance")


@pytest.fixture(scope="module")
def exposition(draw_film: object) -> str:
    """`/metrics` of a server that has answered for a film and for a file that is none."""
    with serve(pneumonia_serve(REFERENCE, "--workers", "1")) as running:
        url = f"http://127.0.0.1:{running.port}"
        film = BytesIO()
        draw_film(0, "NORMAL").save(film, "PNG")  # type: ignore[operator]
        for content, status in ((film.getvalue(), 200), (b"no film", 415)):
            assert httpx.post(f"{url}/predict", files={"file": content}, timeout=60).status_code == status
        return httpx.get(f"{url}/metrics", timeout=60).text


@pytest.fixture(scope="module")
def samples(exposition: str) -> dict[str, set[str]]:
    """The labels of each sample's name."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def panels(path: Path) -> list[dict[str, object]]:
    return json.loads(path.read_text(encoding="utf-8"))["panels"]


def asked() -> Iterator[tuple[str, str]]:
    """Every expression, with where it stands."""
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:  # type: ignore[attr-defined]
                yield f"{path.name}: {panel['title']}, {target['refId']}", target["expr"]
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield f"alerts.yml: {rule['alert']}", rule["expr"]


EXPRESSIONS = dict(asked())


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_what_is_asked_for_is_there(where: str, samples: dict[str, set[str]]) -> None:
    expression = EXPRESSIONS[where]
    metrics = METRIC.findall(expression)
    assert metrics or where.startswith(("service.json: Up", "service.json: Alerts", "alerts.yml: PneumoniaDown"))
    for name, selector in metrics:
        assert name in samples
        assert set(LABEL.findall(selector)) <= samples[name] | ADDED
    labels = set().union(*(samples[name] for name, _ in metrics)) | ADDED
    for group in GROUPING.findall(expression):
        assert {label.strip() for label in group.split(",")} <= labels


def test_every_metric_is_looked_at(samples: dict[str, set[str]]) -> None:
    text = " ".join(EXPRESSIONS.values())
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in samples}
    assert not [family for family in families if family not in text]


def test_the_scraped_job_is_the_one_that_is_asked_about() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert {name for text in EXPRESSIONS.values() for name in re.findall(r'job="(\w+)"', text)} == {"pneumonia"} <= jobs


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_panels_lie_side_by_side_and_speak_to_the_provisioned_source(path: Path) -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    (uid,) = [each["uid"] for each in source["datasources"]]
    taken: set[tuple[int, int]] = set()
    for panel in panels(path):
        assert panel["datasource"]["uid"] == uid  # type: ignore[index]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {uid}  # type: ignore[attr-defined]
        place: dict[str, int] = panel["gridPos"]  # type: ignore[assignment]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels(path)}) == len(panels(path))


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool", path=os.pathsep.join([str(PROJECT / "artifacts/tools"), os.environ["PATH"]]))
    if found is None:
        pytest.skip("no promtool: `make promtool` fetches it")
    return found


def run(*words: object, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload]


def test_prometheus_reads_its_config_and_the_rules(promtool: str) -> None:
    done = run(promtool, "check", "config", PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_only_then(promtool: str) -> None:
    done = run(promtool, "test", "rules", PROMETHEUS / "alerts.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_firing_and_silent() -> None:
    rules = {where.partition(": ")[2] for where in EXPRESSIONS if where.startswith("alerts.yml")}
    tests = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == rules
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == rules


def test_a_rule_that_is_loosened_fails_its_test(promtool: str, tmp_path: Path) -> None:
    rules = (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")
    (tmp_path / "alerts.yml").write_text(rules.replace("> 0.01", "> 0.5"), encoding="utf-8")
    shutil.copy(PROMETHEUS / "alerts.test.yml", tmp_path)
    assert run(promtool, "test", "rules", tmp_path / "alerts.test.yml").returncode != 0


def test_every_expression_is_valid(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"checked:{number}", "expr": BUILT_IN.sub("5m", text)}
        for number, text in enumerate(EXPRESSIONS.values())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "checked", "rules": rules}]}), encoding="utf-8")
    done = run(promtool, "check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_finds_nothing_wrong_with_the_exposition(promtool: str, exposition: str) -> None:
    done = run(promtool, "check", "metrics", input=exposition)
    assert done.returncode == 0, done.stdout + done.stderr
