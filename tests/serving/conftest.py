"""Servers that a test starts, signals and reads the log of; and the films that it sends them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.server_process import free_port, wait_until_ready

READY = 60.0
ENDED = 60.0


@dataclass
class Running:
    """A server of the test's own, the leader of its process group."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    @property
    def text(self) -> str:
        """What it printed so far, on both streams."""
        return self.log.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """Its processes."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """Those with an engine."""
        return self._children("spawn_main")

    def http_processes(self) -> list[psutil.Process]:
        """Those that speak HTTP: forked, so that they are called as their parent."""
        return self._children("pneumonia serve")

    def _children(self, words: str) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                found += [process] if words in " ".join(process.cmdline()) else []
        return found

    def metric(self, sample: str, **options: Any) -> float:
        """The value of `name{label="value"}`; 0 where it is not there yet."""
        lines = httpx.get(f"{self.url}/metrics", timeout=30, **options).text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), 0.0)

    def eventually(self, holds: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until it holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"in vain:\n{self.text}"
            time.sleep(0.05)

    def wait_until_ready(self) -> None:
        """Return when it is."""
        wait_until_ready(self.process, self.url, READY, self.log)

    def end(self, number: int = signal.SIGTERM, group: bool = False) -> tuple[int, list[psutil.Process]]:
        """Its exit code after a signal to it, or to all of its group, and which of its processes outlived it."""
        family = self.family()
        (os.killpg if group else os.kill)(self.process.pid, number)
        code = self.process.wait(timeout=ENDED)
        return code, psutil.wait_procs(family, timeout=5)[1]


@pytest.fixture(scope="session")
def starter(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Start `pneumonia serve` with more options; on the bundle, unless `bundle=False`. All are killed in the end."""
    started: list[Running] = []

    def start(*options: object, bundle: bool = True, ready: bool = True, **process: object) -> Running:
        port = free_port()
        chosen = ["--bundle", str(bundle_dir)] if bundle else []
        words = ["serve", *chosen, "--port", str(port), "--workers", "2", *map(str, options)]
        log = tmp_path_factory.mktemp("serving") / "log"
        with log.open("wb") as output:
            process_options = {"stdout": output, "stderr": subprocess.STDOUT, "start_new_session": True, **process}
            popen = subprocess.Popen([sys.executable, "-m", "pneumonia", *words], **process_options)  # type: ignore[call-overload]
        server = Running(popen, f"http://127.0.0.1:{port}", log)
        started.append(server)
        if ready:
            server.wait_until_ready()
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.terminate()
    for server in started:
        try:
            server.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()


@pytest.fixture(scope="session")
def talkative(starter: Callable[..., Running]) -> Running:
    """A server with two workers and low limits that logs whatever it would ever log."""
    return starter("--max-bytes", 100_000, "--max-pixels", 250_000, "--log-level", "debug")


@pytest.fixture(scope="session")
def film(tree: Path) -> bytes:
    """The bytes of one film."""
    return (tree / "val" / "PNEUMONIA" / "person60_bacteria_60.jpeg").read_bytes()
