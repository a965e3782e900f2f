"""How a server starts, or says why not, and how it ends: at once, without a trace, and with all of its processes."""

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pneumonia.bundle import GRAPH, MANIFEST, REFERENCE, graph_version, load_bundle, write_bundle

if TYPE_CHECKING:
    from tests.serving.conftest import Running

    Start = Callable[..., Running]
    Command = Callable[..., Any]


def assert_quiet(server: "Running") -> None:
    assert "Traceback" not in server.text
    assert "ERROR" not in server.text


def test_sigterm_ends_an_idle_server_and_leaves_nothing_behind(starter: "Start", tmp_path: Path) -> None:
    server = starter(env={**os.environ, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir())  # where its processes share their metrics
    code, left = server.end(signal.SIGTERM)
    assert (code, left, list(tmp_path.iterdir())) == (0, [], [])
    assert_quiet(server)


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_reaches_every_process_and_none_leaves_a_trace(starter: "Start") -> None:
    server = starter()
    assert server.end(signal.SIGINT, group=True) == (0, [])
    assert_quiet(server)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "group"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_either_signal_ends_it_whether_one_process_gets_it_or_all(starter: "Start", number: int, group: bool) -> None:
    server = starter()
    assert server.end(number, group) == (0, [])
    assert_quiet(server)


@pytest.mark.slow
def test_a_second_signal_does_not_disturb_the_first(starter: "Start") -> None:
    server = starter()
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    assert server.end(signal.SIGTERM) == (0, [])
    assert_quiet(server)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_under_load_it_answers_what_it_has_taken_and_ends(starter: "Start", film: bytes, number: int) -> None:
    server, answers, ended = starter(), Counter[str](), threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not ended.is_set():
                try:
                    answers[str(client.post(f"{server.url}/predict", files={"file": film}).status_code)] += 1
                except httpx.TransportError as error:
                    answers[type(error).__name__] += 1
                    return

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    while answers["200"] < 50:
        time.sleep(0.05)
    result = server.end(number)
    ended.set()
    for client in clients:
        client.join()
    assert result == (0, [])
    assert_quiet(server)
    assert set(answers) <= {"200", "ConnectError", "ReadError", "RemoteProtocolError", "WriteError"}


# Not all sixteen, but each pair: every count of processes with either signal, either signal to one process and to all.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "number", "group"),
    [
        (1, signal.SIGTERM, True),
        (1, signal.SIGINT, False),
        (2, signal.SIGTERM, False),
        (2, signal.SIGINT, True),
        (4, signal.SIGTERM, True),
        (4, signal.SIGINT, False),
        (6, signal.SIGTERM, False),
        (6, signal.SIGINT, True),
    ],
)
def test_a_signal_while_it_starts_ends_it_too(starter: "Start", processes: int, number: int, group: bool) -> None:
    server = starter("--workers", 2, ready=False)
    while "http://" not in server.text or len(server.family()) < processes:
        time.sleep(0.01)
    assert server.end(number, group) == (0, [])
    assert_quiet(server)


def test_a_port_that_is_taken_is_told_in_one_line(command: "Command", bundle_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_fails(command("serve", "--bundle", bundle_dir, "--port", port), str(port), "Address already in use")


def test_a_bundle_that_is_not_there_is_told_in_one_line(command: "Command", free_port: int) -> None:
    assert_fails(command("serve", "--bundle", "nowhere", "--port", free_port), "nowhere", "pneumonia export")


def test_a_bundle_that_was_changed_is_told_in_one_line(command: "Command", copied: Path, free_port: int) -> None:
    with (copied / GRAPH).open("ab") as graph:
        graph.write(b"x")
    assert_fails(command("serve", "--bundle", copied, "--port", free_port), GRAPH, "SHA-256")


def test_a_graph_that_never_was_one_is_told_in_one_line(command: "Command", copied: Path, free_port: int) -> None:
    bundle = load_bundle(copied)
    bundle = load_bundle(copied)
    bundle.graph.write_bytes(b"garbage")
    write_bundle(bundle)
    assert_fails(command("serve", "--bundle", copied, "--port", free_port), GRAPH, "ONNX Runtime can't load")


def test_an_alias_that_is_not_there_is_told_in_one_line(command: "Command", tmp_path: Path, free_port: int) -> None:
    result = command("serve", "--registry", "best", "--port", free_port, cwd=tmp_path)
    assert_fails(result, "'best'", "empty")


@pytest.fixture
def copied(bundle_dir: Path, tmp_path: Path) -> Path:
    """A copy of the bundle to spoil."""
    return Path(shutil.copytree(bundle_dir, tmp_path / "bundle"))


def assert_fails(result: Any, *words: str) -> None:
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("pneumonia: error: ")
    assert all(word in line for word in words)
    assert "http://" not in result.stdout


@pytest.fixture
def registry(command: "Command", bundle_dir: Path, copied: Path, tmp_path: Path) -> dict[str, Any]:
    """The versions behind the aliases of a registry in the test's folder: `best` is not the newest."""
    bundle = load_bundle(copied)
    point = replace(bundle.operating_point, threshold=0.123)
    other = replace(bundle, operating_point=point, version=graph_version(bundle.graph, point))
    write_bundle(other)
    assert command("registry", "push", bundle_dir, "--promote", "--min-specificity", 0, cwd=tmp_path).returncode == 0
    assert command("registry", "push", copied, cwd=tmp_path).returncode == 0
    return {"best": load_bundle(bundle_dir).version, "candidate": other.version}


@pytest.mark.slow
@pytest.mark.parametrize(("options", "alias"), [([], "best"), (["--registry", "candidate"], "candidate")])
def test_it_serves_what_the_registry_calls_best_or_what_it_is_told(
    starter: "Start", registry: dict[str, Any], tmp_path: Path, options: list[str], alias: str
) -> None:
    server = starter(*options, bundle=False, cwd=tmp_path)
    info = httpx.get(f"{server.url}/model/info").json()
    assert (info["version"], info["alias"]) == (registry[alias], alias)
    assert server.end() == (0, [])


@pytest.mark.slow
@pytest.mark.skipif(not (REFERENCE / MANIFEST).exists(), reason="the package has no reference bundle")
def test_without_a_registry_it_serves_the_reference_bundle(starter: "Start", tmp_path: Path) -> None:
    server = starter(bundle=False, cwd=tmp_path)
    info = httpx.get(f"{server.url}/model/info").json()
    assert (info["version"], info["alias"]) == (json.loads((REFERENCE / MANIFEST).read_text())["version"], None)
    assert server.end() == (0, [])
