"""`pneumonia demo` as a process: how it starts, what it leaves behind, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pneumonia import DISCLAIMER

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def page(tmp_path: Path, free_port: int) -> Iterator["subprocess.Popen[str]"]:
    """A page that has said its address, with `tmp_path` for its files and a proxy that nothing can pass."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "pneumonia", "demo", "--port", str(free_port), "--url", "http://me:secret@127.0.0.1:9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_page_says_its_address_answers_and_ends_cleanly(
    page: "subprocess.Popen[str]", free_port: int, tmp_path: Path, number: signal.Signals
) -> None:
    assert page.stdout is not None
    line = page.stdout.readline()
    assert f"http://127.0.0.1:{free_port}" in line
    assert "http://127.0.0.1:9." in line
    assert DISCLAIMER in line
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/", timeout=10) as answer:
        assert answer.status == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert any(tmp_path.iterdir())
    page.send_signal(number)
    rest, errors = page.communicate(timeout=30)
    assert page.returncode == 0
    assert rest == errors == ""
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_port_in_use_is_said_to_be(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = command("demo", "--port", port)
    assert result.returncode == 1
    assert str(port) in result.stderr
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--url", "localhost"), ("--url", "file:///film"), ("--port", "0"), ("--other", "new"), ("--language", "xx")],
)
def test_an_option_that_cannot_be_is_refused(command: Command, arguments: tuple[str, str]) -> None:
    result = command("demo", *arguments)
    assert result.returncode == 2
    assert arguments[1] in result.stderr


def test_help_does_not_wait_for_gradio() -> None:
    program = "import sys, pneumonia.demo.command; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


@pytest.mark.slow
def test_the_page_holds_neither_model_nor_bundle() -> None:
    program = (
        "import sys, pneumonia.demo.page\n"
        "unwanted = {'onnxruntime', 'torch', 'pneumonia.bundle', 'pneumonia.inference.engine', 'litserve'}\n"
        "sys.exit(sorted(unwanted & set(sys.modules)) or 0)"
    )
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    result = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, env=environment)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_a_key_that_cannot_be_sent_is_said_to_be(command: Command, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("two words")
    result = command("demo", "--api-key-file", tmp_path / "key")
    assert result.returncode == 1
    assert "key" in result.stderr
    assert "two words" not in result.stderr


@pytest.mark.slow
def test_a_folder_of_examples_without_films_is_said_to_be(command: Command, tmp_path: Path) -> None:
    result = command("demo", "--examples", tmp_path)
    assert result.returncode == 1
    assert "no film" in result.stderr
