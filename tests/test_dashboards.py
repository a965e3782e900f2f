"""Dashboards and alert rules ask for metrics that a real server has, with labels that it gives them."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import yaml
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server_process import free_port, pneumonia_serve, serve
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


def ask(url: str, film: bytes) -> None:
    """Let a server answer for a film and for a file that is none."""
    for content, status in ((film, 200), (b"no film", 415)):
        assert httpx.post(f"{url}/predict", files={"file": content}, timeout=60).status_code == status


@pytest.fixture(scope="module")
def film(draw_film: Callable[..., Image.Image]) -> bytes:
    file = BytesIO()
    draw_film(0, "NORMAL").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def url(film: bytes) -> Iterator[str]:
    """A server that has been asked."""
    with serve(pneumonia_serve(REFERENCE, "--workers", "1")) as running:
        ask(f"http://127.0.0.1:{running.port}", film)
        yield f"http://127.0.0.1:{running.port}"


@pytest.fixture(scope="module")
def exposition(url: str) -> str:
    """Its `/metrics`."""
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


def tool(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([str(PROJECT / "artifacts/tools"), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"no {name}: `make promtool` fetches it")
    return found


@pytest.fixture(scope="module")
def promtool() -> str:
    return tool("promtool")


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


@pytest.fixture(scope="module")
def prometheus(url: str, film: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus with the project's config and rules, every second, that has seen some requests come in."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"].update(scrape_interval="1s", scrape_timeout="1s", evaluation_interval="1s")
    config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["pneumonia"]["static_configs"][0]["targets"] = [url.removeprefix("http://")]
    jobs["prometheus"]["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "data"}
    options |= {"web.listen-address": f"127.0.0.1:{port}", "log.level": "warn"}
    words = [tool("prometheus"), *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while not seen(f"http://127.0.0.1:{port}"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            ask(url, film)
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def seen(prometheus: str) -> bool:
    try:
        if httpx.get(f"{prometheus}/-/ready", timeout=60).status_code != 200:
            return False
        found = query(prometheus, 'min(count_over_time(pneumonia_requests_total{status="415"}[1m]))')
    except httpx.TransportError:
        return False
    return bool(found) and float(found[0]["value"][1]) >= 4  # type: ignore[index]


def query(prometheus: str, expression: str) -> list[dict[str, object]]:
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expression}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["result"]  # type: ignore[no-any-return]


@pytest.mark.slow
def test_every_panel_shows_something_of_a_server_that_is_asked(prometheus: str) -> None:
    shown = {where: text for where, text in EXPRESSIONS.items() if not where.startswith("alerts.yml")}
    empty = [
        where
        for where, text in shown.items()
        if not query(prometheus, text.replace("$__rate_interval", "1m").replace("$instance", ".+"))
    ]
    assert empty == []


@pytest.mark.slow
def test_no_alert_fires_for_a_server_that_is_well_and_each_is_looked_at(prometheus: str) -> None:
    groups = httpx.get(f"{prometheus}/api/v1/rules", timeout=60).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {
        where.partition(": ")[2] for where in EXPRESSIONS if where.startswith("alerts.yml")
    }
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
