"""How fast `pneumonia serve` answers, compared with the plain service and with the bundle alone.

Three things are measured in turn, several rounds of each, on the same films and the same cores as the clients:

- plain: `benchmarks.plain_service`, the way most people write it;
- ours: `pneumonia serve` with its default workers;
- ceiling: the same bundle called in this process on one thread a core, from bytes to prediction, without HTTP.

    python -m benchmarks.serving --data data/chest_xray
    python -m benchmarks.serving --data data/chest_xray --profile    # where the time of a request goes

Exits 1 when a request fails. The result is written into `docs/serving.json`; `make documents` puts it into
`docs/serving.md`.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.ceiling import Ceiling
from benchmarks.load_generator import Load, multipart, run_load
from benchmarks.server_process import PROJECT, RunningServer, pneumonia_serve, serve
from benchmarks.serving_films import full_size_films, small_films
from benchmarks.serving_profile import profile
from benchmarks.serving_table import load_table, profile_table
from pneumonia.bundle import REFERENCE, load_bundle
from pneumonia.files import write_json

RESULT = PROJECT / "docs" / "serving.json"
CLIENTS = 20


@dataclass(frozen=True)
class Scenario:
    """So many clients that ask about these films."""

    name: str
    films: Sequence[bytes]
    clients: int


def plain_words(port: int) -> list[str]:
    """The command of the plain service."""
    return [sys.executable, "-m", "benchmarks.plain_service", "--port", str(port)]


def measure(bundle: Path, scenarios: Sequence[Scenario], rounds: int, seconds: float) -> dict[str, Any]:
    """Everything but the profile, as `docs/serving.json` holds it."""
    cores, others = len(os.sched_getaffinity(0)), busy_cores()
    ceiling = Ceiling(bundle, threads=cores, batch=CLIENTS // cores)
    with serve(plain_words) as plain, serve(pneumonia_serve(bundle)) as ours:
        servers = {"plain": plain, "ours": ours}
        warm_up = [_loads(servers, scenario, min(seconds, 2.0)) for scenario in scenarios]
        rows = [[_round(servers, ceiling, scenario, seconds) for scenario in scenarios] for _ in range(rounds)]
        memory = {name: _memory(server) for name, server in servers.items()}
        ready = {name: server.ready for name, server in servers.items()}
    loads = [load for row in rows for each in row for load in each["loads"].values()]
    failures = [load for load in loads + [load for each in warm_up for load in each.values()] if load.failed]
    return {
        "bundle": load_bundle(bundle).label,
        "cores": cores,
        "others": others,
        "rounds": rounds,
        "seconds": seconds,
        "scenarios": {
            scenario.name: _summary([row[index] for row in rows]) for index, scenario in enumerate(scenarios)
        },
        "memory": memory,
        "ready_seconds": ready,
        "clients_ms_per_request": 1000 * sum(load.cpu for load in loads) / sum(len(load.latencies) for load in loads),
        "requests": sum(len(load.latencies) for load in loads),
        "errors": sum(load.failed for load in failures),
        "examples": [example for load in failures for example in load.examples.items()],
    }


def busy_cores(seconds: float = 2.0) -> float:
    """How many cores are at work while this process sleeps."""
    share: float = psutil.cpu_percent(interval=seconds) / 100
    return share * (os.cpu_count() or 1)


def _loads(servers: dict[str, RunningServer], scenario: Scenario, seconds: float) -> dict[str, Load]:
    requests = [multipart(film) for film in scenario.films]
    return {
        name: run_load(server.port, requests, scenario.clients, seconds=seconds) for name, server in servers.items()
    }


def _round(servers: dict[str, RunningServer], ceiling: Ceiling, scenario: Scenario, seconds: float) -> dict[str, Any]:
    before = {name: _cpu(server) for name, server in servers.items()}
    loads = _loads(servers, scenario, seconds)
    cpu = {name: (_cpu(server) - before[name]) / len(loads[name].latencies) for name, server in servers.items()}
    rate, cpu["ceiling"] = ceiling.measure(scenario.films, seconds)
    return {"loads": loads, "ceiling": rate, "cpu": cpu}


def _cpu(server: RunningServer) -> float:
    return sum(server.cpu_by_role().values())


def _summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds; ratios are taken within a round, as the machine's speed changes between them."""
    found: dict[str, Any] = {"ceiling": {"rate": statistics.median(row["ceiling"] for row in rounds)}}
    for name in ("plain", "ours"):
        loads: list[Load] = [row["loads"][name] for row in rounds]
        found[name] = {
            "rate": statistics.median(load.rate for load in loads),
            "median_ms": 1000 * statistics.median(load.latency(0.5) for load in loads),
            "p99_ms": 1000 * statistics.median(load.latency(0.99) for load in loads),
        }
    for name in ("plain", "ours", "ceiling"):
        found[name]["cpu_ms"] = 1000 * statistics.median(row["cpu"][name] for row in rounds)
    pairs = [(row["loads"]["ours"], row["loads"]["plain"]) for row in rounds]
    found["rate_of_plain"] = statistics.median(ours.rate / max(plain.rate, 1e-9) for ours, plain in pairs)
    found["latency_of_plain"] = statistics.median(ours.latency(0.5) / plain.latency(0.5) for ours, plain in pairs)
    found["rate_of_ceiling"] = statistics.median(row["loads"]["ours"].rate / row["ceiling"] for row in rounds)
    return found


def _memory(server: RunningServer) -> list[dict[str, Any]]:
    """MiB of each process."""
    return [{"role": each.role, "rss": each.rss, "pss": each.pss} for each in server.use()]


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"), help="phantoms are made where it is not")
    parser.add_argument("--bundle", type=Path, default=REFERENCE)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--profile", action="store_true", help="instead: where the time of a request goes")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    films, small = full_size_films(options.data), small_films(options.data)
    kept = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    if options.profile:
        kept["profile"] = profile(options.bundle, {"full-size": films, "224 px": small}, CLIENTS, options.seconds)
        print(profile_table(kept["profile"]))
    else:
        scenarios = [
            Scenario(f"full-size films, {CLIENTS} clients", films, CLIENTS),
            Scenario(f"224 px films, {CLIENTS} clients", small, CLIENTS),
            Scenario("full-size films, one client", films, 1),
            Scenario("224 px films, one client", small, 1),
        ]
        kept["load"] = measure(options.bundle, scenarios, options.rounds, options.seconds)
        print(load_table(kept["load"]))
    write_json(options.output, kept)
    if not options.profile and kept["load"]["errors"]:
        sys.exit(f"{kept['load']['errors']} requests failed: {kept['load']['examples'][:3]}")


if __name__ == "__main__":
    main()
