"""Another bundle takes over without a failed request, and one that can't be served changes nothing."""

import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from pneumonia.bundle import GRAPH, Bundle, graph_version, load_bundle, write_bundle
from pneumonia.registry.local import LocalRegistry
from pneumonia.registry.resolve import DEFAULT_REGISTRY
from pneumonia.serving.keys import new_key
from pneumonia.serving.schema import ErrorBody, ReloadBody

if TYPE_CHECKING:
    from tests.serving.conftest import Running


@pytest.fixture(scope="module")
def folder(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server is told to serve; tests put other bundles there."""
    return Path(shutil.copytree(bundle_dir, tmp_path_factory.mktemp("swap") / "bundle"))


@pytest.fixture(scope="module")
def key(folder: Path) -> dict[str, str]:
    return {"X-API-Key": new_key(folder.parent / "keys", "operator")}


@pytest.fixture(scope="module")
def swapped(starter: "Callable[..., Running]", folder: Path, key: dict[str, str]) -> "Running":
    return starter("--bundle", folder, "--api-keys", folder.parent / "keys", bundle=False)


@pytest.fixture(autouse=True)
def settled(request: pytest.FixtureRequest) -> None:
    """The workers of the test before have ended."""
    if "swapped" in request.fixturenames:
        server: Running = request.getfixturevalue("swapped")
        server.eventually(lambda: len(server.workers()) == 2)


def put_another(folder: Path) -> Bundle:
    """Write the bundle anew with another threshold, and so another version."""
    bundle = load_bundle(folder)
    point = replace(bundle.operating_point, threshold=round(0.1 + (bundle.operating_point.threshold + 0.07) % 0.8, 3))
    other = replace(bundle, operating_point=point, version=graph_version(bundle.graph, point))
    assert other.version != bundle.version
    write_bundle(other)
    return other


def info(server: "Running", key: dict[str, str]) -> dict[str, object]:
    answer: dict[str, object] = httpx.get(f"{server.url}/model/info", headers=key).json()
    return answer


def reload(server: "Running", key: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{server.url}/admin/reload", headers=key, timeout=60)


def test_under_load_no_request_fails_while_the_bundle_changes(
    swapped: "Running", folder: Path, key: dict[str, str], film: bytes
) -> None:
    before, ended, answers = load_bundle(folder), threading.Event(), Counter[tuple[int, str]]()
    old_workers = swapped.workers()

    def ask() -> None:
        with httpx.Client(timeout=60, headers=key) as client:
            while not ended.is_set():
                response = client.post(f"{swapped.url}/predict", files={"file": film})
                answers[response.status_code, response.json().get("model", "")] += 1

    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(ask) for _ in range(6)]
        try:
            swapped.eventually(lambda: answers[200, before.label] > 50)
            after = put_another(folder)
            swapped.process.send_signal(signal.SIGHUP)
            swapped.eventually(lambda: answers[200, after.label] > 50)
            swapped.eventually(lambda: f"Now serving {after.label}" in swapped.text)
        finally:
            ended.set()
    assert [client.result() for client in clients] == [None] * 6
    assert set(answers) == {(200, before.label), (200, after.label)}
    for _ in range(8):
        response = httpx.post(f"{swapped.url}/predict", files={"file": film}, headers=key, timeout=60)
        assert (response.json()["model"], response.json()["threshold"]) == (
            after.label,
            after.operating_point.threshold,
        )
        assert info(swapped, key)["version"] == after.version
    sample = f'pneumonia_bundle_info{{name="{after.name}",version="{after.version}"}}'
    assert swapped.metric(sample, headers=key) == 1
    assert psutil.wait_procs(old_workers, timeout=30)[1] == []
    assert len(swapped.workers()) == 2


def test_an_operator_with_a_key_is_told_of_both_versions(swapped: "Running", folder: Path, key: dict[str, str]) -> None:
    before, after = load_bundle(folder), put_another(folder)
    assert httpx.post(f"{swapped.url}/admin/reload").status_code == 401
    assert info(swapped, key)["version"] == before.version
    response = reload(swapped, key)
    assert response.status_code == 200
    body = ReloadBody.model_validate(response.json(), strict=True)
    assert (body.old, body.new) == (before.label, after.label)
    assert {info(swapped, key)["version"] for _ in range(8)} == {after.version}


def test_of_two_changes_at_once_the_second_is_refused(swapped: "Running", folder: Path, key: dict[str, str]) -> None:
    put_another(folder)
    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(lambda _: reload(swapped, key), range(2)), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [200, 409]
    assert ErrorBody.model_validate(answers[1].json()).error.code == "reload_under_way"


def test_a_damaged_bundle_is_refused_and_the_old_one_goes_on(
    swapped: "Running", folder: Path, key: dict[str, str], film: bytes
) -> None:
    before, workers = load_bundle(folder), {worker.pid for worker in swapped.workers()}
    whole = (folder / GRAPH).read_bytes()
    (folder / GRAPH).write_bytes(whole + b"x")
    try:
        response = reload(swapped, key)
        assert response.status_code == 422
        error = ErrorBody.model_validate(response.json()).error
        assert error.code == "bundle_refused"
        assert str(folder) not in response.text
        assert response.json()["request_id"] == response.headers["x-request-id"]
        swapped.process.send_signal(signal.SIGHUP)
        swapped.eventually(lambda: swapped.text.count("The bundle was not changed") == 2)
        assert "SHA-256" in swapped.text
        assert info(swapped, key)["version"] == before.version
        swapped.workers()[0].kill()  # its replacement loads what was verified, not what lies there now
        swapped.eventually(lambda: len({worker.pid for worker in swapped.workers()} - workers) == 1)
        swapped.eventually(lambda: swapped.metric("pneumonia_workers_ready", headers=key) == 2)
        answers = [httpx.post(f"{swapped.url}/predict", files={"file": film}, headers=key) for _ in range(8)]
        assert {answer.json()["model"] for answer in answers} == {before.label}
    finally:
        (folder / GRAPH).write_bytes(whole)


def test_workers_of_the_new_bundle_that_end_before_they_are_ready_change_nothing(
    swapped: "Running", folder: Path, key: dict[str, str]
) -> None:
    before, old = load_bundle(folder), {worker.pid for worker in swapped.workers()}
    put_another(folder)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(reload, swapped, key)
        swapped.eventually(lambda: {worker.pid for worker in swapped.workers()} - old)
        for worker in swapped.workers():
            if worker.pid not in old:
                worker.kill()
        assert answer.result().status_code == 422
    assert info(swapped, key)["version"] == before.version
    assert reload(swapped, key).status_code == 200


def test_without_keys_nobody_can_ask_for_it(server: str) -> None:
    assert httpx.post(f"{server}/admin/reload").status_code == 404
    assert "/admin/reload" not in httpx.get(f"{server}/openapi.json").json()["paths"]


def test_an_alias_that_moves_is_followed(starter: "Callable[..., Running]", bundle_dir: Path, tmp_path: Path) -> None:
    registry = LocalRegistry(tmp_path / DEFAULT_REGISTRY)
    old = registry.push(bundle_dir, ["ward"])
    server = starter("--registry", "ward", bundle=False, cwd=tmp_path)
    copy = Path(shutil.copytree(bundle_dir, tmp_path / "copy"))
    put_another(copy)
    new = registry.push(copy, ["ward"])
    assert (info(server, {})["version"], info(server, {})["alias"]) == (old.bundle_version, "ward")
    server.process.send_signal(signal.SIGHUP)
    server.eventually(lambda: "Now serving" in server.text)
    assert (info(server, {})["version"], info(server, {})["alias"]) == (new.bundle_version, "ward")
    assert server.end() == (0, [])
