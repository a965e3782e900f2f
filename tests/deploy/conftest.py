"""The scripts of deploy/gcp in a place where they can change nothing, and the real gcloud to ask what it thinks."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
GCP = PROJECT / "deploy" / "gcp"
HERE = Path(__file__).parent


@dataclass
class Cloud:
    """Commands that are recorded in place of being run, settings, and what is rendered."""

    folder: Path

    def settings(self, **changed: str) -> Path:
        """The example's, changed."""
        lines = (GCP / "settings.example.env").read_text(encoding="utf-8").splitlines()
        for name, value in changed.items():
            (number,) = [number for number, line in enumerate(lines) if line.startswith(f"{name}=")]
            lines[number] = f"{name}={value}"
        path = self.folder / "settings.env"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def run(self, script: str, *words: str, **changed: str) -> "subprocess.CompletedProcess[str]":
        """A script with the settings so changed."""
        return self.command(["bash", str(GCP / script), "--settings", str(self.settings(**changed)), *words])

    def command(self, words: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
        known = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "PYTHON": sys.executable}
        variables = {**os.environ, **known, "RECORDER": str(self.folder), "RENDERED": str(self.rendered), **environment}
        return subprocess.run(words, capture_output=True, text=True, env=variables, cwd=self.folder, check=False)

    @property
    def rendered(self) -> Path:
        return self.folder / "rendered"

    def calls(self) -> list[list[str]]:
        """What was called since this was asked last."""
        path = self.folder / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]


@pytest.fixture
def linux() -> None:
    if sys.platform != "linux":
        pytest.skip("the scripts need bash 4.4 or newer, and the tools of Linux")


@pytest.fixture
def cloud(linux: None, tmp_path: Path) -> Cloud:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("gcloud", "curl", "make", "sudo"):
        path = folder / name
        path.write_text(
            f"#!{sys.executable} -IS\n" + (HERE / "recorder.py").read_text(encoding="utf-8"), encoding="utf-8"
        )
        path.chmod(0o755)
    return Cloud(tmp_path)


def shown(printed: str) -> list[list[str]]:
    """The commands that a dry run prints."""
    return [shlex.split(line) for line in printed.splitlines() if line and not line.startswith("#")]


Check = Callable[[Iterable[list[str]], Iterable[tuple[str, str, str, Any]]], list[str]]


@pytest.fixture(scope="session")
def google() -> Check:
    """What the real gcloud finds wrong with commands, and with files that are to be messages of its API.

    Commands of curl are held against what gcloud's own client of the monitoring API can ask.
    """
    if not shutil.which("gcloud"):
        pytest.skip("the Google Cloud SDK is not installed")
    asked = subprocess.run(
        ["gcloud", "info", "--format=value(basic.python_location,installation.sdk_root)"],
        capture_output=True,
        text=True,
        check=True,
    )
    python, sdk = asked.stdout.split()

    def check(commands: Iterable[list[str]], messages: Iterable[tuple[str, str, str, Any]] = ()) -> list[str]:
        commands = list(commands)
        words = [command[1:] for command in commands if command[0] == "gcloud"]
        requests = [
            (
                "monitoring",
                "v3",
                command[command.index("--request") + 1],
                next(word for word in command if "://" in word),
            )
            for command in commands
            if command[0] == "curl"
        ]
        checked = subprocess.run(
            [python, str(HERE / "google_checks.py"), sdk],
            input=json.dumps({"commands": words, "messages": list(messages), "requests": requests}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr
        wrong: list[str] = json.loads(checked.stdout)
        return wrong

    return check
