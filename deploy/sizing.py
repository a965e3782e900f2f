"""What an instance of the server and of the page needs, from docs/serving.json and docs/memory.json.

python deploy/sizing.py              # as shell variables, which deploy/gcp reads
python deploy/sizing.py --write      # into deploy/kubernetes/base/measured
"""

import argparse
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
MEASURED = PROJECT / "deploy" / "kubernetes" / "base" / "measured"

# What a deployment admits, below the server's defaults: Cloud Run takes no larger request over HTTP/1, and the largest
# film is what memory is for. Each worker decodes one at a time.
MAX_BYTES = 32 * 2**20
MAX_PIXELS = 32_000_000
MAX_BYTES_IN_FLIGHT = 128 * 2**20

# Requests are held twice: where they arrive, and in the queue (docs/http.md, Limits).
_COPIES_IN_FLIGHT = 2
_MEBIBYTE = 2**20
_STEP_OF_MEMORY = 128
# The page holds films of its visitors besides: as much again as it takes by itself.
_PAGE = 2
# What an objective allows a request, in p99s on the machine of the measurement: a cloud's cores share their machine.
_LATENCY = 5
_STEP_OF_LATENCY = 100
# As often as the server was ready within, until a start is given up.
_START = 30
_SCENARIO = re.compile(r"full-size films, (\d+) clients")

_PATCH = """\
# Made by `python deploy/sizing.py --write` from docs/serving.json and docs/memory.json: change those, or the program.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  template:
    spec:
      containers:
        - name: {name}
          resources:
            requests:
              cpu: "{cpu}"
              memory: {memory}Mi
            limits:
              memory: {memory}Mi
"""
_ENVIRONMENT = """\
          env:
            - name: PNEUMONIA_WORKERS
              value: "{workers}"
            - name: PNEUMONIA_MAX_BYTES
              value: "{max_bytes}"
            - name: PNEUMONIA_MAX_PIXELS
              value: "{max_pixels}"
            - name: PNEUMONIA_MAX_BYTES_IN_FLIGHT
              value: "{max_bytes_in_flight}"
          startupProbe:
            failureThreshold: {start_seconds}
"""


@dataclass(frozen=True)
class Sizing:
    """Of one instance. `concurrency` is how many requests at a time it was measured with; the latency is theirs."""

    cpu: int
    workers: int
    memory_mib: int
    concurrency: int
    latency_ms: int
    start_seconds: int
    page_memory_mib: int
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    max_bytes_in_flight: int = MAX_BYTES_IN_FLIGHT


def sizing(serving: dict[str, Any], memory: dict[str, Any]) -> Sizing:
    """What the two reports come to. Raises `ValueError` where films were measured that are smaller than is admitted.

    Memory is for: the processes as they were; new workers beside the old ones, while a bundle is changed; the largest
    film in each worker; and uploads. Proportional shares count, as a container is charged for a shared page once.
    """
    load, decode = serving["load"], memory["decode"]
    if memory["pixels"] < MAX_PIXELS:
        raise ValueError(f"docs/memory.json is of {memory['pixels']} pixels: measure {MAX_PIXELS}, which are admitted")
    processes = load["memory"]["ours"]
    workers = [each for each in processes if each["role"] == "worker"]
    largest = max(film["peak_mib"] for film in decode.values())
    mebibytes = (
        sum(each["pss"] for each in processes)
        + sum(each["pss"] for each in workers)
        + len(workers) * largest
        + _COPIES_IN_FLIGHT * MAX_BYTES_IN_FLIGHT / _MEBIBYTE
    )
    clients, ours = max(
        (int(found[1]), scenario["ours"])
        for name, scenario in load["scenarios"].items()
        if (found := _SCENARIO.fullmatch(name))
    )
    return Sizing(
        cpu=load["cores"],
        workers=len(workers),
        memory_mib=_up(mebibytes, _STEP_OF_MEMORY),
        concurrency=clients,
        latency_ms=_up(_LATENCY * ours["p99_ms"], _STEP_OF_LATENCY),
        start_seconds=math.ceil(_START * load["ready_seconds"]["ours"]),
        page_memory_mib=_up(_PAGE * memory["page_mib"], _STEP_OF_MEMORY),
    )


def as_shell(values: Sizing) -> str:
    """Assignments that a shell can evaluate: every value is a whole number."""
    return "".join(f"SIZING_{name.upper()}={value:d}\n" for name, value in vars(values).items())


def as_patches(values: Sizing) -> dict[str, str]:
    """The files of deploy/kubernetes/base/measured."""
    api = _PATCH.format(name="api", cpu=values.cpu, memory=values.memory_mib) + _ENVIRONMENT.format(**vars(values))
    return {"api.yaml": api, "page.yaml": _PATCH.format(name="page", cpu="0.5", memory=values.page_memory_mib)}


def measured() -> Sizing:
    """What the reports in docs come to."""
    reports = [json.loads((PROJECT / "docs" / f"{name}.json").read_text("utf-8")) for name in ("serving", "memory")]
    return sizing(*reports)


def main() -> None:
    """Print or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="the files of deploy/kubernetes/base/measured")
    if parser.parse_args().write:
        for name, content in as_patches(measured()).items():
            (MEASURED / name).write_text(content, encoding="utf-8")
    else:
        print(as_shell(measured()), end="")


def _up(value: float, step: int) -> int:
    return math.ceil(value / step) * step


if __name__ == "__main__":
    main()
