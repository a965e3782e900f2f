"""deploy/sizing.py: what deployments ask for follows from what was measured."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.sizing import MAX_BYTES_IN_FLIGHT, MAX_PIXELS, MEASURED, as_patches, as_shell, measured, sizing

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def reports() -> list[dict[str, Any]]:
    return [json.loads((PROJECT / "docs" / f"{name}.json").read_text("utf-8")) for name in ("serving", "memory")]


def test_kubernetes_has_what_was_measured() -> None:
    assert {path.name: path.read_text("utf-8") for path in MEASURED.iterdir()} == as_patches(measured())


def test_memory_is_enough_for_all_that_can_come_together(reports: list[dict[str, Any]]) -> None:
    processes = reports[0]["load"]["memory"]["ours"]
    largest = max(film["peak_mib"] for film in reports[1]["decode"].values())
    workers = [each for each in processes if each["role"] == "worker"]
    together = (
        sum(each["pss"] for each in [*processes, *workers]) + largest * len(workers) + 2 * MAX_BYTES_IN_FLIGHT / 2**20
    )
    assert together <= measured().memory_mib < together + 128


def test_it_follows_the_measurement(reports: list[dict[str, Any]]) -> None:
    before, changed = sizing(*reports), copy.deepcopy(reports)
    load = changed[0]["load"]
    load["memory"]["ours"].append({"role": "worker", "rss": 200.0, "pss": 150.0})
    load["scenarios"]["full-size films, 40 clients"] = {"ours": {"p99_ms": 230.0}}
    load["cores"] = 4
    after = sizing(*changed)
    assert (after.cpu, after.workers, after.concurrency, after.latency_ms) == (4, 3, 40, 1200)
    assert after.memory_mib > before.memory_mib + 300


def test_smaller_films_than_are_admitted_are_no_measure(reports: list[dict[str, Any]]) -> None:
    reports[1]["pixels"] = MAX_PIXELS - 1
    with pytest.raises(ValueError, match=r"docs/memory\.json"):
        sizing(*reports)


def test_the_shell_gets_whole_numbers_and_nothing_else() -> None:
    printed = subprocess.run(
        [sys.executable, PROJECT / "deploy" / "sizing.py"], check=True, capture_output=True, text=True, cwd="/"
    )
    assert printed.stdout == as_shell(measured())
    assert all(re.fullmatch(r"SIZING_[A-Z_]+=\d+", line) for line in printed.stdout.splitlines())
