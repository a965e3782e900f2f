"""API and page in processes of their own, and a browser for them: what the page's benchmark and pictures run on."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.server_process import free_port, pneumonia_serve, serve

# No name but this machine's address is resolved: what needs another fails, as on a closed network.
BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_READY_SECONDS = 120.0


def find_browser() -> str | None:
    """Chromium's program, where there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def browser_path() -> str:
    """Chromium's program. Raises `SystemExit` where there is none."""
    found = find_browser()
    if found is None:
        raise SystemExit("There is no chromium on this machine: apt-get install chromium")
    return found


@contextlib.contextmanager
def demo(port: int, *words: object, log: Path, folder: Path | None = None, **variables: str) -> Iterator[str]:
    """`pneumonia demo` on a port, with its output in `log` and its temporary files in `folder`; yield its address."""
    command = [sys.executable, "-m", "pneumonia", "demo", "--port", str(port), *map(str, words)]
    environment = {**os.environ, **({} if folder is None else {"TMPDIR": str(folder)}), **variables}
    url = f"http://127.0.0.1:{port}/"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        wait_until_it_answers(url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextlib.contextmanager
def api_and_page(bundle: Path, log: Path, workers: int = 2) -> Iterator[str]:
    """Serve a bundle, and a page for it; yield the page's address."""
    with (
        serve(pneumonia_serve(bundle, "--workers", str(workers))) as running,
        demo(free_port(), "--url", f"http://127.0.0.1:{running.port}", log=log) as url,
    ):
        yield url


def wait_until_it_answers(url: str, seconds: float = _READY_SECONDS) -> None:
    """Wait for an address of this machine. Raises `RuntimeError` when nothing answers there in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (an address of this machine)
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers at {url}; its log says why")


def films(data: Path, count: int) -> Sequence[Path]:
    """Full-size films of the tree's val folder, of which the same may come again. Raises `SystemExit` without one."""
    found = sorted(path for path in (data / "val").rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    if not found:
        raise SystemExit(f"There are no films in {data / 'val'}")
    return [found[number % len(found)] for number in range(count)]
