"""A server in processes of its own: started on a free port, waited for, looked at, and ended."""

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PROJECT = Path(__file__).parents[1]
_READY = 120.0
_ENDED = 30.0
_POLL = 0.02
_MEBIBYTE = 2**20

# The arguments of a command that serves on a port.
Words = Callable[[int], Sequence[str]]


@dataclass(frozen=True)
class ProcessUse:
    """Of one process of a server: its `role`, CPU seconds so far, and MiB of memory.

    Pages that processes share count in full in `rss`, and in equal parts for each of them in `pss`. The private ones
    are what another process of the kind would take.
    """

    pid: int
    role: str
    cpu: float
    rss: float
    pss: float


@dataclass
class RunningServer:
    """A server that answers `/health` with 200; `ready` is how many seconds after its start that was."""

    process: "subprocess.Popen[bytes]"
    port: int
    ready: float
    log: Path

    def use(self) -> list[ProcessUse]:
        """What each of its processes takes."""
        leader = psutil.Process(self.process.pid)
        found = []
        for process in [leader, *leader.children(recursive=True)]:
            with contextlib.suppress(psutil.Error, OSError):  # one may end meanwhile
                found.append(_use(process, self.process.pid))
        return found

    def workers(self) -> list[int]:
        """The processes that run an engine, or the only one."""
        return [each.pid for each in self.use() if each.role == "worker"] or [self.process.pid]

    def cpu_by_role(self) -> dict[str, float]:
        """CPU seconds so far."""
        seconds: dict[str, float] = {}
        for each in self.use():
            seconds[each.role] = seconds.get(each.role, 0.0) + each.cpu
        return seconds


def pneumonia_serve(bundle: Path, *options: str) -> Words:
    """`pneumonia serve` with a bundle, and nothing else but what is given."""
    command = (sys.executable, "-m", "pneumonia", "serve", "--bundle", str(bundle.resolve()), *options)
    return lambda port: [*command, "--port", str(port)]


@contextlib.contextmanager
def serve(words: Words, seconds: float = _READY) -> Iterator[RunningServer]:
    """Start it and wait until it is ready; in the end it gets SIGTERM, and SIGKILL if it does not go.

    Raises `RuntimeError` with what it printed when it does not become ready.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        began = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(list(words(port)), cwd=PROJECT, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until_ready(process, f"http://127.0.0.1:{port}", seconds, log)
            yield RunningServer(process, port, time.perf_counter() - began, log)
        finally:
            _end(process)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str, seconds: float, log: Path) -> None:
    """Return when `/health` says so. Raises `RuntimeError` with the end of the log when it does not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310 (a server that we started)
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(_POLL)
    raise RuntimeError(f"The server did not become ready:\n{log.read_text(errors='replace')[-3000:]}")


def processor_time(process: psutil.Process) -> float:
    """Of user and system so far, seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=_ENDED)
    except subprocess.TimeoutExpired:
        for child in family:
            with contextlib.suppress(psutil.Error):
                child.kill()
        process.kill()
        process.wait()


def _use(process: psutil.Process, leader: int) -> ProcessUse:
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
    kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
    return ProcessUse(
        process.pid,
        _role(process, leader),
        processor_time(process),
        kibibytes["Rss"] * 1024 / _MEBIBYTE,
        kibibytes["Pss"] * 1024 / _MEBIBYTE,
    )


def _role(process: psutil.Process, leader: int) -> str:
    """What a process does: multiprocessing starts workers anew, and forks those that speak HTTP."""
    if process.pid == leader:
        return "leader"
    words = " ".join(process.cmdline())
    if "spawn_main" in words:
        return "worker"
    return "tracker" if "resource_tracker" in words else "http"
