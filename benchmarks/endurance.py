"""Many requests from many clients: does anything fail, does memory grow, and what if workers are killed meanwhile?

The memory of every process is sampled; reported is by how much each grew in the second half. Exits 1 when a request
fails or a process grows by more than is allowed; with `--kill-every`, when less than `--least` of them succeed.

    python -m benchmarks.endurance --requests 100000
    python -m benchmarks.endurance --requests 20000 --kill-every 5
"""

import argparse
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load_generator import Load, multipart, run_load
from benchmarks.server_process import ProcessUse, RunningServer, pneumonia_serve, serve
from benchmarks.serving_films import small_films
from pneumonia.bundle import REFERENCE

_CLIENTS = 20
_FEWEST_SAMPLES = 4


@dataclass(frozen=True)
class Growth:
    """Of one process: its role, MiB that it had at the half and in the end."""

    pid: int
    role: str
    half: float
    end: float


def growth(samples: list[list[ProcessUse]]) -> list[Growth]:
    """By how much each process that lived through the second half grew in it, from samples in order of time.

    The private share of memory counts, as medians over the first and over the last quarter of that half.
    """
    later = samples[len(samples) // 2 :]
    quarter = max(1, len(later) // 4)
    sizes = [{each.pid: each for each in sample} for sample in later]
    return [
        Growth(
            pid,
            use.role,
            statistics.median(size[pid].pss for size in sizes[:quarter]),
            statistics.median(size[pid].pss for size in sizes[-quarter:]),
        )
        for pid, use in sizes[-1].items()
        if all(pid in size for size in sizes)
    ]


class Repeated:
    """Does something every so many seconds in a thread of its own, within a `with` block."""

    def __init__(self, seconds: float, step: Callable[[], None]) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(seconds, step), daemon=True)

    def _run(self, seconds: float, step: Callable[[], None]) -> None:
        while not self._ended.wait(seconds):
            step()

    def __enter__(self) -> "Repeated":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()


class Killer:
    """Kills a worker of a server, drawn at random, as nothing but the operating system can."""

    def __init__(self, server: RunningServer, seed: int = 0) -> None:
        self.server, self.killed, self._random = server, 0, random.Random(seed)  # noqa: S311 (no secret)

    def __call__(self) -> None:
        """Kill one, if there is one."""
        workers = [each.pid for each in self.server.use() if each.role == "worker"]
        if workers:
            os.kill(self._random.choice(workers), signal.SIGKILL)
            self.killed += 1


def endure(
    server: RunningServer, films: list[bytes], requests: int, sample_every: float, kill_every: float | None
) -> tuple[Load, list[list[ProcessUse]], int]:
    """Returns what came of the requests, the samples of memory, and how many workers were killed."""
    samples: list[list[ProcessUse]] = []
    killer = Killer(server)
    bodies = [multipart(film) for film in films]
    with Repeated(sample_every, lambda: samples.append(server.use())), Repeated(kill_every or float(10**6), killer):
        load = run_load(server.port, bodies, _CLIENTS, count=requests)
    return load, samples, killer.killed


def main() -> None:
    """Do it, print what came of it, and fail where it should not have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=REFERENCE)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"), help="phantoms are made where it is not")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--sample-every", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--kill-every", type=float, metavar="SECONDS", help="kill a worker this often")
    parser.add_argument("--least", type=float, default=0.99, help="share that has to succeed while workers are killed")
    parser.add_argument("--most-growth", type=float, default=32.0, help="MiB of a process in the second half")
    options = parser.parse_args()
    with serve(pneumonia_serve(options.bundle)) as server:
        began = time.perf_counter()
        load, samples, killed = endure(
            server, small_films(options.data), options.requests, options.sample_every, options.kill_every
        )
        seconds = time.perf_counter() - began
    succeeded = load.statuses[200] / options.requests
    longest = max(load.latencies, default=float("nan"))
    print(f"{options.requests:,} requests of {_CLIENTS} clients in {seconds:.0f} s: {succeeded:.5f} succeeded.")
    print(f"The longest answer took {longest:.2f} s; {killed} workers were killed.")
    print(f"Statuses: {dict(load.statuses)}. Without one: {dict(load.failures)}.")
    grown = growth(samples) if len(samples) >= _FEWEST_SAMPLES else []
    for each in grown:
        print(f"{each.role} {each.pid}: {each.half:.1f} MiB at the half, {each.end:.1f} in the end")
    too_much = [each for each in grown if each.end - each.half > options.most_growth]
    if succeeded < (options.least if options.kill_every else 1.0) or too_much:
        sys.exit(f"Failed: {load.examples or too_much}")


if __name__ == "__main__":
    main()
