"""Locust's users (`tests/load/locustfile.py`) against a server, without Locust's page: a report, and an exit code.

Without `--host` it starts a server of its own. Another host than this machine has to be meant: `--beyond-loopback`.

    python -m benchmarks.load --users 20 --seconds 30
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.server_process import PROJECT, pneumonia_serve, serve
from pneumonia.bundle import REFERENCE

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_MOST_USERS, _MOST_SECONDS = 200, 3600


def main() -> None:
    """Run, and exit 1 when a request failed or none was answered."""
    options = _parse()
    options.output.mkdir(parents=True, exist_ok=True)
    with _host(options) as host:
        code = subprocess.run(
            _words(host, options), cwd=PROJECT, env=_environment(options.data), check=False
        ).returncode
    # Of the CSV files the last seconds may be missing.
    stats = json.loads((options.output / "locust.json").read_text(encoding="utf-8"))
    requests, failures = (sum(row[key] for row in stats) for key in ("num_requests", "num_failures"))
    print(f"{requests} requests, {failures} failures: {options.output / 'report.html'}")
    if code or failures or not requests:
        sys.exit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=REFERENCE)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"), help="phantoms are made where it is not")
    parser.add_argument("--host", help="URL of a server that runs already")
    parser.add_argument("--beyond-loopback", action="store_true", help="the host may be another machine")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("artifacts/load"), help="folder of the reports")
    options = parser.parse_args()
    if not (1 <= options.users <= _MOST_USERS and 1 <= options.seconds <= _MOST_SECONDS):
        parser.error(f"at most {_MOST_USERS} users and {_MOST_SECONDS} seconds")
    if options.host and urlsplit(options.host).hostname not in _LOOPBACK and not options.beyond_loopback:
        parser.error(f"{options.host} is not on this machine; --beyond-loopback says that it is meant")
    return options


@contextlib.contextmanager
def _host(options: argparse.Namespace) -> Iterator[str]:
    if options.host:
        yield options.host
        return
    with serve(pneumonia_serve(options.bundle)) as server:
        yield f"http://127.0.0.1:{server.port}"


def _words(host: str, options: argparse.Namespace) -> list[str]:
    output = options.output.resolve()
    return [
        *(sys.executable, "-m", "locust", "--locustfile", "tests/load/locustfile.py", "--headless", "--host", host),
        *("--users", str(options.users), "--spawn-rate", str(options.users), "--run-time", f"{options.seconds}s"),
        *("--html", str(output / "report.html"), "--csv", str(output / "locust"), "--only-summary"),
        *("--json-file", str(output / "locust")),
        *("--stop-timeout", "30", "--exit-code-on-error", "1"),
    ]


def _environment(data: Path) -> dict[str, str]:
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PNEUMONIA_LOAD_DATA": str(data.resolve()), "PYTHONPATH": path}


if __name__ == "__main__":
    main()
