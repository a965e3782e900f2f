"""API and page in processes of their own, and a browser for them: what the page's benchmark and pictures run on."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.error
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


def browser_path() -> str:
    """Chromium's. Raises `SystemExit` where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise SystemExit("There is no chromium on this machine: apt-get install chromium")
    return found


@contextlib.contextmanager
def api_and_page(bundle: Path, log: Path, *options: str, workers: int = 2) -> Iterator[str]:
    """Serve a bundle, and a page for it; yield the page's address."""
    with serve(pneumonia_serve(bundle, "--workers", str(workers))) as running:
        port = free_port()
        words = [sys.executable, "-m", "pneumonia", "demo", "--url", f"http://127.0.0.1:{running.port}"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*words, "--port", str(port), *options], stdout=output, stderr=output, env={**os.environ}
            )
        try:
            _wait(f"http://127.0.0.1:{port}/", process)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait(timeout=60)


def films(data: Path, count: int) -> Sequence[Path]:
    """Full-size films of the tree's val folder, of which the same may come again. Raises `SystemExit` without one."""
    found = sorted(path for path in (data / "val").rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    if not found:
        raise SystemExit(f"There are no films in {data / 'val'}")
    return [found[number % len(found)] for number in range(count)]


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (an address of this machine)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise SystemExit("The page did not start; see its log.")
